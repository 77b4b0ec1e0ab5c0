//! What waits to be sent: one vector being filled and one being sent a socket, taken from a common pool only while
//! they hold bytes, so that ten thousand idle sockets hold none.

use super::OutFull;

/// Sizes of pooled vectors, each four times the one before.
const CLASSES: [usize; 8] = [
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
    64 << 20,
];

/// Unused vectors by size, the last used first.
pub(super) struct OutPool {
    unused: [Vec<Vec<u8>>; CLASSES.len()],
    unused_bytes: usize,
    keep_bytes: usize,
}

impl OutPool {
    /// Makes `reserve_bytes` of vectors of each size up to `len_max`, and keeps at most `keep_bytes` unused.
    pub(super) fn new(reserve_bytes: usize, len_max: usize, keep_bytes: usize) -> OutPool {
        let unused = CLASSES.map(|size| Vec::with_capacity(keep_bytes / size));
        let mut pool = OutPool {
            unused,
            unused_bytes: 0,
            keep_bytes,
        };
        for size in CLASSES.into_iter().filter(|&size| size <= len_max) {
            for _ in 0..reserve_bytes / size {
                pool.give(Vec::with_capacity(size));
            }
        }
        pool
    }

    /// An empty vector with room for `len` bytes.
    fn take(&mut self, len: usize) -> Vec<u8> {
        let Some(class) = CLASSES.iter().position(|&size| size >= len) else {
            return Vec::with_capacity(len);
        };
        match self.unused[class].pop() {
            Some(vector) => {
                self.unused_bytes -= vector.capacity();
                vector
            }
            None => Vec::with_capacity(CLASSES[class]),
        }
    }

    fn give(&mut self, mut vector: Vec<u8>) {
        vector.clear();
        let bytes = vector.capacity();
        // A vector serves the largest size it has room for; the empty vector of an idle socket serves none.
        let Some(class) = CLASSES.iter().rposition(|&size| size <= bytes) else {
            return;
        };
        if self.unused_bytes + bytes <= self.keep_bytes {
            self.unused_bytes += bytes;
            self.unused[class].push(vector);
        }
    }
}

/// A socket's output. *Invariant:* `sending` does not move or change while the kernel has a send on it.
#[derive(Default)]
pub(super) struct Output {
    filling: Vec<u8>,
    sending: Vec<u8>,
    /// Bytes of `sending` that are gone.
    sent: usize,
}

impl Output {
    pub(super) fn len(&self) -> usize {
        self.filling.len() + self.sending.len() - self.sent
    }

    pub(super) fn waiting(&self) -> usize {
        self.filling.len()
    }

    /// Makes what was filled the next to be sent. Call only when nothing is being sent.
    pub(super) fn swap(&mut self) {
        assert!(
            self.sending.is_empty(),
            "{} bytes are being sent already",
            self.sending.len()
        );
        std::mem::swap(&mut self.filling, &mut self.sending);
    }

    /// What is being sent and not gone yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.sending[self.sent..]
    }

    /// Counts bytes the kernel took; says whether that was all that was being sent.
    pub(super) fn advance(&mut self, bytes: usize, pool: &mut OutPool) -> bool {
        self.sent += bytes;
        assert!(
            self.sent <= self.sending.len(),
            "{} bytes sent of {}",
            self.sent,
            self.sending.len()
        );
        if self.sent < self.sending.len() {
            return false;
        }
        self.sent = 0;
        pool.give(std::mem::take(&mut self.sending));
        true
    }

    /// Forgets what waits.
    pub(super) fn discard_waiting(&mut self, pool: &mut OutPool) {
        pool.give(std::mem::take(&mut self.filling));
    }

    /// Forgets everything; call only when nothing is being sent.
    pub(super) fn discard(&mut self, pool: &mut OutPool) {
        self.discard_waiting(pool);
        self.sent = 0;
        pool.give(std::mem::take(&mut self.sending));
    }
}

/// A socket's output, to be appended to. What is appended goes out, gathered, with the next turn that finds no send
/// in flight on the socket.
pub struct OutBuf<'a> {
    pub(super) output: &'a mut Output,
    pub(super) pool: &'a mut OutPool,
    pub(super) out_max: usize,
}

impl OutBuf<'_> {
    /// Appends bytes, all or none.
    ///
    /// # Errors
    /// `OutFull` if more than `out_max` bytes would wait or be in flight.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), OutFull> {
        self.reserve(bytes.len())?.extend_from_slice(bytes);
        Ok(())
    }

    /// The vector itself, with room for `len` more bytes, for an encoder that appends; it must not clear it.
    ///
    /// # Errors
    /// As `append`.
    pub fn reserve(&mut self, len: usize) -> Result<&mut Vec<u8>, OutFull> {
        if self.output.len() + len > self.out_max {
            return Err(OutFull);
        }
        let filling = &mut self.output.filling;
        if filling.capacity() - filling.len() < len {
            let mut larger = self.pool.take(filling.len() + len);
            larger.extend_from_slice(filling);
            self.pool.give(std::mem::replace(filling, larger));
        }
        Ok(filling)
    }

    /// Bytes waiting and in flight.
    pub fn len(&self) -> usize {
        self.output.len()
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows that output grows through the pool's sizes up to its limit, and that its memory comes back.
    #[test]
    fn output_grows_and_returns() {
        let (mut pool, mut output) = (OutPool::new(0, 0, 1 << 20), Output::default());
        let mut out = OutBuf {
            output: &mut output,
            pool: &mut pool,
            out_max: 20_000,
        };
        out.append(&[7; 3000]).expect("first size");
        out.append(&[8; 3000]).expect("second size");
        assert_eq!(out.append(&[9; 14_001]), Err(OutFull));
        assert_eq!(out.len(), 6000);
        output.swap();
        assert_eq!(output.rest().len(), 6000);
        assert!(!output.advance(2999, &mut pool));
        assert_eq!(
            (output.rest().len(), output.rest()[0], output.rest()[1]),
            (3001, 7, 8)
        );
        assert!(output.advance(3001, &mut pool));
        assert_eq!(
            pool.unused.iter().map(Vec::len).collect::<Vec<_>>(),
            [1, 1, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(pool.unused_bytes, (4 << 10) + (16 << 10));
    }

    /// Shows that the pool keeps no more than it was told.
    #[test]
    fn pool_keeps_its_bound() {
        let mut pool = OutPool::new(0, 0, 5 << 10);
        let (a, b) = (pool.take(100), pool.take(100));
        pool.give(a);
        pool.give(b);
        assert_eq!(pool.unused_bytes, 4 << 10);
    }
}
