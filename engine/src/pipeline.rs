//! The core and its journal as one sans-IO machine: events in, block writes and released frames out.
//!
//! Records go straight into the block under construction. Frames and orders wait in one queue, each with the number
//! of the last record appended before it, and leave in order as the durable prefix reaches that number. The shard
//! drives this machine with a real ring, the seeded simulation with simulated sockets and a simulated disk; the
//! rule that nothing moves before its record is durable lives here and nowhere else.

use std::collections::VecDeque;
use std::ops::DerefMut;

use crate::core::fact::{Fact, FactHead};
use crate::core::{CentreSend, Core, Event, Gate, LinkId, Notice, Now, Order, Output, SessionId};
use crate::journal::RecordNo;
use crate::journal::durable::Prefix;
use crate::journal::segment::NewSegment;
use crate::journal::writer::{Sealed, StartPoint, Ticket, Writer, WriterConfig, WriterError};
use codec::link::Head;
use codec::link::frame::HEAD_LEN;

/// Where released frames and orders go, in order.
pub trait Sink {
    /// A frame for a centre session.
    fn centre(&mut self, session: SessionId, frame: &[u8]);
    /// A whole frame for a link.
    fn link(&mut self, link: LinkId, frame: &[u8]);
    /// Something else to do.
    fn order(&mut self, order: Order);
}

/// When the block under construction is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WritePolicy {
    /// Writes in flight at most, 1 to 16.
    pub in_flight_max: usize,
    /// While a write is in flight, a block waits for it until it has this many bytes.
    pub beside_bytes: usize,
}

/// Bytes of a chunk of waiting frames.
const CHUNK_BYTES: usize = 256 * 1024;
/// Entries of a chunk.
const CHUNK_ENTRIES: usize = 4096;
/// Chunks kept for reuse.
const CHUNKS: usize = 16;
/// Notices that wait to be taken; more are counted, not kept.
const NOTICES: usize = 4096;
/// What one event may append at most in normal work: a report and what it starts, with room to spare.
const EVENT_BYTES: usize = 64 * 1024;

enum What {
    Centre(CentreSend),
    Link(LinkId),
    Order(Order),
}

struct Entry {
    after: RecordNo,
    what: What,
    end: usize,
}

struct Chunk {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Entries that have left.
    gone: usize,
}

impl Chunk {
    fn new() -> Chunk {
        Chunk {
            bytes: Vec::with_capacity(CHUNK_BYTES),
            entries: Vec::with_capacity(CHUNK_ENTRIES),
            gone: 0,
        }
    }

    fn has_room(&self, len: usize) -> bool {
        self.bytes.len() + len <= CHUNK_BYTES && self.entries.len() < CHUNK_ENTRIES
    }

    /// Where the bytes of an entry begin.
    fn start(&self, entry: usize) -> usize {
        entry
            .checked_sub(1)
            .map_or(0, |before| self.entries[before].end)
    }
}

/// What the core writes into.
struct Outbox<B> {
    writer: Writer<B>,
    waiting: VecDeque<Chunk>,
    now: Chunk,
    spare: Vec<Chunk>,
    notices: Vec<(u32, Notice)>,
    notices_lost: u64,
    /// Gives one more buffer when a single event needs more than all of them.
    more: Box<dyn FnMut() -> Option<B>>,
    fault: Option<WriterError>,
}

impl<B: DerefMut<Target = [u8]>> Outbox<B> {
    /// The chunk that takes the next gated entry of `len` bytes.
    fn chunk(&mut self, len: usize) -> &mut Chunk {
        if !self.waiting.back().is_some_and(|chunk| chunk.has_room(len)) {
            let chunk = self.spare.pop().unwrap_or_else(Chunk::new);
            self.waiting.push_back(chunk);
        }
        let last = self.waiting.len() - 1;
        &mut self.waiting[last]
    }

    /// Queues something with `len` bytes, which `write` appends.
    #[inline]
    fn push(&mut self, gate: Gate, what: What, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let after = self.writer.last_record();
        let chunk = match gate {
            Gate::Durable => self.chunk(len),
            Gate::Now => &mut self.now,
        };
        write(&mut chunk.bytes);
        chunk.entries.push(Entry {
            after,
            what,
            end: chunk.bytes.len(),
        });
    }
}

