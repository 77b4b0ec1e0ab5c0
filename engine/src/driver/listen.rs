//! Listeners: their sockets and options, and multishot accepts that go on for ever.

// Asking for a Unix peer's credentials, and taking over accepted descriptors.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::types::Fd;
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::ring::{Done, Key, Op, Ring};
use super::{DriverError, Errno, Peer, SocketOptions};

/// How long a listener rests after the kernel failed to accept, descriptors having run out for example.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

struct Listener {
    socket: Socket,
    tag: u64,
    /// Removed with the listener.
    path: Option<PathBuf>,
    /// The accept is not in flight and is to be armed at this time.
    retry_at: Option<Instant>,
    /// `unlisten` was called: kept until its accept has completed.
    ending: bool,
}

/// What an accept brought.
pub(super) enum Accepted {
    Socket { tag: u64, fd: OwnedFd },
    Failed { tag: u64, errno: Errno },
    Nothing,
}

/// All listeners of a driver, at the places their keys name.
#[derive(Default)]
pub(super) struct Listeners {
    places: Vec<Option<Listener>>,
    resting: u32,
}

impl Listeners {
    pub(super) fn listen_tcp(
        &mut self,
        address: SocketAddr,
        tag: u64,
        options: &SocketOptions,
        ring: &mut Ring,
    ) -> Result<SocketAddr, DriverError> {
        let bind = || -> io::Result<(Socket, SocketAddr)> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            apply(&socket, options)?;
            socket.bind(&address.into())?;
            socket.listen(options.backlog.into())?;
            let bound = socket.local_addr()?.as_socket().unwrap_or(address);
            Ok((socket, bound))
        };
        let (socket, bound) = bind().map_err(|error| refused(address.to_string(), &error))?;
        self.insert(
            Listener {
                socket,
                tag,
                path: None,
                retry_at: None,
                ending: false,
            },
            ring,
        );
        Ok(bound)
    }

    pub(super) fn listen_unix(
        &mut self,
        path: &Path,
        mode: u32,
        tag: u64,
        options: &SocketOptions,
        ring: &mut Ring,
    ) -> Result<(), DriverError> {
        let bind = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            remove_leftover(path)?;
            socket.bind(&SockAddr::unix(path)?)?;
            // Nobody can connect before `listen`, so nobody slips in under the default mode.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
            socket.listen(options.backlog.into())?;
            Ok(socket)
        };
        let socket = bind().map_err(|error| refused(path.display().to_string(), &error))?;
        self.insert(
            Listener {
                socket,
                tag,
                path: Some(path.to_owned()),
                retry_at: None,
                ending: false,
            },
            ring,
        );
        Ok(())
    }

    pub(super) fn unlisten(&mut self, tag: u64, ring: &mut Ring) {
        for (index, place) in self.places.iter_mut().enumerate() {
            let Some(listener) = place
                .as_mut()
                .filter(|listener| listener.tag == tag && !listener.ending)
            else {
                continue;
            };
            listener.ending = true;
            if let Some(path) = listener.path.take() {
                // If it is gone already, that was the aim.
                let _ = std::fs::remove_file(path);
            }
            if listener.retry_at.is_some() {
                self.resting -= 1;
                *place = None;
            } else {
                ring.cancel(key(index), Key::new(Op::CancelAccept, index as u32, 0));
            }
        }
    }

    /// Before a turn: arms accepts that have rested.
    pub(super) fn prepare(&mut self, ring: &mut Ring) {
        if self.resting == 0 {
            return;
        }
        let now = Instant::now();
        for (index, place) in self.places.iter_mut().enumerate() {
            let Some(listener) = place else { continue };
            if listener.retry_at.is_some_and(|at| at <= now) {
                listener.retry_at = None;
                self.resting -= 1;
                arm(&listener.socket, index, ring);
            }
        }
    }

    /// The time after which a turn must run for the sake of a resting listener.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.resting == 0 {
            return None;
        }
        self.places
            .iter()
            .flatten()
            .filter_map(|listener| listener.retry_at)
            .min()
    }

    /// A multishot accept completed once.
    pub(super) fn on_accept(&mut self, done: Done, ring: &mut Ring) -> Accepted {
        let fd = accepted(done);
        let index = done.key.index() as usize;
        let place = &mut self.places[index];
        let listener = place
            .as_mut()
            .expect("a listener stays until its accept has completed");
        let tag = listener.tag;
        if listener.ending {
            if !done.more {
                *place = None;
            }
            return Accepted::Nothing;
        }
        match fd {
            Some(fd) => {
                if !done.more {
                    arm(&listener.socket, index, ring);
                }
                Accepted::Socket { tag, fd }
            }
            // The peer was gone before it was accepted: the listener is well.
            None if matches!(-done.result, libc::ECONNABORTED | libc::EINTR) => {
                if !done.more {
                    arm(&listener.socket, index, ring);
                }
                Accepted::Nothing
            }
            None => {
                if !done.more {
                    listener.retry_at = Some(Instant::now() + ACCEPT_RETRY);
                    self.resting += 1;
                }
                Accepted::Failed {
                    tag,
                    errno: Errno(-done.result),
                }
            }
        }
    }

    /// Closes what an accept brought when the driver is ending.
    pub(super) fn close_accepted(done: Done) {
        drop(accepted(done));
    }

    fn insert(&mut self, listener: Listener, ring: &mut Ring) {
        let free = self.places.iter().position(Option::is_none);
        let index = free.unwrap_or(self.places.len());
        arm(&listener.socket, index, ring);
        match free {
            Some(index) => self.places[index] = Some(listener),
            None => self.places.push(Some(listener)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // If it is gone already, that was the aim.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The descriptor an accept's completion carries. Call once a completion.
fn accepted(done: Done) -> Option<OwnedFd> {
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    (done.result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(done.result) })
}

fn key(index: usize) -> Key {
    Key::new(Op::Accept, index as u32, 0)
}

fn arm(socket: &Socket, index: usize, ring: &mut Ring) {
    // Without SOCK_NONBLOCK: a non-blocking socket's operations would fail with EAGAIN instead of waiting.
    let accept = opcode::AcceptMulti::new(Fd(socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
    let entry = accept.build().user_data(key(index).bits());
    // SAFETY: a multishot accept carries no address.
    unsafe { ring.push(&entry) }
}

/// Sets what accepted sockets inherit: no delay for small frames, keepalive, limits of patience and of segment size.
fn apply(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if let Some(keepalive) = options.keepalive {
        let times = TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.count);
        socket.set_tcp_keepalive(&times)?;
    }
    if options.user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.user_timeout)?;
    }
    if let Some(bytes) = options.max_segment {
        socket.set_tcp_mss(bytes.into())?;
    }
    Ok(())
}

/// Removes the socket file of a daemon that died; one that still answers, or anything but a socket, is left alone.
fn remove_leftover(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::from_raw_os_error(libc::EEXIST))
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)
            }
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
        },
    }
}

