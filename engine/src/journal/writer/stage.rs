//! A checkpoint on its way into the journal.
//!
//! It may be longer than all free buffers, and the shard cannot wait for them in the middle of its state. So it is
//! laid into memory of its own, which the writer keeps from one switch to the next, and copied into block buffers as
//! they come back. Only a checkpoint that is longer than any before allocates.

use std::ops::DerefMut;

use super::{Waiting, Writer, WriterError};
use crate::core::fact::{Fact, FactHead};
use crate::journal::RecordNo;
use crate::journal::block::Draft;
use crate::journal::buffer::AlignedBuf;
use crate::journal::layout::block_padded;

/// A checkpoint being laid into the writer's own memory.
pub(super) struct Stage<'a, B> {
    writer: &'a mut Writer<B>,
    open: Option<Draft<AlignedBuf>>,
    facts: u64,
    /// What the last fact said of their number, if it was the end.
    ended: Option<u64>,
    error: Option<WriterError>,
}

impl<'a, B: DerefMut<Target = [u8]>> Stage<'a, B> {
    pub(super) fn new(writer: &'a mut Writer<B>) -> Stage<'a, B> {
        Stage {
            writer,
            open: None,
            facts: 0,
            ended: None,
            error: None,
        }
    }

    pub(super) fn add(&mut self, head: &FactHead, fact: &Fact<'_>) {
        assert!(
            (self.facts == 0) == matches!(fact, Fact::CheckpointBegin(_)) && self.ended.is_none(),
            "fact {} of a checkpoint is of type {}",
            self.facts + 1,
            fact.kind()
        );
        self.facts += 1;
        if let Fact::CheckpointEnd(end) = fact {
            self.ended = Some(end.facts);
        }
        if self.error.is_none()
            && let Err(error) = self.lay(head, fact)
        {
            self.error = Some(error);
        }
    }

    fn lay(&mut self, head: &FactHead, fact: &Fact<'_>) -> Result<(), WriterError> {
        if self.open.is_none() {
            self.begin()?;
        }
        for fresh in [false, true] {
            if fresh {
                self.close();
                self.begin()?;
            }
            let open = self.open.as_mut().expect("a block is open");
            if open.push(head, fact).is_ok() {
                self.writer.last = self.writer.last.next();
                return Ok(());
            }
        }
        Err(self.too_long())
    }

    fn begin(&mut self) -> Result<(), WriterError> {
        let offset = self.writer.filling.map_or(0, |filling| filling.offset);
        let left = (self.writer.config.segment_bytes - offset) as usize;
        if left == 0 {
            return Err(self.too_long());
        }
        let block_max = self.writer.config.block_max;
        let memory = self.writer.staging.pop();
        let memory = memory.unwrap_or_else(|| AlignedBuf::new(block_max));
        self.open = Some(Draft::new(
            memory,
            left.min(block_max),
            self.writer.last.next(),
        ));
        Ok(())
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.count == 0 {
            self.writer.staging.push(open.memory);
            return;
        }
        if let Some(filling) = &mut self.writer.filling {
            filling.offset += block_padded(open.len) as u64;
        }
        self.writer.waiting_bytes += open.len;
        self.writer.unbuffered += 1;
        self.writer.waiting.push_back(Waiting::Staged(open));
    }

    fn too_long(&self) -> WriterError {
        WriterError::CheckpointTooLong {
            segment_bytes: self.writer.config.segment_bytes,
        }
    }

    pub(super) fn finish(mut self) -> Result<RecordNo, WriterError> {
        self.close();
        if let Some(error) = self.error {
            return Err(error);
        }
        assert!(
            self.ended == Some(self.facts),
            "a checkpoint of {} facts ends with {:?}",
            self.facts,
            self.ended
        );
        Ok(self.writer.last)
    }
}
