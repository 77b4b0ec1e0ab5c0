//! Memory the kernel reads and writes: the ring of receive buffers, and the pool of block buffers for the disk.
//!
//! Both are mapped once. What the caller holds of them (`RecvBytes`, `BlockBuf`) keeps its pool alive and gives
//! its buffer back when dropped, so neither borrows the driver and neither can outlive its memory.

// Mapped memory, shared with the kernel by address.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::{BLOCK_ALIGN, DriverError, Errno};

/// Private anonymous memory, page-aligned, zeroed, resident only where touched.
struct Region {
    start: NonNull<u8>,
    len: usize,
}

impl Region {
    fn map(what: &'static str, len: usize) -> Result<Region, DriverError> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new anonymous mapping touches no memory of ours.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            let errno = Errno::of(&std::io::Error::last_os_error());
            return Err(DriverError::NoMemory {
                what,
                bytes: len,
                errno,
            });
        }
        let start = NonNull::new(address.cast()).expect("a mapping is not at address zero");
        Ok(Region { start, len })
    }

    /// The address `offset` bytes in.
    fn at(&self, offset: usize) -> *mut u8 {
        assert!(
            offset < self.len,
            "offset {offset} in a region of {}",
            self.len
        );
        // SAFETY: the offset lies within the mapping.
        unsafe { self.start.as_ptr().add(offset) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and nothing points into it any more: pools are shared by Rc with all who do.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The receive buffers and the ring through which the kernel is given them.
pub(super) struct RecvPool {
    entries: Region,
    data: Region,
    count: u16,
    buffer_len: u32,
    /// Buffers ever given to the kernel, wrapping, as the ring counts them.
    tail: Cell<u16>,
    /// Buffers that left the ring, as far as completions have told.
    out: Cell<u16>,
}

impl RecvPool {
    /// Maps `count` buffers (a power of two, at most 32,768) of `buffer_len` bytes and fills the ring with them.
    pub(super) fn new(count: u16, buffer_len: u32) -> Result<Rc<RecvPool>, DriverError> {
        let entries = Region::map(
            "the receive ring",
            usize::from(count) * size_of::<BufRingEntry>(),
        )?;
        let data = Region::map("receive buffers", usize::from(count) * buffer_len as usize)?;
        let pool = RecvPool {
            entries,
            data,
            count,
            buffer_len,
            tail: Cell::new(0),
            out: Cell::new(count),
        };
        for id in 0..count {
            pool.give(id);
        }
        Ok(Rc::new(pool))
    }

    /// The address to register.
    pub(super) fn address(&self) -> u64 {
        self.entries.start.as_ptr() as u64
    }

    /// Buffers the kernel can fill, less those it filled and has not told of.
    pub(super) fn available(&self) -> u16 {
        self.count - self.out.get()
    }

    /// Takes the buffer that a completion named, with `len` bytes in it.
    pub(super) fn take(self: &Rc<Self>, id: u16, len: usize) -> RecvBytes {
        assert!(
            id < self.count && len <= self.buffer_len as usize,
            "buffer {id} with {len} bytes"
        );
        self.out.set(self.out.get() + 1);
        RecvBytes {
            pool: Rc::clone(self),
            id,
            len: len as u32,
        }
    }

    /// Gives a buffer to the kernel.
    fn give(&self, id: u16) {
        let base = self.entries.start.as_ptr().cast::<BufRingEntry>();
        let tail = self.tail.get();
        let place = usize::from(tail & (self.count - 1));
        // SAFETY: the place lies within the ring. The kernel reads it only once the tail has passed it, and cannot
        // be a whole ring behind, since there are no more buffers than places. The tail overlays the padding of the
        // first entry, which the setters leave alone.
        unsafe {
            let entry = &mut *base.add(place);
            entry.set_addr(self.data.at(usize::from(id) * self.buffer_len as usize) as u64);
            entry.set_len(self.buffer_len);
            entry.set_bid(id);
            let shared_tail = AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut());
            shared_tail.store(tail.wrapping_add(1), Ordering::Release);
        }
        self.tail.set(tail.wrapping_add(1));
        self.out.set(self.out.get() - 1);
    }
}

/// Received bytes, where the kernel wrote them. Dropping them gives the buffer back to the ring: hold few, and
/// not for long.
pub struct RecvBytes {
    pool: Rc<RecvPool>,
    id: u16,
    len: u32,
}

impl Deref for RecvBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = self
            .pool
            .data
            .at(usize::from(self.id) * self.pool.buffer_len as usize);
        // SAFETY: the kernel wrote `len` bytes there and leaves the buffer alone until it is given back.
        unsafe { slice::from_raw_parts(start, self.len as usize) }
    }
}