fn refused(at: String, error: &io::Error) -> DriverError {
    DriverError::Listen {
        at,
        errno: Errno::of(error),
    }
}

/// Asks a connected socket who is on the other side.
pub(super) fn peer_of(fd: BorrowedFd<'_>) -> Peer {
    let Ok(address) = SockRef::from(&fd).peer_addr() else {
        return Peer::Unknown;
    };
    match address.as_socket() {
        Some(address) => Peer::Tcp(address),
        None => credentials(fd).unwrap_or(Peer::Unknown),
    }
}

fn credentials(fd: BorrowedFd<'_>) -> Option<Peer> {
    let mut found = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `found`, which is that long.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut len,
        )
    };
    (result == 0).then_some(Peer::Unix {
        pid: found.pid,
        uid: found.uid,
        gid: found.gid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::KeepAlive;

    /// Shows that what is set on a listener holds for the sockets accepted from it.
    #[test]
    fn accepted_sockets_inherit_options() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        let second = Duration::from_secs(1);
        let keepalive = KeepAlive {
            idle: 40 * second,
            interval: 6 * second,
            count: 8,
        };
        let options = SocketOptions {
            keepalive: Some(keepalive),
            user_timeout: Some(Duration::from_millis(48_000)),
            max_segment: Some(1374),
            ..SocketOptions::default()
        };
        apply(&socket, &options).expect("options");
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .expect("bind");
        socket.listen(1).expect("listen");
        let address = socket
            .local_addr()
            .expect("bound")
            .as_socket()
            .expect("an internet address");
        let client = std::net::TcpStream::connect(address).expect("connect");
        let (accepted, _) = socket.accept().expect("accept");
        assert!(
            accepted.tcp_nodelay().expect("nodelay") && accepted.keepalive().expect("keepalive")
        );
        assert_eq!(accepted.tcp_keepalive_time().expect("idle"), keepalive.idle);
        assert_eq!(
            accepted.tcp_keepalive_interval().expect("interval"),
            keepalive.interval
        );
        assert_eq!(
            accepted.tcp_keepalive_retries().expect("count"),
            keepalive.count
        );
        assert_eq!(
            accepted.tcp_user_timeout().expect("patience"),
            options.user_timeout
        );
        assert!(accepted.tcp_mss().expect("segment") <= 1374);
        drop(client);
    }
}
