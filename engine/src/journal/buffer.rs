//! Memory that O_DIRECT and rkyv take: aligned to [`BLOCK_ALIGN`], zeroed, of fixed length.
//!
//! The shard's own block buffers come from the driver's pool; these are for checkpoints, recovery, tools and tests.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::layout::BLOCK_ALIGN;

/// A fixed piece of aligned memory.
pub struct AlignedBuf {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// `len` zero bytes.
    #[must_use]
    pub fn new(len: usize) -> AlignedBuf {
        let memory = vec![0; len + BLOCK_ALIGN];
        let start = memory.as_ptr().align_offset(BLOCK_ALIGN);
        assert!(start < BLOCK_ALIGN, "memory that cannot be aligned");
        AlignedBuf { memory, start, len }
    }

    /// A copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> AlignedBuf {
        let mut buffer = AlignedBuf::new(bytes.len());
        buffer.copy_from_slice(bytes);
        buffer
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl Clone for AlignedBuf {
    fn clone(&self) -> AlignedBuf {
        AlignedBuf::copy_of(self)
    }
}

/// The bytes may be card data: only their number is shown.
impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}
