//! The shard's only door to the kernel: one io_uring, its sockets, its buffers and its journal writes.
//!
//! One thread makes the driver and uses it. A loop calls [`Driver::turn`], which is one system call: it submits
//! what is pending, runs the kernel's deferred work and waits as long as it was told; then [`Driver::next`] gives
//! the completions one by one. The driver knows nothing of frames, lines or time of day.
//!
//! *Invariants.* A slot (socket, file, write) and its memory are used again only after every operation on it has
//! completed. One send is in flight a socket. Once warm, a turn allocates nothing. This folder is the only one
//! with unsafe code.

mod buffers;
mod config;
pub mod disk;
mod listen;
mod output;
mod ring;
mod sockets;
mod wake;
mod writes;

pub use buffers::{BlockBuf, BlockPool, RecvBytes};
pub use config::{
    BLOCK_ALIGN, DiskError, DriverConfig, DriverError, Errno, KeepAlive, SocketOptions,
};
pub use output::OutBuf;
pub use wake::Waker;

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use buffers::RecvPool;
use listen::{Accepted, Listeners};
use ring::{Done, Op, Ring};
use sockets::{RECEIVE_GROUP, Sockets};
use wake::Wake;
use writes::Writes;

/// How long a dropped driver waits for the kernel to let go of its operations.
const DROP_PATIENCE: Duration = Duration::from_secs(5);
/// Completions that end a gathering turn early.
const GATHERED_MAX: u32 = 256;
/// Descriptors beyond sockets and files: standard streams, listeners, the ring, the control thread's.
const DESCRIPTOR_MARGIN: u64 = 128;

/// A socket: slot and generation. An id whose socket was closed names nothing, even when the slot is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId {
    /// The slot, below `sockets_max`: the shard can index its own tables with it.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// A disk file's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileSlot(u32);

/// Who connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a Unix socket: the process and user at connect time.
    Unix {
        /// Process id.
        pid: i32,
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
    /// It was gone before it could be asked.
    Unknown,
}

/// Why nothing more will be received from a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer ended its sending side. It may still read: what is appended is still sent.
    Eof,
    /// The connection broke.
    Error(Errno),
}

/// Why a connection was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFailure {
    /// `sockets_max` are open; the new connection was closed.
    Full,
    /// The kernel failed to accept; the listener tries again after a moment.
    Error(Errno),
}

/// What happened. After `abort` or `close_after_flush` of a socket nothing more is reported of it.
#[derive(Debug)]
pub enum Completion {
    /// A listener accepted a connection; receiving from it has begun.
    Accepted {
        /// The tag given to the listener.
        listener: u64,
        /// The new socket.
        socket: SocketId,
        /// The other side.
        peer: Peer,
    },
    /// A listener could not accept a connection.
    AcceptFailed {
        /// The tag given to the listener.
        listener: u64,
        /// Why.
        reason: AcceptFailure,
    },
    /// Bytes came, in order.
    Received {
        /// From this socket.
        socket: SocketId,
        /// The bytes; dropping them gives the buffer back to the ring, so do not keep many.
        bytes: RecvBytes,
    },
    /// Nothing more comes from this socket. Its slot stays until the caller calls `abort` or `close_after_flush`.
    Closed {
        /// The socket.
        socket: SocketId,
        /// Why.
        reason: CloseReason,
    },
    /// A gathered send completed: the kernel has taken all of its bytes.
    Sent {
        /// The socket.
        socket: SocketId,
        /// Bytes appended meanwhile; they go out with the next turn.
        pending: usize,
    },
    /// A send failed; some of its bytes may have gone. The caller closes the socket.
    SendFailed {
        /// The socket.
        socket: SocketId,
        /// Why.
        errno: Errno,
    },
    /// A disk write ended.
    Written {
        /// The tag given to `write_at`.
        tag: u64,
        /// The buffer, back again.
        buffer: BlockBuf,
        /// Durable if the file was opened so; else why not.
        result: Result<(), DiskError>,
    },
    /// A `Waker` of another thread was used, once or more often since the last `Woken`.
    Woken,
}

/// How long a turn may wait when nothing has completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Poll,
    /// Until something completes or this long.
    AtMost(Duration),
    /// This long, or until so much has completed ([`GATHERED_MAX`]) that more would not make it cheaper.
    Gather(Duration),
}

/// No room: the socket has `out_max` bytes waiting or in flight, so its peer does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("output buffer is full")]
pub struct OutFull;

/// What a turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Operations submitted.
    pub submitted: u32,
    /// Completions of the kernel that `next` will now walk (some are not reported to the caller).
    pub ready: u32,
}