impl<B: DerefMut<Target = [u8]>> Output for Outbox<B> {
    fn record(&mut self, head: &FactHead, fact: &Fact<'_>) -> crate::core::RecordNo {
        let mut appended = self.writer.append(head, fact);
        while appended == Err(WriterError::NoBuffer)
            && let Some(buffer) = (self.more)()
        {
            self.writer.give_buffer(buffer);
            appended = self.writer.append(head, fact);
        }
        match appended {
            Ok(record) => record.0,
            Err(fault) => {
                // Nothing that follows may leave: the shard looks here before it releases anything.
                self.fault.get_or_insert(fault);
                u64::MAX
            }
        }
    }

    fn centre(&mut self, send: CentreSend, frame: &[u8]) {
        self.push(Gate::Durable, What::Centre(send), frame.len(), |bytes| {
            bytes.extend_from_slice(frame);
        });
    }

    fn link(&mut self, link: LinkId, gate: Gate, head: &Head, body: [&[u8]; 2]) {
        let body_len = body[0].len() + body[1].len();
        self.push(gate, What::Link(link), HEAD_LEN + body_len, |bytes| {
            for word in head.words(body_len) {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            body.iter().for_each(|part| bytes.extend_from_slice(part));
        });
    }

    fn order(&mut self, order: Order) {
        self.push(Gate::Durable, What::Order(order), 0, |_| {});
    }

    fn notice(&mut self, line: u32, notice: Notice) {
        if self.notices.len() < NOTICES {
            self.notices.push((line, notice));
        } else {
            self.notices_lost += 1;
        }
    }
}

/// The machine. `B` is a block buffer.
pub struct Pipeline<B> {
    core: Core,
    out: Outbox<B>,
    prefix: Prefix,
    policy: WritePolicy,
    /// The checkpoint that is not durable yet: its last record and its segment.
    checkpoint: Option<(RecordNo, u64)>,
}

impl<B: DerefMut<Target = [u8]>> Pipeline<B> {
    /// A machine around a core that holds what the journal said. `buffers` are its block buffers, `more` gives one
    /// beyond them in an emergency. [`Pipeline::switch`] and [`Pipeline::start`] come next, in this order.
    pub fn new(
        core: Core,
        writer: WriterConfig,
        start: StartPoint,
        policy: WritePolicy,
        buffers: impl Iterator<Item = B>,
        more: Box<dyn FnMut() -> Option<B>>,
    ) -> Pipeline<B> {
        let mut writer = Writer::new(writer, start);
        buffers.for_each(|buffer| writer.give_buffer(buffer));
        let out = Outbox {
            writer,
            waiting: VecDeque::with_capacity(CHUNKS * 4),
            now: Chunk::new(),
            spare: (0..CHUNKS).map(|_| Chunk::new()).collect(),
            notices: Vec::with_capacity(NOTICES),
            notices_lost: 0,
            more,
            fault: None,
        };
        Pipeline {
            core,
            out,
            prefix: Prefix::new(start.last_record),
            policy,
            checkpoint: None,
        }
    }

    /// Begins work: recovery's first decisions are the first facts after the checkpoint.
    pub fn start(&mut self) {
        self.core.start(&mut self.out);
    }

    /// One event for the core.
    pub fn step(&mut self, now: Now, event: Event<'_>) {
        self.core.step(now, event, &mut self.out);
    }

    /// The core, for questions.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Whether one more event may be taken. If not, writes have to complete, or a segment has to be switched to.
    pub fn has_room(&self) -> bool {
        self.out.writer.room() >= EVENT_BYTES && self.out.waiting.len() < CHUNKS * 4
    }

    /// Why no record can be appended any more: the shard stops without releasing anything.
    pub fn fault(&self) -> Option<WriterError> {
        self.out.fault
    }

    /// The next block to write, if one may leave now; it is to be issued at once.
    pub fn next_write(&mut self) -> Option<Sealed<B>> {
        let in_flight = self.prefix.in_flight();
        if in_flight >= self.policy.in_flight_max {
            return None;
        }
        if in_flight > 0 && self.out.writer.pending_bytes() < self.policy.beside_bytes {
            return None;
        }
        let sealed = self.out.writer.seal_next(self.prefix.synced())?;
        self.prefix.issued(sealed.ticket, sealed.last_record);
        Some(sealed)
    }

