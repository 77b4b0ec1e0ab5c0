//! Free ports of this machine, and waiting until something listens on one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::Failure;

/// So many different ports that nothing listens on now.
///
/// # Errors
/// The system has no more.
pub fn free(count: usize) -> Result<Vec<u16>, Failure> {
    // All are held until the last is known, so that none comes twice.
    let held: Result<Vec<TcpListener>, _> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect();
    let addresses: Result<Vec<SocketAddr>, _> =
        held.and_then(|held| held.iter().map(TcpListener::local_addr).collect());
    addresses
        .map(|addresses| addresses.iter().map(SocketAddr::port).collect())
        .map_err(|error| format!("no {count} free ports on the loopback address: {error}"))
}

/// Whether something accepts connections at a port of the loopback address within `limit`; `alive` may end the wait.
pub fn listening(port: u16, limit: Duration, mut alive: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end && alive() {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
