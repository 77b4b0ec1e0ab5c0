//! What a driver is told at start, and how it may refuse to start. Every limit is taken once; nothing here
//! changes while the driver runs.

// The limit of descriptors is asked for and set by plain system calls.
#![allow(unsafe_code)]

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A multiple of this many bytes is what O_DIRECT takes: addresses, lengths and offsets alike.
pub const BLOCK_ALIGN: usize = 4096;

/// The sizes of one driver. All memory they imply is reserved by `Driver::new`; only out-buffers come lazily.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    /// Sockets open at the same time, listeners not counted. One more is closed as soon as it is accepted.
    pub sockets_max: u32,
    /// Buffers of the receive ring; a power of two, at most 32,768.
    pub recv_buffers: u16,
    /// Bytes of each receive buffer, so the longest `Received`.
    pub recv_buffer_len: u32,
    /// Bytes one socket may have waiting or in flight before `OutFull`.
    pub out_max: usize,
    /// Bytes of out-buffers made at start, of each size up to `out_max`: until they are all in use, no send allocates.
    pub out_reserve: usize,
    /// Bytes of unused out-buffers kept for reuse; what comes back beyond it is freed.
    pub out_keep: usize,
    /// Disk files open at the same time.
    pub files_max: u32,
    /// Disk writes in flight at the same time.
    pub writes_max: u32,
    /// Block buffers in the pool: at least those in flight and the one being filled.
    pub block_buffers: u32,
    /// Bytes of each block buffer, a multiple of `BLOCK_ALIGN`.
    pub block_len: u32,
    /// Submission queue entries; a full queue costs an extra system call, nothing else.
    pub submission_entries: u32,
    /// Completion queue entries; an overflow is kept by the kernel, at the cost of allocations there.
    pub completion_entries: u32,
    /// How long `close_after_flush` may take before the connection is reset.
    pub close_linger: Duration,
}

impl Default for DriverConfig {
    fn default() -> Self {
        DriverConfig {
            sockets_max: 10_000,
            recv_buffers: 1024,
            recv_buffer_len: 16 * 1024,
            out_max: 1024 * 1024,
            out_reserve: 4 * 1024 * 1024,
            out_keep: 64 * 1024 * 1024,
            files_max: 8,
            writes_max: 16,
            block_buffers: 16,
            block_len: 256 * 1024,
            submission_entries: 1024,
            completion_entries: 16 * 1024,
            close_linger: Duration::from_secs(5),
        }
    }
}

impl DriverConfig {
    pub(super) fn check(&self) -> Result<(), DriverError> {
        let rules: [(&'static str, u64, bool, &'static str); 6] = [
            (
                "sockets_max",
                self.sockets_max.into(),
                self.sockets_max > 0,
                "must be at least 1",
            ),
            (
                "recv_buffers",
                self.recv_buffers.into(),
                self.recv_buffers.is_power_of_two() && self.recv_buffers <= 1 << 15,
                "must be a power of two, at most 32768",
            ),
            (
                "recv_buffer_len",
                self.recv_buffer_len.into(),
                self.recv_buffer_len > 0,
                "must be at least 1",
            ),
            (
                "out_max",
                self.out_max as u64,
                self.out_max > 0 && self.out_max <= i32::MAX as usize,
                "must be between 1 and 2147483647",
            ),
            (
                "writes_max",
                self.writes_max.into(),
                self.writes_max > 0,
                "must be at least 1",
            ),
            (
                "completion_entries",
                self.completion_entries.into(),
                self.completion_entries >= self.submission_entries,
                "must be at least submission_entries",
            ),
        ];
        match rules.into_iter().find(|&(_, _, holds, _)| !holds) {
            Some((name, value, _, rule)) => Err(DriverError::BadSetting { name, value, rule }),
            None => Ok(()),
        }
    }
}

/// Raises the soft limit of descriptors to the hard one if `need` asks for it.
pub(super) fn allow_descriptors(need: u64) -> Result<(), DriverError> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit into `limit`.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if got != 0 || limit.rlim_cur >= need {
        return Ok(());
    }
    if limit.rlim_max < need {
        return Err(DriverError::TooFewDescriptors {
            need,
            have: limit.rlim_max,
        });
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one rlimit.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if set == 0 {
        Ok(())
    } else {
        Err(DriverError::TooFewDescriptors {
            need,
            have: limit.rlim_max,
        })
    }
}