impl Drop for RecvBytes {
    fn drop(&mut self) {
        self.pool.give(self.id);
    }
}

/// The bytes may be card data: only their number is shown.
impl fmt::Debug for RecvBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvBytes({} bytes)", self.len)
    }
}

struct Blocks {
    region: Region,
    block_len: usize,
    free: RefCell<Vec<u32>>,
}

/// A fixed number of equal buffers that O_DIRECT takes. For one thread; recovery and tools may make their own.
#[derive(Clone)]
pub struct BlockPool(Rc<Blocks>);

impl BlockPool {
    /// Maps `count` buffers of `block_len` bytes, a multiple of `BLOCK_ALIGN`.
    ///
    /// # Errors
    /// `BadSetting` for a length that is none, `NoMemory` if the mapping is refused.
    pub fn new(count: u32, block_len: u32) -> Result<BlockPool, DriverError> {
        if block_len == 0 || !(block_len as usize).is_multiple_of(BLOCK_ALIGN) {
            let rule = "must be a multiple of 4096, and not zero";
            return Err(DriverError::BadSetting {
                name: "block_len",
                value: block_len.into(),
                rule,
            });
        }
        if count == 0 {
            return Err(DriverError::BadSetting {
                name: "block_buffers",
                value: 0,
                rule: "must be at least 1",
            });
        }
        let block_len = block_len as usize;
        let region = Region::map("block buffers", count as usize * block_len)?;
        // The last taken is the first to be used again: its memory is warm.
        let free = RefCell::new((0..count).rev().collect());
        Ok(BlockPool(Rc::new(Blocks {
            region,
            block_len,
            free,
        })))
    }

    /// An unused buffer, or `None` when all are out.
    pub fn take(&self) -> Option<BlockBuf> {
        let index = self.0.free.borrow_mut().pop()?;
        Some(BlockBuf {
            blocks: Rc::clone(&self.0),
            index,
        })
    }
}

/// A buffer of a `BlockPool`, aligned to `BLOCK_ALIGN`. What was in it before is still there. Returns to its pool
/// when dropped.
pub struct BlockBuf {
    blocks: Rc<Blocks>,
    index: u32,
}

impl BlockBuf {
    fn start(&self) -> *mut u8 {
        self.blocks
            .region
            .at(self.index as usize * self.blocks.block_len)
    }
}

impl Deref for BlockBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer is this value's alone, mapped and initialised (zero at first).
        unsafe { slice::from_raw_parts(self.start(), self.blocks.block_len) }
    }
}

impl DerefMut for BlockBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start(), self.blocks.block_len) }
    }
}

impl Drop for BlockBuf {
    fn drop(&mut self) {
        self.blocks.free.borrow_mut().push(self.index);
    }
}

impl fmt::Debug for BlockBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BlockBuf({} of {} bytes)",
            self.index, self.blocks.block_len
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows that blocks are aligned, apart from each other, limited in number, and come back when dropped.
    #[test]
    fn blocks_are_lent_and_come_back() {
        let pool = BlockPool::new(2, 8192).expect("small");
        let (mut a, mut b) = (pool.take().expect("first"), pool.take().expect("second"));
        assert!(pool.take().is_none());
        assert!(a.as_ptr().addr().is_multiple_of(BLOCK_ALIGN) && a.len() == 8192);
        a.fill(1);
        b.fill(2);
        assert!(a.iter().all(|&byte| byte == 1));
        drop(a);
        assert!(pool.take().is_some());
        let refusal = BlockPool::new(1, 5000)
            .err()
            .expect("not a multiple")
            .to_string();
        assert!(refusal.contains("block_len = 5000"), "{refusal}");
    }
}
