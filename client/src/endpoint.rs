//! Where a daemon listens, and a stream to it. TCP and Unix sockets look alike above this module.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

/// Where a daemon listens for applications.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP port; every address of the host name is tried.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl Endpoint {
    /// A TCP endpoint.
    #[must_use]
    pub fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    /// Reads the form that WELCOME uses: a path if it holds a `/`, else `host:port`. `None` if it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Endpoint> {
        if text.contains('/') {
            return Some(Endpoint::Unix(PathBuf::from(text)));
        }
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return None;
        }
        Some(Endpoint::tcp(host, port.parse().ok()?))
    }

    /// A connected stream: no delay for small frames, and a write that hangs for `limit` fails.
    ///
    /// # Errors
    /// The last address's error when none could be reached within `limit` each.
    pub(crate) fn connect(&self, limit: Duration) -> io::Result<Socket> {
        let socket = match self {
            Endpoint::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.connect(&SockAddr::unix(path)?)?;
                socket
            }
            Endpoint::Tcp { host, port } => connect_tcp(host, *port, limit)?,
        };
        socket.set_write_timeout(Some(limit))?;
        Ok(socket)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn connect_tcp(host: &str, port: u16, limit: Duration) -> io::Result<Socket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in (host, port).to_socket_addrs()? {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        match socket.connect_timeout(&address.into(), limit) {
            Ok(()) => {
                socket.set_tcp_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Writes all of `bytes`. Never raises SIGPIPE: the host program may be a C program that keeps its default action.
pub(crate) fn send_all(socket: &Socket, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.send_with_flags(bytes, libc::MSG_NOSIGNAL) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The forms that WELCOME's `go_to` may take are understood, and print as they were read.
    #[test]
    fn endpoints_are_read_and_printed() {
        for text in ["127.0.0.1:5001", "[::1]:5001", "/run/sekisho/api.1"] {
            assert_eq!(
                Endpoint::parse(text).map(|e| e.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in [
            "",
            ":5000",
            "localhost",
            "localhost:http",
            "localhost:70000",
        ] {
            assert_eq!(Endpoint::parse(text), None, "{text}");
        }
    }
}
