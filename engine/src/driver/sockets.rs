//! The table of sockets: their slots, what the kernel holds of each, and how each ends.
//!
//! A slot is free, open, or one of three steps of closing. It counts its operations; it becomes free again, with
//! the next generation, when the last one has completed, so no completion ever meets the wrong socket and no
//! buffer is given away under a send.

// Entries for the ring carry addresses of output vectors.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::types::Fixed;
use socket2::SockRef;

use super::buffers::RecvPool;
use super::output::{OutBuf, OutPool, Output};
use super::ring::{Done, Key, Op, Ring};
use super::{CloseReason, Completion, DriverConfig, Errno, SocketId};

/// The provided-buffer group of the receive ring.
pub(super) const RECEIVE_GROUP: u16 = 0;
/// Bytes of one send. The kernel goes on with a send in pieces as the peer reads, but after 128 of them hands it to a
/// worker thread, which a slow peer then holds: so many are never needed for this length. A peer that has ended its
/// own side and does not read does cost a worker, since io_uring's poll takes the half-close for readiness; the ring
/// bounds the workers, and `close_linger` their time.
const SEND_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No socket.
    Free,
    /// The caller's.
    Open,
    /// Closing: what waits is being sent; what comes is discarded.
    Flushing,
    /// Closing: FIN is sent, waiting for the peer's.
    Draining,
    /// Closing: waiting for the kernel to let go of the last operation.
    Releasing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receive {
    /// A multishot receive is in flight.
    Armed,
    /// It ended for want of buffers and waits for some.
    Starved,
    /// The peer ended it, or it failed.
    Over,
}

struct Slot {
    generation: u32,
    phase: Phase,
    receive: Receive,
    /// A send is in flight.
    sending: bool,
    /// A send failed: nothing more is sent.
    broken: bool,
    /// The slot stands in the list of those with output to start.
    dirty: bool,
    /// Operations the kernel holds.
    operations: u8,
    fd: Option<OwnedFd>,
    output: Output,
}

/// All sockets of a driver.
pub(super) struct Sockets {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots that may have output to start, each once.
    dirty: Vec<u32>,
    /// Receives to arm again when buffers are back, first come first served.
    starved: VecDeque<SocketId>,
    /// Sockets that are closing, in the order of their deadlines.
    closing: VecDeque<(SocketId, Instant)>,
    pool: OutPool,
    received: Rc<RecvPool>,
    out_max: usize,
    linger: Duration,
    /// Times a receive found no buffer.
    pub(super) starvations: u64,
}

impl Sockets {
    pub(super) fn new(config: &DriverConfig, received: Rc<RecvPool>) -> Sockets {
        let count = config.sockets_max as usize;
        let slot = |_| Slot {
            generation: 0,
            phase: Phase::Free,
            receive: Receive::Over,
            sending: false,
            broken: false,
            dirty: false,
            operations: 0,
            fd: None,
            output: Output::default(),
        };
        Sockets {
            slots: (0..count).map(slot).collect(),
            free: (0..config.sockets_max).rev().collect(),
            dirty: Vec::with_capacity(count),
            starved: VecDeque::with_capacity(count),
            closing: VecDeque::with_capacity(count),
            pool: OutPool::new(config.out_reserve, config.out_max, config.out_keep),
            received,
            out_max: config.out_max,
            linger: config.close_linger,
            starvations: 0,
        }
    }

    /// Slots that hold a socket.
    pub(super) fn used(&self) -> u32 {
        (self.slots.len() - self.free.len()) as u32
    }

    /// Takes a connected socket and begins to receive. `None` if every slot is used; the socket is closed then.
    pub(super) fn insert(
        &mut self,
        fd: OwnedFd,
        ring: &mut Ring,
    ) -> Result<Option<SocketId>, Errno> {
        let Some(&index) = self.free.last() else {
            return Ok(None);
        };
        ring.set_file(index, fd.as_raw_fd())?;
        self.free.pop();
        let slot = &mut self.slots[index as usize];
        assert!(
            slot.phase == Phase::Free && slot.operations == 0,
            "slot {index} was free and is used"
        );
        slot.phase = Phase::Open;
        slot.broken = false;
        slot.fd = Some(fd);
        let id = SocketId {
            index,
            generation: slot.generation,
        };
        self.arm(index, ring);
        Ok(Some(id))
    }

