//! The driver against the real kernel: sockets on loopback, files on the disk under the build directory.

// The counting allocator that shows a steady state allocates nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use engine::driver::disk::{self, OpenMode};
use engine::driver::{
    AcceptFailure, CloseReason, Completion, DiskError, Driver, DriverConfig, DriverError, Errno,
    OutFull, Peer, SocketId, SocketOptions, Wait,
};
use socket2::SockRef;

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(50);
const TAG: u64 = 77;
const DURABLE: OpenMode = OpenMode {
    create: false,
    direct: true,
    dsync: true,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts what each thread allocates.
struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn small() -> DriverConfig {
    DriverConfig {
        sockets_max: 64,
        recv_buffers: 64,
        recv_buffer_len: 4096,
        out_max: 256 * 1024,
        out_reserve: 1024 * 1024,
        block_buffers: 4,
        block_len: 64 * 1024,
        submission_entries: 128,
        completion_entries: 1024,
        ..DriverConfig::default()
    }
}

fn listening(config: DriverConfig) -> (Driver, SocketAddr) {
    let mut driver = Driver::new(config).expect("driver");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = driver
        .listen_tcp(any, TAG, &SocketOptions::default())
        .expect("listen");
    (driver, address)
}

/// Turns until `done` says so of a completion.
fn run(driver: &mut Driver, mut done: impl FnMut(&mut Driver, Completion) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        driver.turn(Wait::AtMost(STEP)).expect("turn");
        while let Some(completion) = driver.next() {
            if done(driver, completion) {
                return;
            }
        }
        assert!(
            Instant::now() < deadline,
            "nothing happened in {PATIENCE:?}"
        );
    }
}

/// Turns until no socket holds a slot.
fn run_until_empty(driver: &mut Driver) {
    let deadline = Instant::now() + PATIENCE;
    while driver.sockets_open() > 0 {
        driver.turn(Wait::AtMost(STEP)).expect("turn");
        while driver.next().is_some() {}
        assert!(
            Instant::now() < deadline,
            "{} sockets stay open",
            driver.sockets_open()
        );
    }
}

fn accept(driver: &mut Driver, address: SocketAddr) -> (SocketId, TcpStream) {
    let client = TcpStream::connect(address).expect("connect");
    client.set_read_timeout(Some(PATIENCE)).expect("time-out");
    let mut accepted = None;
    run(driver, |_, completion| match completion {
        Completion::Accepted {
            listener: TAG,
            socket,
            peer,
        } => {
            assert_eq!(peer, Peer::Tcp(client.local_addr().expect("address")));
            accepted = Some(socket);
            true
        }
        other => panic!("{other:?}"),
    });
    (accepted.expect("accepted"), client)
}

/// Echoes until `streams` peers have ended and everything was sent back; gives the bytes received.
fn echo(driver: &mut Driver, streams: usize) -> usize {
    let (mut ended, mut total) = (0, 0);
    run(driver, |driver, completion| {
        match completion {
            Completion::Received { socket, bytes } => {
                total += bytes.len();
                driver
                    .out(socket)
                    .expect("open")
                    .append(&bytes)
                    .expect("room");
            }
            Completion::Closed { socket, reason } => {
                assert_eq!(reason, CloseReason::Eof);
                driver.close_after_flush(socket);
                ended += 1;
            }
            Completion::Accepted { .. } | Completion::Sent { .. } => {}
            other => panic!("{other:?}"),
        }
        ended == streams
    });
    run_until_empty(driver);
    total
}

/// Kernel worker threads that serve the ring of this thread.
fn worker_threads() -> usize {
    let this = std::fs::read_link("/proc/thread-self").expect("this thread");
    let name = format!(
        "iou-wrk-{}",
        this.file_name().expect("its number").display()
    );
    std::fs::read_dir("/proc/self/task")
        .expect("threads")
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|comm| comm.trim() == name)
        .count()
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i * 31 + seed * 17 + i / 251) as u8)
        .collect()
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("driver-{}-{name}", std::process::id()))
}

