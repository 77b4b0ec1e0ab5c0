//! Segments as files of a directory.
//!
//! `journal-<shard>-<number>.seg` is a segment that was begun or is next; `spare-<shard>-<number>.seg` is a file that is
//! prepared, or was recycled, and counts for nobody; `journal-<shard>-<number>.idx` is a closed segment's index;
//! `journal-<shard>.lock` is held by the daemon that works here. A file gets its segment's name only after its header
//! was zeroed, so a name never shows an older header.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{SegmentStore, StoreError};
use crate::driver::disk::{self, OpenMode};
use crate::driver::{DiskError, Errno};
use crate::journal::buffer::AlignedBuf;
use crate::journal::layout::SEGMENT_HEADER_LEN;

const BUFFERED: OpenMode = OpenMode {
    create: false,
    direct: false,
    dsync: false,
};

/// The journal directory of one shard.
#[derive(Debug)]
pub struct FileStore {
    dir: PathBuf,
    shard: u32,
    /// How long a lock is waited for; `None`: nothing is locked, written or synced.
    patience: Option<Duration>,
    /// The directory's lock, for as long as the store lives.
    _lock: Option<File>,
    open: BTreeMap<u64, File>,
    /// Indexes that were looked for, and whether they are there.
    indexes: BTreeMap<u64, Option<File>>,
}