/// Socket options of a listener; accepted sockets inherit them.
#[derive(Debug, Clone)]
pub struct SocketOptions {
    /// TCP keepalive; `None` leaves it off.
    pub keepalive: Option<KeepAlive>,
    /// TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged before the connection is dropped.
    pub user_timeout: Option<Duration>,
    /// TCP_MAXSEG, where the partner asks for one (`spec/cafis.md 5.1`).
    pub max_segment: Option<u16>,
    /// Connections the kernel holds before they are accepted.
    pub backlog: u16,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            keepalive: None,
            user_timeout: None,
            max_segment: None,
            backlog: 1024,
        }
    }
}

/// TCP keepalive times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe; whole seconds.
    pub idle: Duration,
    /// Time between unanswered probes; whole seconds.
    pub interval: Duration,
    /// Unanswered probes before the connection is dropped.
    pub count: u32,
}

/// An error number of the kernel, shown with its text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// The number inside an I/O error; EIO if it carries none.
    pub fn of(error: &std::io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {})", self.0, self)
    }
}

/// Why the driver cannot start, listen, open or go on.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The kernel has no io_uring, or it is switched off.
    #[error("io_uring is not available ({errno}): {way_out}")]
    NoIoUring {
        /// What io_uring_setup answered.
        errno: Errno,
        /// What the operator can do.
        way_out: &'static str,
    },
    /// The kernel has io_uring but lacks a part of it that the driver stands on.
    #[error("io_uring set-up failed at {step} ({errno}); Linux 6.1 or newer is needed")]
    SetUp {
        /// The step that failed.
        step: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// The process may not open as many descriptors as `sockets_max` asks for.
    #[error(
        "{need} descriptors are needed and {have} allowed: raise the limit (LimitNOFILE=) or lower api.max_links"
    )]
    TooFewDescriptors {
        /// Sockets, files and a margin.
        need: u64,
        /// RLIMIT_NOFILE, hard.
        have: u64,
    },
    /// A size in `DriverConfig` cannot be.
    #[error("driver setting {name} = {value}: {rule}")]
    BadSetting {
        /// The field of `DriverConfig`.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        rule: &'static str,
    },
    /// Memory for the buffers was refused.
    #[error("no memory for {what} ({bytes} bytes): {errno}")]
    NoMemory {
        /// Which buffers.
        what: &'static str,
        /// How many bytes.
        bytes: usize,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A listening address or path cannot be taken.
    #[error(
        "cannot listen on {at}: {errno}; end what has it, or name another address in the configuration"
    )]
    Listen {
        /// The address or path as configured.
        at: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// Every file slot is taken.
    #[error("{files_max} disk files are open already: raise files_max")]
    TooManyFiles {
        /// The limit.
        files_max: u32,
    },
    /// The ring itself failed; the shard cannot go on.
    #[error("io_uring_enter failed: {errno}")]
    Enter {
        /// The kernel's answer.
        errno: Errno,
    },
}

/// A disk file that cannot be opened, prepared, locked or written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file system refuses O_DIRECT (tmpfs and some network file systems do).
    #[error(
        "{path}: this file system does not support O_DIRECT; put data_dir on a local disk (ext4, xfs)"
    )]
    NoDirect {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the file's lock and did not let go in time.
    #[error(
        "{path} is locked by another process, waited {waited:?}; is a second daemon running on this journal?"
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// A call on a path failed.
    #[error("{call} {path}: {errno}")]
    Path {
        /// The call.
        call: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Its error.
        errno: Errno,
    },
    /// A write on the ring failed: the shard must stop, it is never retried in place.
    #[error("journal write failed: {errno}")]
    Write {
        /// Its error.
        errno: Errno,
    },
    /// A write on the ring was cut short: the shard must stop.
    #[error("journal write was short: {written} of {wanted} bytes")]
    Short {
        /// Bytes that reached the disk.
        written: u32,
        /// Bytes asked for.
        wanted: u32,
    },
}