/// Shows that bytes of many connections come back whole and in order while four tiny buffers serve all of them.
#[test]
fn echo_under_buffer_pressure() {
    const CLIENTS: usize = 40;
    const BYTES: usize = 30_000;
    let (mut driver, address) = listening(DriverConfig {
        recv_buffers: 4,
        recv_buffer_len: 64,
        ..small()
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("connect");
                stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
                let sent = pattern(BYTES, seed);
                stream.write_all(&sent).expect("write");
                stream.shutdown(Shutdown::Write).expect("shutdown");
                let mut back = Vec::new();
                stream.read_to_end(&mut back).expect("read");
                assert!(
                    back == sent,
                    "client {seed}: {} bytes came back, or others",
                    back.len()
                );
            })
        })
        .collect();
    assert_eq!(echo(&mut driver, CLIENTS), CLIENTS * BYTES);
    for client in clients {
        client.join().expect("client");
    }
    assert!(
        driver.counters().starvations > 0,
        "the buffers were never short"
    );
}

/// Shows that two thousand connections are served at once, each with its own bytes.
#[test]
fn two_thousand_connections() {
    const CLIENTS: usize = 2000;
    // The driver raises the limit for itself; the clients' ends live in this process too.
    let config = DriverConfig {
        sockets_max: 2 * CLIENTS as u32,
        recv_buffers: 256,
        ..small()
    };
    let (mut driver, address) = listening(config);
    let client = thread::spawn(move || {
        let mut streams: Vec<_> = (0..CLIENTS)
            .map(|_| TcpStream::connect(address).expect("connect"))
            .collect();
        for round in 0..3 {
            for (i, stream) in streams.iter_mut().enumerate() {
                stream.write_all(&pattern(300, i + round)).expect("write");
            }
            for (i, stream) in streams.iter_mut().enumerate() {
                let mut back = [0; 300];
                stream.read_exact(&mut back).expect("read");
                assert!(
                    back[..] == pattern(300, i + round),
                    "stream {i} got other bytes"
                );
            }
        }
        for stream in &streams {
            stream.shutdown(Shutdown::Write).expect("shutdown");
        }
        streams
    });
    assert_eq!(echo(&mut driver, CLIENTS), CLIENTS * 300 * 3);
    drop(client.join().expect("clients"));
}

