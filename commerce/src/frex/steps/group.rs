//! Many items, few commits: how a phase works through its items.
//!
//! Each item is whole or not at all. As long as nothing goes wrong, several items share one transaction and its statements; if anything does,
//! the group is rolled back and each item has a transaction of its own, so that a bad one (an error or a panic of our code)
//! holds up none of the others. The lease's number is held in each transaction.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use async_trait::async_trait;

use crate::frex::batch::Batch;
use crate::frex::error::FrexError;
use crate::frex::lease;
use crate::frex::worker::Run;
use crate::store::Tx;

/// What a phase does with its items.
#[async_trait]
pub(crate) trait Work: Sync {
    /// An item.
    type Item: Sync;
    /// What is read once for a group.
    type Loaded: Send;
    /// What comes of an item.
    type Out: Send;

    /// Reads what a group needs, and takes the orders' rows.
    async fn load(
        &self,
        run: &Run<'_>,
        tx: &mut Tx,
        items: &[Self::Item],
    ) -> Result<Self::Loaded, FrexError>;

    /// Does one item. What it writes to orders, states and requests goes into the batch.
    async fn one(
        &self,
        run: &Run<'_>,
        tx: &mut Tx,
        item: &Self::Item,
        loaded: &mut Self::Loaded,
        batch: &mut Batch,
    ) -> Result<Self::Out, FrexError>;

    /// Crash points before and after the commit.
    fn points(&self) -> (&'static str, &'static str);
}

/// Does all items. One result per item, in their order.
///
/// # Errors
/// The database is gone or the lease is lost: no item can be done.
pub(crate) async fn all<W: Work>(
    run: &Run<'_>,
    work: &W,
    items: &[W::Item],
) -> Result<Vec<Result<W::Out, FrexError>>, FrexError> {
    let size = usize::try_from(run.settings().commit_items)
        .unwrap_or(1)
        .max(1);
    let mut outs = Vec::with_capacity(items.len());
    for group in items.chunks(size) {
        match caught(group_of(run, work, group)).await {
            Ok(done) => outs.extend(done.into_iter().map(Ok)),
            Err(error) if error.ends_step() => return Err(error),
            Err(error) if group.len() == 1 => outs.push(Err(error)),
            Err(_) => {
                for item in group.chunks(1) {
                    match caught(group_of(run, work, item)).await {
                        Ok(done) => outs.extend(done.into_iter().map(Ok)),
                        Err(error) if error.ends_step() => return Err(error),
                        Err(error) => outs.push(Err(error)),
                    }
                }
            }
        }
    }
    Ok(outs)
}

async fn group_of<W: Work>(
    run: &Run<'_>,
    work: &W,
    items: &[W::Item],
) -> Result<Vec<W::Out>, FrexError> {
    let mut tx = run.begin().await?;
    lease::guard(&mut tx, run.fence).await?;
    let mut loaded = work.load(run, &mut tx, items).await?;
    let mut batch = Batch::default();
    let mut outs = Vec::with_capacity(items.len());
    for item in items {
        outs.push(
            work.one(run, &mut tx, item, &mut loaded, &mut batch)
                .await?,
        );
    }
    batch.flush(tx.conn()).await?;
    let (before, after) = work.points();
    run.reach(before).await;
    tx.commit().await?;
    run.reach(after).await;
    Ok(outs)
}

/// Runs a future; a panic in it becomes an error.
///
/// # Errors
/// The future's own, or [`FrexError::Panic`].
pub async fn caught<T>(future: impl Future<Output = Result<T, FrexError>>) -> Result<T, FrexError> {
    let mut future = pin!(future);
    // What the future held is dropped with it and looked at by nobody: a transaction is rolled back.
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(FrexError::Panic {
                message: message(&*panic),
            })),
        }
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
