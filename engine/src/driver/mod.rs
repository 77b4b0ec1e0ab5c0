//! The shard's only door to the kernel: one io_uring, its sockets, its buffers and its journal writes.
//!
//! One thread makes the driver and uses it. A loop calls [`Driver::turn`], which is one system call: it submits
//! what is pending, runs the kernel's deferred work and waits as long as it was told; then [`Driver::next`] gives
//! the completions one by one. The driver knows nothing of frames, lines or time of day.
//!
//! *Invariants.* A slot (socket, file, write) and its memory are used again only after every operation on it has
//! completed. One send is in flight a socket. Once warm, a turn allocates nothing. This folder is the only one
//! with unsafe code.

mod config;

pub use config::{
    BLOCK_ALIGN, DiskError, DriverConfig, DriverError, Errno, KeepAlive, SocketOptions,
};

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

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
}

/// No room: the socket has `out_max` bytes waiting or in flight, so its peer does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("output buffer is full")]
pub struct OutFull;

/// Received bytes in a buffer of the receive ring; given back when dropped.
#[derive(Debug)]
pub struct RecvBytes(());

impl std::ops::Deref for RecvBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &[]
    }
}

/// A block buffer of `block_len` bytes, aligned to `BLOCK_ALIGN`; its old contents stay in it. Returns to its pool when dropped.
#[derive(Debug)]
pub struct BlockBuf(Vec<u8>);

impl std::ops::Deref for BlockBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::DerefMut for BlockBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// What waits to be sent on one socket.
#[derive(Debug)]
pub struct OutBuf(());

impl OutBuf {
    /// Appends bytes; all or nothing.
    pub fn append(&mut self, _bytes: &[u8]) -> Result<(), OutFull> {
        unreachable!("being written")
    }

    /// A vector with room for at least `len` more bytes, to be appended to (never cleared) by an encoder.
    pub fn reserve(&mut self, _len: usize) -> Result<&mut Vec<u8>, OutFull> {
        unreachable!("being written")
    }

    /// Bytes waiting and in flight.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Wakes the driver's thread from any other: cheap to clone, and cheap to use when it is awake already.
#[derive(Debug, Clone)]
pub struct Waker(());

impl Waker {
    /// Makes the driver report `Woken` soon.
    pub fn wake(&self) {}
}

/// What a turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Operations submitted.
    pub submitted: u32,
    /// Completions of the kernel that `next` will now walk (some are not reported to the caller).
    pub ready: u32,
}

/// The driver. Stays on the thread that made it.
#[derive(Debug)]
pub struct Driver(std::marker::PhantomData<*const ()>);

#[allow(unused_variables, clippy::missing_errors_doc)] // the bodies come with the next commits
impl Driver {
    /// Sets the ring up on the calling thread, which must be the one that uses it.
    pub fn new(config: DriverConfig) -> Result<Driver, DriverError> {
        unreachable!("being written")
    }

    /// Listens on a TCP address and accepts for ever, reporting with `tag`; gives the bound address.
    pub fn listen_tcp(
        &mut self,
        address: SocketAddr,
        tag: u64,
        options: &SocketOptions,
    ) -> Result<SocketAddr, DriverError> {
        unreachable!("being written")
    }

    /// Listens on a Unix socket path with these permission bits; a dead daemon's leftover is replaced.
    pub fn listen_unix(
        &mut self,
        path: &Path,
        mode: u32,
        tag: u64,
        options: &SocketOptions,
    ) -> Result<(), DriverError> {
        unreachable!("being written")
    }

    /// Stops the listeners with this tag. Connections accepted already stay.
    pub fn unlisten(&mut self, tag: u64) {}

    /// One system call: submits everything pending (sends of every socket that has bytes and none in flight,
    /// writes, re-armed receives), runs the kernel's deferred work, waits.
    /// Does not wait while completions of the last turn are left.
    pub fn turn(&mut self, wait: Wait) -> Result<Turn, DriverError> {
        unreachable!("being written")
    }

    /// The next completion of the last turn.
    #[allow(clippy::should_implement_trait)] // an iterator would borrow the driver across the loop's body
    pub fn next(&mut self) -> Option<Completion> {
        None
    }

    /// The socket's output, to be appended to; `None` once the socket was closed by the caller.
    pub fn out(&mut self, socket: SocketId) -> Option<&mut OutBuf> {
        None
    }

    /// Sends what waits, then ends the connection in order (FIN, what still comes is discarded), all in the
    /// background and at most `close_linger` long. Does nothing for an id that is closed already.
    pub fn close_after_flush(&mut self, socket: SocketId) {}

    /// Drops what waits and resets the connection.
    pub fn abort(&mut self, socket: SocketId) {}

    /// Sockets that hold a slot, those still closing included.
    pub fn sockets_open(&self) -> u32 {
        0
    }

    /// Takes a file (see `disk::open`) into the ring's file table.
    pub fn open_disk(&mut self, file: File) -> Result<FileSlot, DriverError> {
        unreachable!("being written")
    }

    /// Gives the file back. Panics if a write on it is in flight: ours to prevent.
    pub fn close_disk(&mut self, file: FileSlot) -> File {
        unreachable!("being written")
    }

    /// An unused block buffer, or `None` when all are out.
    pub fn block_buffer(&mut self) -> Option<BlockBuf> {
        None
    }

    /// Writes the first `len` bytes of the buffer at `offset` with the next turn; both multiples of
    /// `BLOCK_ALIGN`, which is asserted, as is `writes_max`. Ends in `Completion::Written` with `tag`.
    pub fn write_at(&mut self, file: FileSlot, offset: u64, buffer: BlockBuf, len: u32, tag: u64) {}

    /// Disk writes that have not been reported yet.
    pub fn writes_in_flight(&self) -> u32 {
        0
    }

    /// A handle for other threads.
    pub fn waker(&self) -> Waker {
        Waker(())
    }
}

/// Opening, preparing and locking of journal files: blocking calls for start-up and helper threads, never for a turn.
pub mod disk {
    use super::DiskError;
    use std::fs::File;
    use std::path::Path;
    use std::time::Duration;

    /// How a file is opened.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct OpenMode {
        /// Create it if it is not there.
        pub create: bool,
        /// O_DIRECT: aligned transfers past the page cache.
        pub direct: bool,
        /// O_DSYNC: a write is durable when it completes.
        pub dsync: bool,
    }

    /// Opens for reading and writing.
    pub fn open(_path: &Path, _mode: OpenMode) -> Result<File, DiskError> {
        unreachable!("being written")
    }

    /// Creates `path` with exactly `len` bytes of zeros really written, durable, its directory entry too. The
    /// file appears under its name only when it is whole.
    pub fn create_zeroed(_path: &Path, _len: u64, _direct: bool) -> Result<(), DiskError> {
        unreachable!("being written")
    }

    /// Takes the file's exclusive lock, waiting at most `deadline`: a killed daemon's last writes hold it until they have landed.
    /// The lock lives as long as the file, or an operation on it, does.
    pub fn lock(_file: &File, _path: &Path, _deadline: Duration) -> Result<(), DiskError> {
        unreachable!("being written")
    }

    /// fsync of a file.
    pub fn sync(_file: &File, _path: &Path) -> Result<(), DiskError> {
        unreachable!("being written")
    }

    /// fsync of a directory, so that names made or removed in it are durable.
    pub fn sync_dir(_dir: &Path) -> Result<(), DiskError> {
        unreachable!("being written")
    }
}
