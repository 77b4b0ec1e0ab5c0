//! Writes to the disk, and the memory that a driver takes once it is warm: none.

use super::*;

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
