//! Where a daemon, a relay or an echo server is reached, and the non-blocking stream to it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// How long one TCP connect may take. The peers are near: a longer wait would only hold up the schedule.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// The address of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `host:port`.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// A text is neither `host:port` nor the path of a socket.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("`{text}` is neither HOST:PORT nor the path of a Unix socket (a path has a `/`)")]
pub struct EndpointError {
    text: String,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Anything with a slash is a path; everything else needs a port.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.contains('/') {
            return Ok(Endpoint::Unix(PathBuf::from(path)));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Endpoint::Tcp(text.to_owned()))
            }
            _ => Err(EndpointError {
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => f.write_str(address),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Endpoint {
    /// Connects, and makes the stream non-blocking.
    pub(crate) fn connect(&self) -> io::Result<Stream> {
        match self {
            Endpoint::Tcp(address) => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in address.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, CONNECT_MAX) {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            stream.set_nonblocking(true)?;
                            return Ok(Stream::Tcp(stream));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(stream))
            }
        }
    }
}

/// A connected, non-blocking stream.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&mut &*stream).read(into),
            Stream::Unix(stream) => (&mut &*stream).read(into),
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&mut &*stream).write(bytes),
            Stream::Unix(stream) => (&mut &*stream).write(bytes),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slash makes a path, a port makes an address, and anything else is named in the message.
    #[test]
    fn addresses_and_paths_are_told_apart() {
        assert_eq!(
            "127.0.0.1:5001".parse(),
            Ok(Endpoint::Tcp("127.0.0.1:5001".into()))
        );
        assert_eq!(
            "run/s.sock".parse(),
            Ok(Endpoint::Unix("run/s.sock".into()))
        );
        assert_eq!("unix:/run/s".parse(), Ok(Endpoint::Unix("/run/s".into())));
        for bad in ["localhost", "localhost:", ":5001", "localhost:99999", ""] {
            let error = bad.parse::<Endpoint>().expect_err("no endpoint");
            assert!(error.to_string().contains(&format!("`{bad}`")));
        }
    }
}
