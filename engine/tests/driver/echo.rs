//! Bytes of many connections, few buffers and peers that end early or never read: everything comes back whole, or the
//! reason is told.

use super::*;

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