/// Counts since the start, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Turns, each one system call.
    pub turns: u64,
    /// Operations submitted.
    pub submitted: u64,
    /// Receives that found no buffer free: if it grows, `recv_buffers` is too small or buffers are held too long.
    pub starvations: u64,
}

/// The driver. It stays on the thread that made it.
pub struct Driver {
    // The ring is dropped first: the memory below is given to it.
    ring: Ring,
    sockets: Sockets,
    listeners: Listeners,
    writes: Writes,
    wake: Wake,
    blocks: BlockPool,
    turns: u64,
    submitted: u64,
}

impl Driver {
    /// Sets the ring up on the calling thread, which must be the one that uses it. Raises the process's soft limit
    /// of descriptors if `sockets_max` needs it.
    ///
    /// # Errors
    /// `NoIoUring`, `SetUp`, `TooFewDescriptors`, `BadSetting`, `NoMemory`: each says the way out.
    pub fn new(config: DriverConfig) -> Result<Driver, DriverError> {
        config.check()?;
        config::allow_descriptors(
            u64::from(config.sockets_max) + u64::from(config.files_max) + DESCRIPTOR_MARGIN,
        )?;
        let mut ring = Ring::new(&config)?;
        let received = RecvPool::new(config.recv_buffers, config.recv_buffer_len)?;
        ring.register_buffers(&received, config.recv_buffers, RECEIVE_GROUP)?;
        let blocks = BlockPool::new(config.block_buffers, config.block_len)?;
        let mut wake = Wake::new()?;
        wake.arm(&mut ring);
        let sockets = Sockets::new(&config, Rc::clone(&received));
        let (listeners, writes) = (Listeners::default(), Writes::new(&config));
        Ok(Driver {
            ring,
            sockets,
            listeners,
            writes,
            wake,
            blocks,
            turns: 0,
            submitted: 0,
        })
    }

    /// Listens on a TCP address and accepts until `unlisten`, reporting with `tag`. Gives the bound address.
    ///
    /// # Errors
    /// `Listen`.
    pub fn listen_tcp(
        &mut self,
        address: SocketAddr,
        tag: u64,
        options: &SocketOptions,
    ) -> Result<SocketAddr, DriverError> {
        self.listeners
            .listen_tcp(address, tag, options, &mut self.ring)
    }

    /// Listens on a Unix socket path with these permission bits. A dead daemon's leftover is replaced, a live
    /// one's is not; the file is removed when the listener ends.
    ///
    /// # Errors
    /// `Listen`.
    pub fn listen_unix(
        &mut self,
        path: &Path,
        mode: u32,
        tag: u64,
        options: &SocketOptions,
    ) -> Result<(), DriverError> {
        self.listeners
            .listen_unix(path, mode, tag, options, &mut self.ring)
    }

    /// Stops the listeners with this tag. Sockets accepted already stay.
    pub fn unlisten(&mut self, tag: u64) {
        self.listeners.unlisten(tag, &mut self.ring);
    }

    /// One system call: submits everything pending (a gathered send for every socket with output and none in flight,
    /// writes, receives that go on), runs the kernel's deferred work, and waits. It does not wait while completions of
    /// the last turn are left, nor beyond the deadline of a socket that is closing.
    ///
    /// # Errors
    /// `Enter`: the ring is unusable and the shard must stop.
    pub fn turn(&mut self, wait: Wait) -> Result<Turn, DriverError> {
        self.listeners.prepare(&mut self.ring);
        self.sockets.prepare(&mut self.ring);
        let (want, mut limit) = match wait {
            Wait::Poll => (0, Duration::ZERO),
            Wait::AtMost(limit) => (1, limit),
            Wait::Gather(limit) => (GATHERED_MAX, limit),
        };
        for deadline in [self.sockets.deadline(), self.listeners.deadline()]
            .into_iter()
            .flatten()
        {
            limit = limit.min(deadline.saturating_duration_since(Instant::now()));
        }
        let (submitted, ready) = self.ring.enter(want, limit)?;
        self.turns += 1;
        self.submitted += u64::from(submitted);
        Ok(Turn { submitted, ready })
    }

