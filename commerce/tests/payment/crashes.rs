//! Crashes at every point of a table: the process ends there, another one takes over, and what must hold is looked at.
//!
//! A crash mostly waits for its database, so a few are tried at a time, each in a world of its own.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;

use super::World;
use crate::common::TestStore;

/// Crashes that are tried at the same time.
const AT_ONCE_MAX: usize = 6;

/// What is crashed.
pub trait Story: 'static {
    /// The points of the table.
    const POINTS: &'static [&'static str];

    /// Everything that happens. It can be run again from the start, as its callers do after a crash, with the same keys.
    fn life(world: &World) -> impl Future<Output = ()> + Send;

    /// What `second` does first when it finds that `first` is gone.
    fn take_over(first: &World, second: &World) -> impl Future<Output = ()> + Send;

    /// What must hold in the end.
    fn check(world: &World, place: &str) -> impl Future<Output = ()> + Send;
}

/// Tries a crash at every point, the first and the second time it is reached.
pub async fn at_every_point<S, F>(fresh: fn() -> F)
where
    S: Story,
    F: Future<Output = TestStore> + Send + 'static,
{
    let mut tries = S::POINTS
        .iter()
        .flat_map(|point| [(*point, 1), (*point, 2)]);
    let mut running = JoinSet::new();
    let mut tried = 0;
    loop {
        while running.len() < AT_ONCE_MAX {
            let Some((point, nth)) = tries.next() else {
                break;
            };
            running.spawn(async move { crash_at::<S>(&fresh().await, point, nth).await });
        }
        match running.join_next().await {
            None => break,
            Some(reached) => tried += usize::from(reached.expect("it holds")),
        }
    }
    println!("{tried} crashes");
    assert!(tried >= S::POINTS.len(), "{tried}");
}

/// One crash: `false` if the point was not reached for the `nth` time.
async fn crash_at<S: Story>(test: &TestStore, point: &'static str, nth: u64) -> bool {
    let place = format!("{} {point}:{nth}", test.name());
    let first = World::new(test);
    first.points.arm(point, nth);
    let running = tokio::spawn({
        let world = first.clone();
        async move { S::life(&world).await }
    });
    let reached = tokio::select! {
        () = first.points.hit() => true,
        () = async { while !running.is_finished() { tokio::time::sleep(Duration::from_millis(5)).await } } => false,
    };
    running.abort();
    let ended = running.await;
    assert!(reached || ended.is_ok(), "{place}: {ended:?}");
    if reached {
        let second = first.another(test.again().await);
        S::take_over(&first, &second).await;
        S::life(&second).await;
        S::check(&second, &place).await;
    } else {
        S::check(&first, &place).await;
    }
    reached
}
