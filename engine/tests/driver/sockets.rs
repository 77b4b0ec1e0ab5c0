//! A socket's life: accepted, reset, its slot used again, listeners that come and go.

use super::*;

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