    /// The output of an open socket.
    pub(super) fn out(&mut self, id: SocketId) -> Option<OutBuf<'_>> {
        self.open_slot(id)?;
        self.mark_dirty(id.index);
        let slot = &mut self.slots[id.index as usize];
        Some(OutBuf {
            output: &mut slot.output,
            pool: &mut self.pool,
            out_max: self.out_max,
        })
    }

    /// Begins to close in order.
    pub(super) fn close_after_flush(&mut self, id: SocketId, ring: &mut Ring) {
        let Some(slot) = self.open_slot(id) else {
            return;
        };
        slot.phase = Phase::Flushing;
        self.closing.push_back((id, Instant::now() + self.linger));
        self.advance_flush(id.index, ring);
    }

    /// Resets the connection.
    pub(super) fn abort(&mut self, id: SocketId, ring: &mut Ring) {
        if self.open_slot(id).is_some() {
            self.reset(id.index, ring);
        }
    }

    /// Before a turn: closings past their time, receives that starved, sends to start.
    pub(super) fn prepare(&mut self, ring: &mut Ring) {
        if !self.closing.is_empty() {
            self.expire(ring);
        }
        if !self.starved.is_empty() {
            self.feed(ring);
        }
        // Starting a send marks no slot, so the list can be walked and then cleared.
        let dirty = std::mem::take(&mut self.dirty);
        for &index in &dirty {
            self.slots[index as usize].dirty = false;
            self.start_send(index, ring);
        }
        self.dirty = dirty;
        self.dirty.clear();
    }

    /// The time after which a turn must run for the sake of a closing socket.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.closing.front().map(|&(_, deadline)| deadline)
    }

    /// A multishot receive completed once.
    pub(super) fn on_receive(&mut self, done: Done, ring: &mut Ring) -> Option<Completion> {
        let index = done.key.index();
        let bytes = done
            .buffer
            .map(|id| self.received.take(id, done.result.max(0) as usize));
        let slot = self.slot_of(done.key);
        if !done.more {
            slot.operations -= 1;
            slot.receive = Receive::Over;
        }
        let (phase, more) = (slot.phase, done.more);
        let socket = SocketId {
            index,
            generation: slot.generation,
        };
        if phase == Phase::Releasing {
            self.release_if_done(index, ring);
            return None;
        }
        match (done.result, bytes) {
            (1.., Some(bytes)) => {
                if !more {
                    self.arm(index, ring);
                }
                (phase == Phase::Open).then_some(Completion::Received { socket, bytes })
            }
            (1.., None) => panic!("received {} bytes into no buffer", done.result),
            (0, _) => self.on_receive_over(socket, CloseReason::Eof, ring),
            (error, _) if error == -libc::ENOBUFS => {
                assert!(!more, "a receive without buffers goes on");
                self.starvations += 1;
                self.slots[index as usize].receive = Receive::Starved;
                self.starved.push_back(socket);
                None
            }
            (error, _) if error == -libc::EINTR && !more => {
                self.arm(index, ring);
                None
            }
            (error, _) => self.on_receive_over(socket, CloseReason::Error(Errno(-error)), ring),
        }
    }

    /// A send completed.
    pub(super) fn on_send(&mut self, done: Done, ring: &mut Ring) -> Option<Completion> {
        let index = done.key.index();
        let slot = self.slot_of(done.key);
        slot.operations -= 1;
        slot.sending = false;
        let socket = SocketId {
            index,
            generation: slot.generation,
        };
        if slot.phase == Phase::Releasing {
            self.release_if_done(index, ring);
            return None;
        }
        if done.result <= 0 {
            // Zero bytes of a send that asked for some means the same as an error: the connection takes no more.
            return self.on_send_failed(
                socket,
                Errno(if done.result == 0 {
                    libc::EPIPE
                } else {
                    -done.result
                }),
                ring,
            );
        }
        let slot = &mut self.slots[index as usize];
        if !slot.output.advance(done.result as usize, &mut self.pool) {
            self.push_send(index, ring);
            return None;
        }
        let (phase, pending) = (slot.phase, slot.output.waiting());
        if pending > 0 {
            self.mark_dirty(index);
        }
        if phase == Phase::Open {
            return Some(Completion::Sent { socket, pending });
        }
        self.advance_flush(index, ring);
        None
    }

    /// A cancel completed; its outcome shows in the operation itself.
    pub(super) fn on_cancel(&mut self, done: Done, ring: &mut Ring) {
        self.slot_of(done.key).operations -= 1;
        self.release_if_done(done.key.index(), ring);
    }

    /// Forgets every slot without freeing what the kernel may still write to or read.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.slots));
        std::mem::forget(Rc::clone(&self.received));
    }

    fn open_slot(&mut self, id: SocketId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.index as usize)?;
        (slot.phase == Phase::Open && slot.generation == id.generation).then_some(slot)
    }

    fn slot_of(&mut self, key: Key) -> &mut Slot {
        let slot = &mut self.slots[key.index() as usize];
        assert!(
            key.is_of(slot.generation) && slot.operations > 0,
            "{:?} completed on slot {} of generation {} with {} operations",
            key.op(),
            key.index(),
            slot.generation,
            slot.operations
        );
        slot
    }

    fn mark_dirty(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(index);
        }
    }

    fn arm(&mut self, index: u32, ring: &mut Ring) {
        let slot = &mut self.slots[index as usize];
        slot.receive = Receive::Armed;
        slot.operations += 1;
        let key = Key::new(Op::Receive, index, slot.generation);
        let entry = opcode::RecvMulti::new(Fixed(index), RECEIVE_GROUP)
            .build()
            .user_data(key.bits());
        // SAFETY: the receive carries no address; its buffers are the registered ring's, which outlives the driver's ring.
        unsafe { ring.push(&entry) }
    }

    /// Arms starved receives again, no more of them than there are buffers.
    fn feed(&mut self, ring: &mut Ring) {
        for _ in 0..self.received.available() {
            let Some(id) = self.starved.pop_front() else {
                return;
            };
            let slot = &self.slots[id.index as usize];
            if slot.generation == id.generation
                && slot.receive == Receive::Starved
                && slot.phase != Phase::Releasing
            {
                self.arm(id.index, ring);
            }
        }
    }

    fn start_send(&mut self, index: u32, ring: &mut Ring) {
        let slot = &mut self.slots[index as usize];
        if slot.sending
            || !matches!(slot.phase, Phase::Open | Phase::Flushing)
            || slot.output.waiting() == 0
        {
            return;
        }
        if slot.broken {
            slot.output.discard_waiting(&mut self.pool);
            return;
        }
        slot.output.swap();
        self.push_send(index, ring);
    }

    /// Sends what is left of the gathered output.
    fn push_send(&mut self, index: u32, ring: &mut Ring) {
        let slot = &mut self.slots[index as usize];
        slot.sending = true;
        slot.operations += 1;
        let rest = slot.output.rest();
        let rest = &rest[..rest.len().min(SEND_MAX)];
        let key = Key::new(Op::Send, index, slot.generation);
        let entry = opcode::Send::new(Fixed(index), rest.as_ptr(), rest.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(key.bits());
        // SAFETY: `sending` is neither moved, changed nor freed while `slot.sending`: `Output` swaps and discards it only
        // when told so by this module, which does it after the completion alone; `leak` covers an early end.
        unsafe { ring.push(&entry) }
    }

    fn on_receive_over(
        &mut self,
        socket: SocketId,
        reason: CloseReason,
        ring: &mut Ring,
    ) -> Option<Completion> {
        match self.slots[socket.index as usize].phase {
            Phase::Open => return Some(Completion::Closed { socket, reason }),
            Phase::Draining => self.release(socket.index, ring),
            Phase::Flushing if reason != CloseReason::Eof => self.release(socket.index, ring),
            // A peer that only ended its side still gets what waits.
            Phase::Flushing | Phase::Releasing | Phase::Free => {}
        }
        None
    }

    fn on_send_failed(
        &mut self,
        socket: SocketId,
        errno: Errno,
        ring: &mut Ring,
    ) -> Option<Completion> {
        let slot = &mut self.slots[socket.index as usize];
        slot.broken = true;
        slot.output.discard(&mut self.pool);
        if slot.phase == Phase::Open {
            return Some(Completion::SendFailed { socket, errno });
        }
        self.release(socket.index, ring);
        None
    }

    /// Flushing: goes on to FIN when everything was sent, and to the end if the peer has ended already.
    fn advance_flush(&mut self, index: u32, ring: &mut Ring) {
        let slot = &mut self.slots[index as usize];
        if slot.phase != Phase::Flushing || (slot.output.len() > 0 && !slot.broken) {
            return;
        }
        let fd = slot.fd.as_ref().expect("a used slot has its socket");
        // FIN now: closing alone would wait for whatever in the kernel still refers to the socket.
        let ended = SockRef::from(fd).shutdown(std::net::Shutdown::Write);
        if ended.is_err() || slot.receive == Receive::Over || slot.broken {
            return self.release(index, ring);
        }
        slot.phase = Phase::Draining;
    }

    /// Resets closings that took too long.
    fn expire(&mut self, ring: &mut Ring) {
        let now = Instant::now();
        while let Some(&(id, deadline)) = self.closing.front() {
            let slot = &self.slots[id.index as usize];
            let closing = slot.generation == id.generation
                && matches!(slot.phase, Phase::Flushing | Phase::Draining);
            if closing && deadline > now {
                return;
            }
            self.closing.pop_front();
            if closing {
                self.reset(id.index, ring);
            }
        }
    }

    /// Ends the socket with RST: what is unsent is of no use to a peer that is cut off in the middle of it.
    fn reset(&mut self, index: u32, ring: &mut Ring) {
        let slot = &mut self.slots[index as usize];
        let fd = slot.fd.as_ref().expect("a used slot has its socket");
        // Fails for a Unix socket or one that is gone already: then there is nothing to reset.
        let _ = SockRef::from(&fd.as_fd()).set_linger(Some(Duration::ZERO));
        self.release(index, ring);
    }

    /// Takes the slot's operations back; the slot is free when the last has completed.
    fn release(&mut self, index: u32, ring: &mut Ring) {
        let slot = &mut self.slots[index as usize];
        assert!(
            !matches!(slot.phase, Phase::Free | Phase::Releasing),
            "slot {index} is released twice"
        );
        slot.phase = Phase::Releasing;
        slot.output.discard_waiting(&mut self.pool);
        let generation = slot.generation;
        let in_flight = [
            (Op::Receive, slot.receive == Receive::Armed),
            (Op::Send, slot.sending),
        ];
        for (op, _) in in_flight.into_iter().filter(|&(_, in_flight)| in_flight) {
            self.slots[index as usize].operations += 1;
            ring.cancel(
                Key::new(op, index, generation),
                Key::new(Op::CancelSocket, index, generation),
            );
        }
        self.release_if_done(index, ring);
    }

    fn release_if_done(&mut self, index: u32, ring: &mut Ring) {
        let slot = &mut self.slots[index as usize];
        if slot.phase != Phase::Releasing || slot.operations > 0 {
            return;
        }
        slot.output.discard(&mut self.pool);
        let cleared = ring.set_file(index, -1);
        assert!(cleared.is_ok(), "clearing file {index}: {cleared:?}");
        slot.fd = None;
        slot.receive = Receive::Over;
        slot.phase = Phase::Free;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
    }
}
