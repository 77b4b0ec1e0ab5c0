//! Shows that a shard in steady state allocates nothing: a real shard with a real journal and real sockets carries
//! transactions, and the allocator counts what its thread takes.

// A counting allocator is unsafe code by nature; it passes every call on to the system's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use codec::cafis::control::answer;
use codec::cafis::header::Assigned;
use codec::cafis::mti::Mti;
use codec::cafis::report::{NO_ERROR, report_from};
use codec::link::message::{Hello, Opened, Send, VERSION};
use codec::link::{Head, Kind};
use config::Config;
use engine::control::{Control, Message};
use engine::shard::{Ended, Setup, Shard};

struct Counting;

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}
static TAKEN: AtomicU64 = AtomicU64::new(0);

fn count() {
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        TAKEN.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Transactions in one burst, on routes of their own.
const BURST: usize = 32;
/// Bursts before and while the allocator is watched; together they do not fill half a segment, whose change makes
/// the state anew and is not steady state.
const WARM: usize = 200;
const WATCHED: usize = 400;

fn data(sequence: usize) -> Vec<u8> {
    let head = format!("   000000002       1234599000001{sequence:05}26113000 0@");
    let mut data = head.replace("00 0@", "000@").into_bytes();
    data.extend_from_slice(b"214111111111111111=99121012080000000000                                00000000990000050000000500@");
    data
}

fn read_exactly(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("the daemon answers");
    bytes
}

/// Reads `count` link frames of this kind; gives their request ids and the last body.
fn read_frames(stream: &mut TcpStream, kind: Kind, count: usize) -> (Vec<u64>, Vec<u8>) {
    let (mut requests, mut body) = (Vec::new(), Vec::new());
    while requests.len() < count {
        let head = read_exactly(stream, 32);
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize - 32;
        body = read_exactly(stream, len);
        if Kind::from_byte(head[4]) == Some(Kind::Event) {
            continue;
        }
        assert_eq!(
            Kind::from_byte(head[4]),
            Some(kind),
            "code {}",
            u16::from_le_bytes([head[6], head[7]])
        );
        requests.push(u64::from_le_bytes(
            head[16..24].try_into().expect("8 bytes"),
        ));
    }
    (requests, body)
}

/// One burst: requests, reports of the centre, ACKs, CONFIRMs.
fn burst(link: &mut TcpStream, centre: &mut TcpStream, session: u32, number: usize) {
    let mut out = Vec::new();
    let data = data(number % 99_999);
    for at in 0..BURST {
        let head = Head {
            session,
            flags: 1,
            request: (number * BURST + at + 1) as u64,
            ..Head::new(Kind::Send)
        };
        let mut body = Vec::new();
        let send = Send {
            centre_id: *b"00",
            centre_seq: *b"      ",
            issuer: *b"TEST9000000",
            acquirer: *b"TEST0010000",
            mti: *b"3110",
            data: &data,
        };
        send.encode(&mut body);
        head.write(&body, &mut out);
    }
    link.write_all(&out).expect("send");
    out.clear();
    for _ in 0..BURST {
        let request = read_exactly(centre, 63 + data.len());
        let assigned = Assigned {
            centre_id: *b"11",
            centre_seq: *b"000047",
            month_day: *b"1130",
        };
        report_from(
            &request,
            Mti::AUTH_APPROVAL,
            assigned,
            NO_ERROR,
            Some(*b"0012345"),
            &mut out,
        );
    }
    centre.write_all(&out).expect("reports");
    out.clear();
    for request in read_frames(link, Kind::Report, BURST).0 {
        Head {
            session,
            request,
            ..Head::new(Kind::Ack)
        }
        .write(&[], &mut out);
    }
    link.write_all(&out).expect("acks");
    read_frames(link, Kind::Confirm, BURST);
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port()
}

#[test]
fn steady_state_allocates_nothing() {
    let dir =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("no-alloc-{}", std::process::id()));
    let (api, line) = (free_port(), free_port());
    let text = format!(
        "data_dir = \"{}\"\n[api]\ntcp = \"127.0.0.1:{api}\"\n[journal]\nsegments_min = 2\nretention_days = 0\n[[line]]\nname = \"C01\"\ncompany = \"TEST001\"\nlisten = [\"127.0.0.1:{line}\"]\naccept_count = 1\nroute_count = 63\nsign_on = \"automatic\"\n",
        dir.display()
    );
    let config = Config::parse(&text, &dir, "test.toml")
        .expect("a good configuration")
        .config;
    let mut control = Control::new(1);
    let (console, _) = control.ends_of(0);
    let (stop, stopped) = std::sync::mpsc::channel();
    let (ready, wait) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let setup = Setup {
            config,
            number: 0,
            boot: 1,
            secret: [3, 4],
            inbox: stopped,
            console,
        };
        let shard = Shard::new(setup).expect("the shard starts");
        ready.send(shard.waker()).expect("the test waits");
        COUNTED.set(true);
        shard.run()
    });
    let waker = wait
        .recv_timeout(Duration::from_secs(20))
        .expect("the shard is ready");
    let mut centre = TcpStream::connect(("127.0.0.1", line)).expect("the line listens");
    let mut out = Vec::new();
    answer(
        &read_exactly(&mut centre, 63),
        Mti::SIGN_ON_PERMITTED,
        &mut out,
    );
    centre.write_all(&out).expect("sign-on permitted");
    let mut link = TcpStream::connect(("127.0.0.1", api)).expect("the API listens");
    let mut hello = Vec::new();
    Hello {
        version_min: VERSION,
        version_max: VERSION,
        features: 0,
        epoch: 0,
        line: "",
    }
    .encode(&mut hello);
    out.clear();
    Head::new(Kind::Hello).write(&hello, &mut out);
    Head::new(Kind::Open).write(&[], &mut out);
    link.write_all(&out).expect("handshake");
    read_frames(&mut link, Kind::Welcome, 1);
    let (_, opened) = read_frames(&mut link, Kind::Opened, 1);
    assert_eq!(Opened::decode(&opened).expect("a whole body").highest, 0);

    (0..WARM).for_each(|number| burst(&mut link, &mut centre, 1, number));
    let before = TAKEN.load(Ordering::Relaxed);
    (WARM..WARM + WATCHED).for_each(|number| burst(&mut link, &mut centre, 1, number));
    let taken = TAKEN.load(Ordering::Relaxed) - before;
    stop.send(Message::Terminate).expect("the shard runs");
    waker.wake();
    let mut out = Vec::new();
    answer(
        &read_exactly(&mut centre, 63),
        Mti::SIGN_OFF_PERMITTED,
        &mut out,
    );
    centre.write_all(&out).expect("sign-off permitted");
    assert_eq!(
        thread.join().expect("the shard ends").expect("no error"),
        Ended::Clean
    );
    std::fs::remove_dir_all(&dir).expect("the test's own directory");
    assert_eq!(
        taken,
        0,
        "allocations while {} transactions passed",
        WATCHED * BURST
    );
}