    /// The next completion of the last turn.
    // Not an iterator: that would borrow the driver across the body of the loop.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Completion> {
        loop {
            let done = self.ring.pop()?;
            let completion = match done.key.op() {
                Op::Receive => self.sockets.on_receive(done, &mut self.ring),
                Op::Send => self.sockets.on_send(done, &mut self.ring),
                Op::Write => Some(self.writes.on_write(done)),
                Op::Accept => self.on_accept(done),
                Op::Wake => {
                    self.wake.on_wake(&mut self.ring);
                    Some(Completion::Woken)
                }
                Op::CancelSocket => {
                    self.sockets.on_cancel(done, &mut self.ring);
                    None
                }
                // The accept's own completion says what became of it.
                Op::CancelAccept => None,
            };
            if completion.is_some() {
                return completion;
            }
        }
    }

    /// The socket's output, to be appended to; `None` once the caller has closed the socket.
    pub fn out(&mut self, socket: SocketId) -> Option<OutBuf<'_>> {
        self.sockets.out(socket)
    }

    /// Sends what waits, then ends the connection in order: FIN, what still comes is discarded, gone when the peer has
    /// ended too. All in the background; after `close_linger` the connection is reset. Does nothing to a closed id.
    pub fn close_after_flush(&mut self, socket: SocketId) {
        self.sockets.close_after_flush(socket, &mut self.ring);
    }

    /// Drops what waits and resets the connection. Does nothing to a closed id.
    pub fn abort(&mut self, socket: SocketId) {
        self.sockets.abort(socket, &mut self.ring);
    }

    /// Sockets that hold a slot, those still closing included.
    pub fn sockets_open(&self) -> u32 {
        self.sockets.used()
    }

    /// Takes a file (see `disk::open`) into the ring's file table.
    ///
    /// # Errors
    /// `TooManyFiles`, `SetUp`.
    pub fn open_disk(&mut self, file: File) -> Result<FileSlot, DriverError> {
        self.writes.open(file, &self.ring)
    }

    /// Gives the file back. Panics if a write on it was not reported yet.
    pub fn close_disk(&mut self, file: FileSlot) -> File {
        self.writes.close(file, &self.ring)
    }

    /// An unused block buffer, or `None` when all are out.
    pub fn block_buffer(&mut self) -> Option<BlockBuf> {
        self.blocks.take()
    }

    /// Writes the first `len` bytes of the buffer at `offset` (both multiples of `BLOCK_ALIGN`) with the next turn; ends
    /// in `Completion::Written` with `tag`. Writes may complete out of order. Panics if the numbers are no whole blocks
    /// or `writes_max` are in flight.
    pub fn write_at(&mut self, file: FileSlot, offset: u64, buffer: BlockBuf, len: u32, tag: u64) {
        self.writes
            .write_at(file, offset, buffer, len, tag, &mut self.ring);
    }

    /// Disk writes that have not been reported yet.
    pub fn writes_in_flight(&self) -> u32 {
        self.writes.in_flight()
    }

    /// A handle for other threads.
    pub fn waker(&self) -> Waker {
        self.wake.waker()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        Counters {
            turns: self.turns,
            submitted: self.submitted,
            starvations: self.sockets.starvations,
        }
    }

    fn on_accept(&mut self, done: Done) -> Option<Completion> {
        let (listener, fd) = match self.listeners.on_accept(done, &mut self.ring) {
            Accepted::Socket { tag, fd } => (tag, fd),
            Accepted::Failed { tag, errno } => {
                let reason = AcceptFailure::Error(errno);
                return Some(Completion::AcceptFailed {
                    listener: tag,
                    reason,
                });
            }
            Accepted::Nothing => return None,
        };
        let peer = listen::peer_of(fd.as_fd());
        Some(match self.sockets.insert(fd, &mut self.ring) {
            Ok(Some(socket)) => Completion::Accepted {
                listener,
                socket,
                peer,
            },
            Ok(None) => Completion::AcceptFailed {
                listener,
                reason: AcceptFailure::Full,
            },
            Err(errno) => Completion::AcceptFailed {
                listener,
                reason: AcceptFailure::Error(errno),
            },
        })
    }
}

/// Cancels what can be cancelled, waits for the rest (disk writes), and only then lets the memory go; what the kernel
/// will not give back in time is leaked rather than freed under it.
impl Drop for Driver {
    fn drop(&mut self) {
        let deadline = Instant::now() + DROP_PATIENCE;
        // The first turn only submits what was queued, so that it can be cancelled too.
        let mut left = Duration::ZERO;
        while self.ring.in_flight() > 0 && self.ring.enter(1, left).is_ok() {
            self.ring.cancel_everything();
            left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            while let Some(done) = self.ring.pop() {
                if done.key.op() == Op::Accept {
                    Listeners::close_accepted(done);
                }
            }
        }
        if self.ring.in_flight() > 0 {
            self.sockets.leak();
            self.writes.leak();
            self.wake.leak();
        }
    }
}
