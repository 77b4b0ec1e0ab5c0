//! The control port: orders a line, replies a line or more, each reply followed by an empty line.
//!
//! Threads of its own keep it off the data path. It has no authentication, so it listens on loopback and nowhere else.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::Remote;

/// Listens for orders on a loopback address and returns where; port 0 lets the system choose.
///
/// # Errors
/// The address is not loopback, or is taken.
pub fn listen(address: SocketAddr, remote: Remote) -> io::Result<SocketAddr> {
    if !address.ip().is_loopback() {
        let reason =
            format!("{address} is no loopback address, and the control port has no password");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let listener = TcpListener::bind(address)?;
    let local = listener.local_addr()?;
    std::thread::Builder::new()
        .name("control".into())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                let remote = remote.clone();
                // An operator whose connection breaks connects again: there is nobody to tell.
                let _ = std::thread::Builder::new()
                    .name("operator".into())
                    .spawn(move || serve(stream, &remote));
            }
        })?;
    Ok(local)
}

fn serve(stream: TcpStream, remote: &Remote) -> io::Result<()> {
    let mut replies = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let reply = remote.control(&line?);
        replies.write_all(format!("{reply}\n\n").as_bytes())?;
    }
    Ok(())
}
