//! The driver against the real kernel: sockets on loopback, files on the disk under the build directory.

// The counting allocator that shows a steady state allocates nothing.
#![allow(unsafe_code)]

mod disk_and_memory;
mod echo;
mod life;
mod sockets;

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
