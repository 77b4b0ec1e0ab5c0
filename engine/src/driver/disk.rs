//! Opening, preparing and locking of journal files. These calls block: they are for start-up and for helper
//! threads that prepare the next segment, never for a turn.

// fallocate has no safe wrapper here.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{BLOCK_ALIGN, BlockPool, DiskError, Errno};

/// Bytes of one write while a file is filled with zeros.
const ZERO_CHUNK: u32 = 1 << 20;
/// How often a lock that another process holds is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenMode {
    /// Create it if it is not there; only the daemon's user may read it.
    pub create: bool,
    /// O_DIRECT: transfers of whole blocks, past the page cache.
    pub direct: bool,
    /// O_DSYNC: a write is durable when it completes.
    pub dsync: bool,
}

/// Opens a file for reading and writing.
///
/// # Errors
/// `NoDirect` where the file system has no O_DIRECT: nothing falls back silently. Else `Path`.
pub fn open(path: &Path, mode: OpenMode) -> Result<File, DiskError> {
    let mut flags = 0;
    if mode.direct {
        flags |= libc::O_DIRECT;
    }
    if mode.dsync {
        flags |= libc::O_DSYNC;
    }
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(mode.create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags);
    options
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) if mode.direct => DiskError::NoDirect {
                path: path.to_owned(),
            },
            _ => failed("open", path)(error),
        })
}

/// Makes `path` a file of `len` zero bytes, really written and durable, its name too. The name appears only when the
/// file is whole, so a crash leaves no half-prepared segment. `len` is a multiple of `BLOCK_ALIGN`.
///
/// # Errors
/// As `open`; `Path` with ENOSPC when the disk is full, after what was taken is given back.
pub fn create_zeroed(path: &Path, len: u64, direct: bool) -> Result<(), DiskError> {
    assert!(
        len.is_multiple_of(BLOCK_ALIGN as u64),
        "a file of {len} bytes is not whole blocks"
    );
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let unfinished = path.with_file_name(name);
    let outcome = fill(&unfinished, len, direct)
        .and_then(|()| std::fs::rename(&unfinished, path).map_err(failed("rename", &unfinished)));
    if let Err(error) = outcome {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&unfinished);
        return Err(error);
    }
    sync_dir(parent(path))
}

/// Takes the file's exclusive lock, waiting at most `patience`: a killed process holds it until its last writes have
/// landed. It is held as long as the file is open or an operation on it is under way.
///
/// # Errors
/// `Locked` when the time is over.
pub fn lock(file: &File, path: &Path, patience: Duration) -> Result<(), DiskError> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(failed("flock", path)(error)),
            Err(TryLockError::WouldBlock) if began.elapsed() >= patience => {
                return Err(DiskError::Locked {
                    path: path.to_owned(),
                    waited: patience,
                });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY.min(patience)),
        }
    }
}

/// Makes a file's contents and length durable.
///
/// # Errors
/// `Path`; the caller must not go on with the file: a second fsync may succeed with the data lost.
pub fn sync(file: &File, path: &Path) -> Result<(), DiskError> {
    file.sync_all().map_err(failed("fsync", path))
}

/// Makes the names in a directory durable.
///
/// # Errors
/// `Path`.
pub fn sync_dir(dir: &Path) -> Result<(), DiskError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed("fsync directory", dir))
}

fn fill(path: &Path, len: u64, direct: bool) -> Result<(), DiskError> {
    let file = open(
        path,
        OpenMode {
            create: true,
            direct,
            dsync: false,
        },
    )?;
    file.set_len(0).map_err(failed("truncate", path))?;
    allocate(&file, len).map_err(failed("fallocate", path))?;
    // Written, not only allocated: a first write into an allocated extent has to change metadata, which halves its speed.
    let pool = BlockPool::new(1, ZERO_CHUNK).map_err(|_| out_of_memory(path))?;
    let zeros = pool.take().ok_or_else(|| out_of_memory(path))?;
    let mut offset = 0;
    while offset < len {
        let chunk = (len - offset).min(ZERO_CHUNK.into()) as usize;
        file.write_all_at(&zeros[..chunk], offset)
            .map_err(failed("write", path))?;
        offset += chunk as u64;
    }
    sync(&file, path)
}

fn allocate(file: &File, len: u64) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that `file` keeps open.
    match unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, len as libc::off_t) } {
        0 => Ok(()),
        _ => {
            let error = io::Error::last_os_error();
            // Without fallocate the zeros written next do the same, with less contiguity.
            if error.raw_os_error() == Some(libc::EOPNOTSUPP) {
                Ok(())
            } else {
                Err(error)
            }
        }
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

fn out_of_memory(path: &Path) -> DiskError {
    DiskError::Path {
        call: "memory to fill",
        path: path.to_owned(),
        errno: Errno(libc::ENOMEM),
    }
}

fn failed(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path: PathBuf = path.to_owned();
    move |error| DiskError::Path {
        call,
        path,
        errno: Errno::of(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows that a file of another process's lock is waited for in vain and then named.
    #[test]
    fn lock_waits_and_names_the_file() {
        let path = std::env::temp_dir().join(format!("sekisho-driver-lock-{}", std::process::id()));
        let mode = OpenMode {
            create: true,
            direct: false,
            dsync: false,
        };
        let (first, second) = (
            open(&path, mode).expect("open"),
            open(&path, mode).expect("open again"),
        );
        lock(&first, &path, Duration::ZERO).expect("nobody holds it");
        let refusal = lock(&second, &path, Duration::from_millis(20))
            .expect_err("the first holds it")
            .to_string();
        assert!(
            refusal.contains(path.to_str().expect("plain")) && refusal.contains("second daemon"),
            "{refusal}"
        );
        drop(first);
        lock(&second, &path, Duration::from_secs(5)).expect("it was let go");
        std::fs::remove_file(&path).expect("remove");
    }

    /// Shows that O_DIRECT is never dropped silently where it is missing.
    #[test]
    fn missing_direct_is_refused() {
        let path =
            Path::new("/dev/shm").join(format!("sekisho-driver-direct-{}", std::process::id()));
        let result = open(
            &path,
            OpenMode {
                create: true,
                direct: true,
                dsync: true,
            },
        );
        // Newer kernels give tmpfs O_DIRECT; where it is refused, the message must name the way out.
        if let Err(error) = result {
            assert!(
                error.to_string().contains("put data_dir on a local disk"),
                "{error}"
            );
        }
        // It is there only where the open succeeded.
        let _ = std::fs::remove_file(&path);
    }
}