/// Shows that a peer which ended its side still gets an answer of many sends' size, and then the end.
#[test]
fn half_closed_peer_is_answered() {
    let (mut driver, address) = listening(DriverConfig {
        out_max: 8 << 20,
        ..small()
    });
    let (socket, mut client) = accept(&mut driver, address);
    client.write_all(b"question").expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut heard = Vec::new();
    run(&mut driver, |_, completion| match completion {
        Completion::Received { bytes, .. } => {
            heard.extend_from_slice(&bytes);
            false
        }
        Completion::Closed {
            socket: closed,
            reason,
        } => {
            assert_eq!((closed, reason), (socket, CloseReason::Eof));
            true
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(heard, b"question");
    let answer = pattern(8 << 20, 3);
    driver
        .out(socket)
        .expect("open")
        .append(&answer)
        .expect("room");
    driver.close_after_flush(socket);
    assert!(driver.out(socket).is_none(), "a closed id still has output");
    let reader = thread::spawn(move || {
        let mut back = Vec::new();
        client.read_to_end(&mut back).map(|_| back)
    });
    run_until_empty(&mut driver);
    assert!(reader.join().expect("reader").expect("an orderly end") == answer);
}

/// Shows that a close in order reaches a peer that has unread bytes on their way to us: it reads all of a long answer
/// and then the end, no reset, and no kernel thread had to help.
#[test]
fn close_after_flush_does_not_cut_a_talking_peer_off() {
    let (mut driver, address) = listening(DriverConfig {
        out_max: 8 << 20,
        ..small()
    });
    let (socket, mut client) = accept(&mut driver, address);
    client.write_all(&pattern(50_000, 1)).expect("write");
    let answer = pattern(8 << 20, 4);
    driver
        .out(socket)
        .expect("open")
        .append(&answer)
        .expect("room");
    driver.close_after_flush(socket);
    let reader = thread::spawn(move || {
        let mut back = Vec::new();
        client.read_to_end(&mut back).map(|_| back)
    });
    run_until_empty(&mut driver);
    assert!(reader.join().expect("reader").expect("no reset") == answer);
    assert_eq!(worker_threads(), 0, "sending occupied a kernel thread");
}

/// Shows that a reset by the peer is reported with its reason, and that closing the socket then frees the slot.
#[test]
fn reset_peer_is_reported() {
    let (mut driver, address) = listening(small());
    let (socket, client) = accept(&mut driver, address);
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .expect("linger");
    drop(client);
    run(&mut driver, |_, completion| match completion {
        Completion::Closed {
            socket: closed,
            reason,
        } => {
            assert_eq!(
                (closed, reason),
                (socket, CloseReason::Error(Errno(libc::ECONNRESET)))
            );
            true
        }
        other => panic!("{other:?}"),
    });
    driver
        .out(socket)
        .expect("still the caller's")
        .append(b"too late")
        .expect("room");
    run(&mut driver, |_, completion| match completion {
        Completion::SendFailed {
            socket: failed,
            errno,
        } => {
            assert_eq!((failed, errno), (socket, Errno(libc::EPIPE)));
            true
        }
        other => panic!("{other:?}"),
    });
    driver.close_after_flush(socket);
    run_until_empty(&mut driver);
}

/// Shows that a slot comes back with the next generation, that the old id is dead, and that one too many is refused.
#[test]
fn slots_are_used_again_by_generation() {
    let (mut driver, address) = listening(DriverConfig {
        sockets_max: 1,
        ..small()
    });
    for round in 0..100 {
        let (socket, mut client) = accept(&mut driver, address);
        assert_eq!(
            socket,
            SocketId {
                index: 0,
                generation: round
            }
        );
        client
            .write_all(b"on its way when the socket is aborted")
            .expect("write");
        if round % 2 == 0 {
            driver.turn(Wait::Poll).expect("turn");
        }
        if round == 50 {
            let mut surplus = TcpStream::connect(address).expect("connect");
            run(&mut driver, |_, completion| {
                matches!(
                    completion,
                    Completion::AcceptFailed {
                        listener: TAG,
                        reason: AcceptFailure::Full
                    }
                )
            });
            assert!(
                matches!(surplus.read(&mut [0]), Ok(0) | Err(_)),
                "the surplus connection stays open"
            );
        }
        driver.abort(socket);
        driver.abort(socket);
        assert!(driver.out(socket).is_none());
        run_until_empty(&mut driver);
        let ended = client.read(&mut [0]);
        assert!(
            ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
            "abort is a reset"
        );
    }
}

/// Shows that a peer that never reads fills its output up to the limit and no further, and can be cut off.
#[test]
fn peer_that_never_reads_is_full() {
    let config = DriverConfig {
        close_linger: Duration::from_millis(200),
        ..small()
    };
    let (limit, (mut driver, address)) = (config.out_max, listening(config));
    for orderly in [false, true] {
        let (socket, client) = accept(&mut driver, address);
        let block = pattern(10_000, 5);
        let full = loop {
            let mut out = driver.out(socket).expect("open");
            match out.append(&block) {
                Ok(()) => assert!(out.len() <= limit),
                Err(OutFull) => break out.len(),
            }
            driver.turn(Wait::Poll).expect("turn");
            while let Some(completion) = driver.next() {
                assert!(
                    matches!(completion, Completion::Sent { .. }),
                    "{completion:?}"
                );
            }
        };
        assert!(
            full > limit - block.len() && full <= limit,
            "{full} bytes waiting"
        );
        // The orderly close cannot be orderly here: it gives up after its time.
        if orderly {
            driver.close_after_flush(socket)
        } else {
            driver.abort(socket)
        }
        run_until_empty(&mut driver);
        drop(client);
    }
    assert_eq!(worker_threads(), 0, "sending occupied a kernel thread");
}

/// Shows that a Unix socket serves, names its peer, replaces a leftover and never a live daemon's, and tidies up.
#[test]
fn unix_listener() {
    let path = std::env::temp_dir().join(format!("sekisho-driver-{}.sock", std::process::id()));
    drop(std::os::unix::net::UnixListener::bind(&path).expect("leftover"));
    let (mut driver, options) = (
        Driver::new(small()).expect("driver"),
        SocketOptions::default(),
    );
    driver
        .listen_unix(&path, 0o600, TAG, &options)
        .expect("the leftover is replaced");
    let refusal = driver
        .listen_unix(&path, 0o600, TAG + 1, &options)
        .expect_err("it is live")
        .to_string();
    assert!(refusal.contains(path.to_str().expect("plain")), "{refusal}");
    let mut client = UnixStream::connect(&path).expect("connect");
    client.write_all(b"hello").expect("write");
    run(&mut driver, |driver, completion| match completion {
        Completion::Accepted {
            peer: Peer::Unix { pid, .. },
            ..
        } => {
            assert_eq!(pid, std::process::id() as i32);
            false
        }
        // The second listener asked whether the first one lives.
        Completion::Closed {
            socket,
            reason: CloseReason::Eof,
        } => {
            driver.abort(socket);
            false
        }
        Completion::Received { socket, bytes } => {
            driver
                .out(socket)
                .expect("open")
                .append(&bytes)
                .expect("room");
            false
        }
        Completion::Sent { .. } => true,
        other => panic!("{other:?}"),
    });
    let mut back = [0; 5];
    client.read_exact(&mut back).expect("read");
    assert_eq!(&back, b"hello");
    driver.unlisten(TAG);
    assert!(!path.exists(), "the socket file stays");
}

/// Shows that after `unlisten` nobody connects, while a socket accepted before goes on.
#[test]
fn unlisten_keeps_accepted_sockets() {
    let (mut driver, address) = listening(small());
    let (socket, mut client) = accept(&mut driver, address);
    driver.unlisten(TAG);
    let deadline = Instant::now() + PATIENCE;
    loop {
        driver.turn(Wait::AtMost(STEP)).expect("turn");
        assert!(driver.next().is_none());
        match TcpStream::connect(address) {
            Err(error) => break assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
            Ok(_) => assert!(Instant::now() < deadline, "the listener stays open"),
        }
    }
    client.write_all(b"still here").expect("write");
    run(
        &mut driver,
        |_, completion| matches!(completion, Completion::Received { socket: from, .. } if from == socket),
    );
}

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

/// Shows that direct, synchronous writes land where they were aimed, come back with their tags and buffers, and that
/// a write the kernel refuses is told.
#[test]
fn disk_writes_land() {
    let path = scratch("land");
    disk::create_zeroed(&path, 1 << 20, true).expect("prepare");
    let mut driver = Driver::new(small()).expect("driver");
    let file = disk::open(&path, DURABLE).expect("open");
    disk::lock(&file, &path, Duration::ZERO).expect("lock");
    let slot = driver.open_disk(file).expect("slot");
    let mut next = 0;
    let mut begin = |driver: &mut Driver| {
        let mut block = driver.block_buffer().expect("a buffer");
        block.fill(next as u8 + 1);
        driver.write_at(slot, next * 65_536, block, 65_536, 100 + next);
        next += 1;
    };
    (0..4).for_each(|_| begin(&mut driver));
    assert!(driver.block_buffer().is_none() && driver.writes_in_flight() == 4);
    let mut tags = Vec::new();
    run(&mut driver, |driver, completion| {
        let Completion::Written {
            tag,
            buffer,
            result,
        } = completion
        else {
            panic!("{completion:?}")
        };
        result.expect("written");
        assert!(buffer.iter().all(|&byte| u64::from(byte) == tag - 99));
        drop(buffer);
        tags.push(tag);
        if tags.len() <= 12 {
            begin(driver);
        }
        tags.len() == 16
    });
    tags.sort_unstable();
    assert_eq!(tags, (100..116).collect::<Vec<_>>());
    let file = driver.close_disk(slot);
    assert_eq!(
        file.metadata().expect("metadata").len(),
        1 << 20,
        "the file was extended"
    );
    let mut contents = vec![0; 1 << 20];
    std::fs::File::open(&path)
        .expect("open")
        .read_exact_at(&mut contents, 0)
        .expect("read");
    assert!(
        contents
            .iter()
            .enumerate()
            .all(|(i, &byte)| usize::from(byte) == i / 65_536 + 1)
    );

    let read_only = driver
        .open_disk(std::fs::File::open(&path).expect("open"))
        .expect("slot");
    let block = driver.block_buffer().expect("a buffer");
    driver.write_at(read_only, 0, block, 4096, 1);
    run(&mut driver, |_, completion| {
        let Completion::Written { result, .. } = completion else {
            panic!("{completion:?}")
        };
        assert!(
            matches!(
                result,
                Err(DiskError::Write {
                    errno: Errno(libc::EBADF)
                })
            ),
            "{result:?}"
        );
        true
    });
    std::fs::remove_file(&path).expect("remove");
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

/// Shows that, once warm, echoing and journalling allocate nothing on the driver's thread.
#[test]
fn steady_state_allocates_nothing() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 300;
    let path = scratch("steady");
    disk::create_zeroed(&path, 1 << 20, true).expect("prepare");
    let (mut driver, address) = listening(DriverConfig {
        recv_buffers: 8,
        ..small()
    });
    let mode = OpenMode {
        dsync: false,
        ..DURABLE
    };
    let slot = driver
        .open_disk(disk::open(&path, mode).expect("open"))
        .expect("slot");
    let waker = driver.waker();
    let clients = thread::spawn(move || {
        let mut streams: Vec<_> = (0..CLIENTS)
            .map(|_| TcpStream::connect(address).expect("connect"))
            .collect();
        for round in 0..ROUNDS {
            // A power of two and less: rounds of every size come early, so that warming is over when counting begins.
            let request = pattern(1 << (round % 16), round);
            for stream in &mut streams {
                stream.write_all(&request).expect("write");
            }
            for stream in &mut streams {
                let mut back = vec![0; request.len()];
                stream.read_exact(&mut back).expect("read");
                assert!(back == request, "round {round} came back changed");
            }
            waker.wake();
        }
        streams
    });
    let round_bytes: usize = (0..ROUNDS).map(|round| 1 << (round % 16)).sum();
    let warm_bytes = CLIENTS * round_bytes / 2;
    let (mut total, mut writes, mut before) = (0, 0u64, None);
    run(&mut driver, |driver, completion| {
        match completion {
            Completion::Received { socket, bytes } => {
                total += bytes.len();
                driver
                    .out(socket)
                    .expect("open")
                    .append(&bytes)
                    .expect("room");
                if writes == 0 {
                    let block = driver.block_buffer().expect("a buffer");
                    driver.write_at(slot, 0, block, 4096, 0);
                    writes = 1;
                }
            }
            Completion::Written { buffer, result, .. } => {
                result.expect("written");
                driver.write_at(slot, writes % 16 * 4096, buffer, 4096, writes);
                writes += 1;
            }
            Completion::Accepted { .. } | Completion::Sent { .. } | Completion::Woken => {}
            other => panic!("{other:?}"),
        }
        if total >= warm_bytes && before.is_none() {
            before = Some(ALLOCATIONS.get());
        }
        total == CLIENTS * round_bytes && writes >= 100
    });
    let allocated = ALLOCATIONS.get() - before.expect("it got warm");
    assert_eq!(
        allocated, 0,
        "allocations in the second half of {ROUNDS} rounds"
    );
    while driver.writes_in_flight() > 0 || !clients.is_finished() {
        driver.turn(Wait::AtMost(STEP)).expect("turn");
        while driver.next().is_some() {}
    }
    clients.join().expect("clients");
    std::fs::remove_file(&path).expect("remove");
}
