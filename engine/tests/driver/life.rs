//! A driver's life: settings, wake-ups, its end in the middle of everything.

use super::*;

/// Shows that other threads wake a waiting driver, and that no wake-up is lost among many.
#[test]
fn wakers_wake() {
    let mut driver = Driver::new(small()).expect("driver");
    let (sender, inbox) = std::sync::mpsc::channel();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (waker, sender) = (driver.waker(), sender.clone());
            thread::spawn(move || {
                for message in 0..500 {
                    sender.send(message).expect("send");
                    waker.wake();
                }
            })
        })
        .collect();
    let mut heard = 0;
    run(&mut driver, |_, completion| {
        assert!(matches!(completion, Completion::Woken), "{completion:?}");
        heard += inbox.try_iter().count();
        heard == 4 * 500
    });
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("thread"));
}

/// Shows that dropping a driver in the middle of everything ends soon, lands its writes and closes its sockets.
#[test]
fn drop_in_the_middle() {
    let path = scratch("drop");
    disk::create_zeroed(&path, 1 << 20, true).expect("prepare");
    let (mut driver, address) = listening(small());
    let (socket, mut client) = accept(&mut driver, address);
    let slot = driver
        .open_disk(disk::open(&path, DURABLE).expect("open"))
        .expect("slot");
    for i in 0..4 {
        let mut block = driver.block_buffer().expect("a buffer");
        block.fill(9);
        driver.write_at(slot, i * 65_536, block, 65_536, i);
    }
    driver
        .out(socket)
        .expect("open")
        .append(&pattern(200_000, 1))
        .expect("room");
    let began = Instant::now();
    drop(driver);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "dropping took {:?}",
        began.elapsed()
    );
    let mut sink = Vec::new();
    // A reset is an end as well: the driver was dropped with unsent bytes.
    let ended = client.read_to_end(&mut sink);
    assert!(
        !ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "the socket outlives the driver"
    );
    let mut contents = vec![0; 4 * 65_536];
    std::fs::File::open(&path)
        .expect("open")
        .read_exact_at(&mut contents, 0)
        .expect("read");
    assert!(contents.iter().all(|&byte| byte == 9), "a write was lost");
    std::fs::remove_file(&path).expect("remove");
}

/// Shows that a dropped driver leaves nothing registered: a thread may have sixteen rings, and makes more than that.
#[test]
fn drivers_come_and_go() {
    for _ in 0..20 {
        let (mut driver, address) = listening(small());
        let (_, mut client) = accept(&mut driver, address);
        drop(driver);
        let ended = client.read(&mut [0]);
        assert!(
            matches!(ended, Ok(0)),
            "the socket outlives the driver: {ended:?}"
        );
    }
}

/// Shows that settings that cannot be are refused by name.
#[test]
fn bad_settings_are_named() {
    let refusal = |config| match Driver::new(config) {
        Err(error @ DriverError::BadSetting { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it started"),
    };
    assert!(
        refusal(DriverConfig {
            recv_buffers: 48,
            ..small()
        })
        .contains("recv_buffers = 48")
    );
    assert!(
        refusal(DriverConfig {
            block_len: 1000,
            ..small()
        })
        .contains("block_len = 1000")
    );
}

/// Shows that a gathering turn lets what comes wait for company: its whole time passes, and then everything is there.
#[test]
fn a_gathering_turn_takes_its_time() {
    let mut driver = Driver::new(small()).expect("driver");
    driver.turn(Wait::Poll).expect("turn");
    driver.waker().wake();
    let before = Instant::now();
    let turn = driver.turn(Wait::Gather(STEP)).expect("turn");
    assert!(before.elapsed() >= STEP, "{:?}", before.elapsed());
    assert_eq!(turn.ready, 1);
    assert!(matches!(driver.next(), Some(Completion::Woken)));
}