    /// A write has completed in full. A failed or short one is never told: the shard stops instead.
    pub fn written(&mut self, ticket: Ticket, buffer: B) {
        self.prefix.completed(ticket);
        self.out.writer.give_buffer(buffer);
    }

    /// Writes that are not durable yet.
    pub fn writes_in_flight(&self) -> usize {
        self.prefix.in_flight()
    }

    /// Whether everything that was appended is durable.
    pub fn is_durable(&self) -> bool {
        self.prefix.synced().record == self.out.writer.last_record()
    }

    /// The last durable record.
    pub fn durable(&self) -> RecordNo {
        self.prefix.synced().record
    }

    /// Frames and orders that wait for their record.
    pub fn waiting(&self) -> usize {
        let left = |chunk: &Chunk| chunk.entries.len() - chunk.gone;
        self.out.waiting.iter().map(left).sum()
    }

    /// Bytes that wait to be written.
    pub fn pending_bytes(&self) -> usize {
        self.out.writer.pending_bytes()
    }

    /// Whether the next segment should be at hand.
    pub fn wants_next_segment(&self) -> bool {
        self.out.writer.wants_next_segment()
    }

    /// Whether the next segment should be switched to now.
    pub fn needs_segment(&self) -> bool {
        self.out.writer.needs_segment()
    }

    /// Goes on in a new segment, which begins with the whole state.
    ///
    /// # Errors
    /// The state does not fit into a segment: the shard has to stop.
    pub fn switch(&mut self, segment: NewSegment) -> Result<(), WriterError> {
        let (number, core) = (segment.number, &self.core);
        let end = self
            .out
            .writer
            .switch(segment, |write| core.checkpoint(write))?;
        self.checkpoint = Some((end, number));
        Ok(())
    }

    /// The segment whose checkpoint has just become durable; given once.
    pub fn checkpoint_durable(&mut self) -> Option<u64> {
        let (end, segment) = self.checkpoint?;
        (end <= self.prefix.synced().record).then(|| {
            self.checkpoint = None;
            segment
        })
    }

    /// Lets go what the durable prefix has reached. True if anything was released.
    pub fn release(&mut self, now: Now, sink: &mut impl Sink) -> bool {
        if self.out.fault.is_some() {
            return false;
        }
        let durable = self.prefix.synced().record;
        let mut any = !self.out.now.entries.is_empty();
        let mut start = 0;
        for entry in self.out.now.entries.drain(..) {
            if let What::Link(link) = entry.what {
                sink.link(link, &self.out.now.bytes[start..entry.end]);
            }
            start = entry.end;
        }
        self.out.now.bytes.clear();
        while let Some(chunk) = self.out.waiting.front_mut() {
            while let Some(entry) = chunk
                .entries
                .get(chunk.gone)
                .filter(|entry| entry.after <= durable)
            {
                any = true;
                let bytes = &chunk.bytes[chunk.start(chunk.gone)..entry.end];
                match entry.what {
                    What::Link(link) => sink.link(link, bytes),
                    What::Centre(ref send) => {
                        if let Some(session) = self.core.release(now, send) {
                            sink.centre(session, bytes);
                        }
                    }
                    What::Order(order) => sink.order(order),
                }
                chunk.gone += 1;
            }
            if chunk.gone < chunk.entries.len() {
                break;
            }
            let Some(mut chunk) = self.out.waiting.pop_front() else {
                break;
            };
            (chunk.gone, _) = (0, chunk.entries.clear());
            chunk.bytes.clear();
            if self.out.spare.len() < CHUNKS {
                self.out.spare.push(chunk);
            }
        }
        any
    }

    /// Gives the notices since the last call, and how many more there were than could be kept.
    pub fn notices(&mut self, mut take: impl FnMut(u32, Notice)) -> u64 {
        self.out
            .notices
            .drain(..)
            .for_each(|(line, notice)| take(line, notice));
        std::mem::take(&mut self.out.notices_lost)
    }

    /// Until when nothing happens by itself, monotonic nanoseconds.
    pub fn next_timer_ns(&self) -> Option<u64> {
        self.core.next_timer_ns()
    }
}