impl FileStore {
    /// Opens the directory, making it if its parent exists, and takes its lock, waiting at most `patience`: a daemon
    /// that was killed holds it until its last writes have landed.
    ///
    /// # Errors
    /// The directory cannot be made or written, or another daemon holds it.
    pub fn open(dir: &Path, shard: u32, patience: Duration) -> Result<FileStore, StoreError> {
        let refuse = |error: std::io::Error| StoreError::NotWritable {
            path: dir.to_owned(),
            errno: Errno::of(&error),
        };
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(refuse(error)),
            _ => {}
        }
        let path = dir.join(format!("journal-{shard}.lock"));
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(refuse)?;
        disk::lock(&lock, &path, patience)?;
        let store = FileStore {
            dir: dir.to_owned(),
            shard,
            patience: Some(patience),
            _lock: Some(lock),
            open: BTreeMap::new(),
            indexes: BTreeMap::new(),
        };
        store.remove_unfinished()?;
        Ok(store)
    }

    /// Opens the directory to read only, for tools: nothing is locked or synced, so a running daemon is not disturbed.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn read_only(dir: &Path, shard: u32) -> Result<FileStore, StoreError> {
        if !dir.is_dir() {
            return Err(StoreError::NoDirectory {
                path: dir.to_owned(),
            });
        }
        Ok(FileStore {
            dir: dir.to_owned(),
            shard,
            patience: None,
            _lock: None,
            open: BTreeMap::new(),
            indexes: BTreeMap::new(),
        })
    }

    /// The shards that have segments in a directory, rising.
    ///
    /// # Errors
    /// There is no such directory, or it cannot be read.
    pub fn shards(dir: &Path) -> Result<Vec<u32>, StoreError> {
        let mut shards: Vec<u32> = names(dir)?
            .iter()
            .filter_map(|name| parse_name(name, "journal-", ".seg"))
            .map(|(shard, _)| shard)
            .collect();
        shards.sort_unstable();
        shards.dedup();
        Ok(shards)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The shard.
    #[must_use]
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// The path of a segment.
    #[must_use]
    pub fn path(&self, segment: u64) -> PathBuf {
        self.dir
            .join(format!("journal-{}-{segment:012}.seg", self.shard))
    }

    /// The path of a segment's index.
    #[must_use]
    pub fn index_path(&self, segment: u64) -> PathBuf {
        self.path(segment).with_extension("idx")
    }

    /// The segments that have a file for their index, rising.
    pub(crate) fn indexes(&self) -> Result<Vec<u64>, StoreError> {
        self.numbers("journal-", ".idx")
    }

    /// Stores a segment's index; it has its name only when it is whole. Not synced: an index that a crash spoils is
    /// noticed, and made anew. `writer` is a word of its own for each thread that does this.
    pub(crate) fn write_index(
        &mut self,
        segment: u64,
        bytes: &[u8],
        writer: &str,
    ) -> Result<(), StoreError> {
        let path = self.index_path(segment);
        let unfinished = path.with_extension(format!("idx.{writer}.new"));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&unfinished)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&unfinished, &path));
        self.indexes.remove(&segment);
        written.map_err(|error| {
            // The first error is the one to report.
            let _ = fs::remove_file(&unfinished);
            failed("write", &path)(error)
        })
    }

    /// Removes a segment's index, if there is one.
    pub(crate) fn remove_index(&mut self, segment: u64) -> Result<(), StoreError> {
        self.indexes.remove(&segment);
        let path = self.index_path(segment);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Closes a segment that was read, and its index.
    pub(crate) fn let_go(&mut self, segment: u64) {
        self.open.remove(&segment);
        self.indexes.remove(&segment);
    }

    fn spare_path(&self, spare: u64) -> PathBuf {
        self.dir
            .join(format!("spare-{}-{spare:012}.seg", self.shard))
    }

    fn numbers(&self, prefix: &str, suffix: &str) -> Result<Vec<u64>, StoreError> {
        let mut numbers: Vec<u64> = names(&self.dir)?
            .iter()
            .filter_map(|name| parse_name(name, prefix, suffix))
            .filter(|(shard, _)| *shard == self.shard)
            .map(|(_, number)| number)
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The spare files, rising.
    pub(crate) fn spares(&self) -> Result<Vec<u64>, StoreError> {
        self.numbers("spare-", ".seg")
    }

    /// What a crash left of files being prepared.
    fn remove_unfinished(&self) -> Result<(), StoreError> {
        let ours = ["spare", "journal"].map(|kind| format!("{kind}-{}-", self.shard));
        for name in names(&self.dir)? {
            if ours.iter().any(|prefix| name.starts_with(prefix)) && name.ends_with(".new") {
                let path = self.dir.join(&name);
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Lets go of every claimed segment.
    pub(crate) fn release(&mut self) {
        self.open.clear();
    }

    /// Makes a spare file of zeros.
    pub(crate) fn create_spare(
        &self,
        spare: u64,
        bytes: u64,
        direct: bool,
    ) -> Result<(), StoreError> {
        Ok(disk::create_zeroed(&self.spare_path(spare), bytes, direct)?)
    }

    /// Makes a segment that is no longer needed a spare. False if its length is another than wanted: it is removed.
    pub(crate) fn recycle(
        &mut self,
        segment: u64,
        spare: u64,
        bytes: u64,
    ) -> Result<bool, StoreError> {
        self.open.remove(&segment);
        self.remove_index(segment)?;
        let (from, to) = (self.path(segment), self.spare_path(spare));
        let length = fs::metadata(&from).map_err(failed("stat", &from))?.len();
        if length == bytes {
            fs::rename(&from, &to).map_err(failed("rename", &from))?;
        } else {
            fs::remove_file(&from).map_err(failed("remove", &from))?;
        }
        disk::sync_dir(&self.dir)?;
        Ok(length == bytes)
    }

    /// Removes a spare whose length is another than wanted; gives whether it stays.
    pub(crate) fn keep_spare(&self, spare: u64, bytes: u64) -> Result<bool, StoreError> {
        let path = self.spare_path(spare);
        let fits = fs::metadata(&path).map_err(failed("stat", &path))?.len() == bytes;
        if !fits {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        Ok(fits)
    }

    /// Gives a spare its segment's name, its header zeroed before, and opens it for the shard.
    pub(crate) fn publish(
        &self,
        spare: u64,
        segment: u64,
        direct: bool,
        dsync: bool,
    ) -> Result<File, StoreError> {
        let (from, to) = (self.spare_path(spare), self.path(segment));
        let file = disk::open(
            &from,
            OpenMode {
                create: false,
                direct,
                dsync,
            },
        )?;
        disk::lock(&file, &from, self.patience.unwrap_or_default())?;
        file.write_all_at(&AlignedBuf::new(SEGMENT_HEADER_LEN), 0)
            .map_err(failed("write", &from))?;
        disk::sync(&file, &from)?;
        fs::rename(&from, &to).map_err(failed("rename", &from))?;
        disk::sync_dir(&self.dir)?;
        Ok(file)
    }

    /// When a segment was last written.
    pub(crate) fn written(&self, segment: u64) -> Result<SystemTime, StoreError> {
        let path = self.path(segment);
        let time = fs::metadata(&path).and_then(|meta| meta.modified());
        time.map_err(|error| failed("stat", &path)(error))
    }

    fn file(&mut self, segment: u64) -> Result<&File, StoreError> {
        if !self.open.contains_key(&segment) {
            let path = self.path(segment);
            let opened = match self.patience {
                Some(_) => disk::open(&path, BUFFERED).map_err(StoreError::from),
                None => File::open(&path).map_err(failed("open", &path)),
            };
            let file = opened.map_err(|error| match error {
                StoreError::Disk(DiskError::Path { errno, .. }) if errno.0 == libc::ENOENT => {
                    StoreError::Missing { segment }
                }
                other => other,
            })?;
            self.open.insert(segment, file);
        }
        self.open
            .get(&segment)
            .ok_or(StoreError::Missing { segment })
    }
}

impl SegmentStore for FileStore {
    fn list(&mut self) -> Result<Vec<u64>, StoreError> {
        self.numbers("journal-", ".seg")
    }

    fn claim(&mut self, segment: u64) -> Result<u64, StoreError> {
        let (path, patience) = (self.path(segment), self.patience);
        let file = self.file(segment)?;
        if let Some(patience) = patience {
            disk::lock(file, &path, patience)?;
            disk::sync(file, &path)?;
        }
        Ok(file.metadata().map_err(failed("stat", &path))?.len())
    }

    fn read_at(&mut self, segment: u64, offset: u64, out: &mut [u8]) -> Result<usize, StoreError> {
        let file = self.file(segment)?;
        read_up_to(file, offset, out).map_err(|(offset, reason)| StoreError::Read {
            segment,
            offset,
            reason,
        })
    }

    fn read_index(
        &mut self,
        segment: u64,
        offset: u64,
        out: &mut [u8],
    ) -> Result<usize, StoreError> {
        let path = self.index_path(segment);
        if let Entry::Vacant(place) = self.indexes.entry(segment) {
            place.insert(match File::open(&path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(failed("open", &path)(error)),
            });
        }
        let Some(Some(file)) = self.indexes.get(&segment) else {
            return Ok(0);
        };
        read_up_to(file, offset, out).map_err(|(_, errno)| {
            StoreError::Disk(DiskError::Path {
                call: "read",
                path,
                errno,
            })
        })
    }
}

/// Reads until `out` is full or the file ends; an error comes with its offset.
fn read_up_to(file: &File, offset: u64, out: &mut [u8]) -> Result<usize, (u64, Errno)> {
    let mut done = 0;
    while done < out.len() {
        match file.read_at(&mut out[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(len) => done += len,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err((offset + done as u64, Errno::of(&error))),
        }
    }
    Ok(done)
}

/// Random bytes of the operating system, for a segment's salt.
pub(crate) fn fresh_salt() -> Result<[u8; 16], StoreError> {
    let source = Path::new("/dev/urandom");
    let mut salt = [0; 16];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut salt))
        .map_err(failed("read", source))?;
    Ok(salt)
}

fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = fs::read_dir(dir).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => StoreError::NoDirectory {
            path: dir.to_owned(),
        },
        _ => failed("read directory", dir)(error),
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("read directory", dir))?;
        // A name that is not UTF-8 is none of ours.
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Shard and number in `<prefix><shard>-<number><suffix>`.
fn parse_name(name: &str, prefix: &str, suffix: &str) -> Option<(u32, u64)> {
    let rest = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let (shard, number) = rest.split_once('-')?;
    Some((shard.parse().ok()?, number.parse().ok()?))
}

fn failed(call: &'static str, path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| {
        StoreError::Disk(DiskError::Path {
            call,
            path: path.clone(),
            errno: Errno::of(&error),
        })
    }
}
