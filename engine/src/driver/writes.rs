//! Disk files in the ring's file table, and the writes in flight on them.

// Entries for the ring carry addresses of block buffers.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

use io_uring::opcode;
use io_uring::types::Fixed;

use super::ring::{Done, Key, Op, Ring};
use super::{
    BLOCK_ALIGN, BlockBuf, Completion, DiskError, DriverConfig, DriverError, Errno, FileSlot,
};

struct Open {
    file: File,
    writes: u32,
}

struct Write {
    file: u32,
    len: u32,
    tag: u64,
    buffer: BlockBuf,
}

/// The files and writes of a driver.
pub(super) struct Writes {
    files: Vec<Option<Open>>,
    /// Where the files begin in the ring's table: behind the sockets.
    first: u32,
    writes: Vec<Option<Write>>,
    free: Vec<u32>,
}

impl Writes {
    pub(super) fn new(config: &DriverConfig) -> Writes {
        Writes {
            files: (0..config.files_max).map(|_| None).collect(),
            first: config.sockets_max,
            writes: (0..config.writes_max).map(|_| None).collect(),
            free: (0..config.writes_max).rev().collect(),
        }
    }

    pub(super) fn open(&mut self, file: File, ring: &Ring) -> Result<FileSlot, DriverError> {
        let Some(index) = self.files.iter().position(Option::is_none) else {
            return Err(DriverError::TooManyFiles {
                files_max: self.files.len() as u32,
            });
        };
        let slot = index as u32;
        ring.set_file(self.first + slot, file.as_raw_fd())
            .map_err(|errno| DriverError::SetUp {
                step: "registering a disk file",
                errno,
            })?;
        self.files[index] = Some(Open { file, writes: 0 });
        Ok(FileSlot(slot))
    }

    pub(super) fn close(&mut self, slot: FileSlot, ring: &Ring) -> File {
        let open = self.files[slot.0 as usize]
            .take()
            .expect("the file is open");
        assert!(
            open.writes == 0,
            "a file with {} writes in flight is closed",
            open.writes
        );
        let cleared = ring.set_file(self.first + slot.0, -1);
        assert!(cleared.is_ok(), "clearing file {}: {cleared:?}", slot.0);
        open.file
    }

    pub(super) fn write_at(
        &mut self,
        slot: FileSlot,
        offset: u64,
        buffer: BlockBuf,
        len: u32,
        tag: u64,
        ring: &mut Ring,
    ) {
        let bytes = len as usize;
        assert!(
            bytes > 0 && bytes <= buffer.len(),
            "{len} bytes of a buffer of {}",
            buffer.len()
        );
        assert!(
            bytes.is_multiple_of(BLOCK_ALIGN) && offset.is_multiple_of(BLOCK_ALIGN as u64),
            "{len} bytes at {offset} are not whole blocks"
        );
        let file = self.files[slot.0 as usize]
            .as_mut()
            .expect("the file is open");
        let place = self
            .free
            .pop()
            .expect("no more than writes_max writes are in flight");
        file.writes += 1;
        let entry = opcode::Write::new(Fixed(self.first + slot.0), buffer.as_ptr(), len)
            .offset(offset)
            .build()
            .user_data(Key::new(Op::Write, place, 0).bits());
        self.writes[place as usize] = Some(Write {
            file: slot.0,
            len,
            tag,
            buffer,
        });
        // SAFETY: the buffer's memory is its pool's, and stays this write's until its completion; `leak` covers an early end.
        unsafe { ring.push(&entry) }
    }

    pub(super) fn on_write(&mut self, done: Done) -> Completion {
        let place = done.key.index();
        let write = self.writes[place as usize]
            .take()
            .expect("a write completes once");
        self.free.push(place);
        self.files[write.file as usize]
            .as_mut()
            .expect("a file with writes stays open")
            .writes -= 1;
        let result = match done.result {
            error if error < 0 => Err(DiskError::Write {
                errno: Errno(-error),
            }),
            written if written as u32 == write.len => Ok(()),
            written => Err(DiskError::Short {
                written: written as u32,
                wanted: write.len,
            }),
        };
        Completion::Written {
            tag: write.tag,
            buffer: write.buffer,
            result,
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        (self.writes.len() - self.free.len()) as u32
    }

    /// Forgets the buffers without freeing what the kernel may still read.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.writes));
    }
}
