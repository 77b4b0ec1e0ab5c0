//! The ring itself: set-up, one `enter` a turn, and the keys that tell completions apart.
//!
//! With DEFER_TASKRUN completions appear only inside an enter with GETEVENTS, so every turn asks for it, and one
//! waits by EXT_ARG. What is in flight is counted here: the driver leaves nothing behind when it is dropped.

// The ring is the kernel's interface: entries carry addresses. Each caller states why its memory outlives the operation.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, squeue};

use super::buffers::RecvPool;
use super::{DriverConfig, DriverError, Errno};

const ENTER_GETEVENTS: u32 = EnterFlags::GETEVENTS.bits();
const ENTER_EXT_ARG: u32 = EnterFlags::EXT_ARG.bits();
/// `io_uring_register` opcodes for the thread's registered rings.
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;
/// Tries to submit when the kernel is short of memory, before the ring is given up.
const SUBMIT_TRIES_MAX: u32 = 100;

/// Kernel worker threads for what may block without a bound; those for disk writes keep the kernel's own limit.
const WORKERS_MAX: u32 = 4;

/// What an operation is, from the top byte of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    Accept = 1,
    Receive,
    Send,
    CancelAccept,
    CancelSocket,
    Write,
    Wake,
}

const OPS: [Op; 7] = [
    Op::Accept,
    Op::Receive,
    Op::Send,
    Op::CancelAccept,
    Op::CancelSocket,
    Op::Write,
    Op::Wake,
];

/// The user data of an operation: what it is, the low 24 bits of its slot's generation, its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(op: Op, index: u32, generation: u32) -> Key {
        Key((op as u64) << 56 | u64::from(generation & 0xff_ffff) << 32 | u64::from(index))
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn op(self) -> Op {
        let op = (self.0 >> 56) as usize;
        assert!(
            (1..=OPS.len()).contains(&op),
            "completion with an unknown key {:#x}",
            self.0
        );
        OPS[op - 1]
    }

    pub(super) fn index(self) -> u32 {
        self.0 as u32
    }

    /// Whether the key was made for this generation of its slot.
    pub(super) fn is_of(self, generation: u32) -> bool {
        (self.0 >> 32) as u32 & 0xff_ffff == generation & 0xff_ffff
    }
}

/// A completion, copied out of the ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) key: Key,
    pub(super) result: i32,
    /// The operation goes on.
    pub(super) more: bool,
    /// The receive buffer it filled.
    pub(super) buffer: Option<u16>,
}

/// The ring with its count of operations in flight.
pub(super) struct Ring {
    uring: IoUring,
    /// The ring's number among the thread's registered rings, which `enter` uses without a look-up.
    registered: u32,
    in_flight: u32,
    /// Entries pushed since the last turn ended.
    pushed: u32,
    failed: Option<Errno>,
    /// The registered receive buffers; dropped after `uring`, since fields are dropped in order.
    received: Option<Rc<RecvPool>>,
}

impl Ring {
    /// Sets the ring up for the calling thread.
    pub(super) fn new(config: &DriverConfig) -> Result<Ring, DriverError> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(config.completion_entries)
            .setup_submit_all()
            .dontfork()
            .build(config.submission_entries)
            .map_err(|error| refusal(Errno::of(&error), &disabled_sysctl()))?;
        let step = |step| {
            move |error: std::io::Error| DriverError::SetUp {
                step,
                errno: Errno::of(&error),
            }
        };
        if !uring.params().is_feature_ext_arg() || !uring.params().is_feature_nodrop() {
            return Err(DriverError::SetUp {
                step: "features EXT_ARG and NODROP",
                errno: Errno(libc::EINVAL),
            });
        }
        // Only a send to a half-closed peer that does not read comes to need one (see `SEND_MAX`).
        let mut workers = [0, WORKERS_MAX];
        uring
            .submitter()
            .register_iowq_max_workers(&mut workers)
            .map_err(step("limiting worker threads"))?;
        let files = config.sockets_max + config.files_max;
        uring
            .submitter()
            .register_files_sparse(files)
            .map_err(step("registering the file table"))?;
        // Last, so that nothing after it can fail and leave it registered.
        let registered =
            register_ring(uring.as_raw_fd(), REGISTER_RING_FDS, u32::MAX).map_err(|errno| {
                DriverError::SetUp {
                    step: "registering the ring",
                    errno,
                }
            })?;
        Ok(Ring {
            uring,
            registered,
            in_flight: 0,
            pushed: 0,
            failed: None,
            received: None,
        })
    }

    /// Registers the ring of receive buffers. The ring keeps the pool from then on.
    pub(super) fn register_buffers(
        &mut self,
        pool: &Rc<RecvPool>,
        entries: u16,
        group: u16,
    ) -> Result<(), DriverError> {
        // SAFETY: the address is a page-aligned mapping of that many entries, kept by `received` until the ring is gone.
        unsafe {
            self.uring
                .submitter()
                .register_buf_ring_with_flags(pool.address(), entries, group, 0)
        }
        .map_err(|error| DriverError::SetUp {
            step: "registering the receive buffers",
            errno: Errno::of(&error),
        })?;
        self.received = Some(Rc::clone(pool));
        Ok(())
    }

    /// Puts a descriptor into the fixed file table; -1 clears the place.
    pub(super) fn set_file(&self, index: u32, fd: RawFd) -> Result<(), Errno> {
        match self.uring.submitter().register_files_update(index, &[fd]) {
            Ok(_) => Ok(()),
            Err(error) => Err(Errno::of(&error)),
        }
    }

    /// Queues an operation for the next turn, or submits the queue now when it is full.
    ///
    /// # Safety
    /// Every address in `entry` must stay valid, and be left alone, until its last completion was taken from `pop`.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        if self.uring.submission().is_full() {
            self.make_room();
            if self.failed.is_some() {
                return;
            }
        }
        // SAFETY: the caller vouches for the addresses; there is room.
        let pushed = unsafe { self.uring.submission().push(entry) };
        assert!(
            pushed.is_ok(),
            "no room in the submission queue after it was submitted"
        );
        self.in_flight += 1;
        self.pushed += 1;
    }

    /// Asks to cancel the operation with this key. Both complete.
    pub(super) fn cancel(&mut self, key: Key, as_key: Key) {
        let entry = io_uring::opcode::AsyncCancel::new(key.bits())
            .build()
            .user_data(as_key.bits());
        // SAFETY: a cancel carries no address.
        unsafe { self.push(&entry) }
    }

    /// Submits, runs the kernel's deferred work and waits at most `wait` for `want` completions. Gives (submitted, completions
    /// ready).
    pub(super) fn enter(&mut self, want: u32, wait: Duration) -> Result<(u32, u32), DriverError> {
        let submitted = std::mem::take(&mut self.pushed);
        if let Some(errno) = self.failed {
            return Err(DriverError::Enter { errno });
        }
        let waiting = !self.uring.completion().is_empty();
        let to_submit = self.uring.submission().len() as u32;
        let result = if waiting || wait.is_zero() {
            self.enter_raw(to_submit, 0, ENTER_GETEVENTS, None)
        } else {
            let limit = Timespec::new()
                .sec(wait.as_secs())
                .nsec(wait.subsec_nanos());
            let args = SubmitArgs::new().timespec(&limit);
            self.enter_raw(
                to_submit,
                want,
                ENTER_GETEVENTS | ENTER_EXT_ARG,
                Some(&args),
            )
        };
        match result {
            Ok(()) => {}
            // Nothing completed in time, a signal came, or the kernel is short of room: the next turn goes on.
            Err(Errno(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            Err(errno) => return Err(DriverError::Enter { errno }),
        }
        Ok((submitted, self.uring.completion().len() as u32))
    }

    /// The next completion, if the last turn left one.
    pub(super) fn pop(&mut self) -> Option<Done> {
        let entry = self.uring.completion().next()?;
        let more = cqueue::more(entry.flags());
        if !more {
            self.in_flight -= 1;
        }
        let (key, buffer) = (Key(entry.user_data()), cqueue::buffer_select(entry.flags()));
        Some(Done {
            key,
            result: entry.result(),
            more,
            buffer,
        })
    }

    /// Operations whose last completion was not popped yet.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Cancels whatever can be cancelled; completions come with the next turns.
    pub(super) fn cancel_everything(&self) {
        let all = io_uring::types::CancelBuilder::any();
        // A failure means that nothing was there to cancel, or that it cannot be: the caller counts what is left.
        let _ = self
            .uring
            .submitter()
            .register_sync_cancel(Some(Timespec::new()), all);
    }

    fn make_room(&mut self) {
        for attempt in 0..SUBMIT_TRIES_MAX {
            let to_submit = self.uring.submission().len() as u32;
            // The first try only submits; if memory is short, the kernel's deferred work may free some.
            let flags = if attempt == 0 { 0 } else { ENTER_GETEVENTS };
            match self.enter_raw(to_submit, 0, flags, None) {
                Ok(()) if !self.uring.submission().is_full() => return,
                Ok(()) | Err(Errno(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
                Err(errno) => {
                    self.failed = Some(errno);
                    return;
                }
            }
        }
        self.failed = Some(Errno(libc::EAGAIN));
    }

    fn enter_raw(
        &self,
        to_submit: u32,
        want: u32,
        flags: u32,
        args: Option<&SubmitArgs<'_, '_>>,
    ) -> Result<(), Errno> {
        let args = args.map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: with EXT_ARG `args` points to what the kernel expects, alive during the call; without it is null.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.registered,
                to_submit,
                want,
                flags | EnterFlags::REGISTERED_RING.bits(),
                args,
                size_of::<SubmitArgs<'_, '_>>(),
            )
        };
        if result < 0 {
            Err(last_errno())
        } else {
            Ok(())
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The registration keeps the ring, and the files keep their sockets, as long as the thread lives; and the kernel
        // takes a ring apart in its own time. A failure leaves them to that: there is nothing else to try.
        let _ = self.uring.submitter().unregister_files();
        let _ = register_ring(self.uring.as_raw_fd(), UNREGISTER_RING_FDS, self.registered);
    }
}

/// Adds the ring to the thread's registered rings, or takes it off; gives its number. (The crate's own call remembers
/// the number in a value that borrows the ring, so that it can be kept nowhere.)
fn register_ring(fd: RawFd, opcode: u32, number: u32) -> Result<u32, Errno> {
    /// The kernel's `io_uring_rsrc_update`.
    #[repr(C)]
    struct Update {
        offset: u32,
        reserved: u32,
        data: u64,
    }
    let adding = opcode == REGISTER_RING_FDS;
    let mut update = Update {
        offset: number,
        reserved: 0,
        data: if adding { fd as u64 } else { 0 },
    };
    // SAFETY: the kernel reads and writes one `Update`.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_register, fd, opcode, &raw mut update, 1) };
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(update.offset)
    }
}

fn last_errno() -> Errno {
    Errno::of(&std::io::Error::last_os_error())
}

/// The setting that switches io_uring off, as text; empty where the kernel has none.
fn disabled_sysctl() -> String {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default()
}

/// Says why io_uring_setup was refused, and the way out.
fn refusal(errno: Errno, disabled: &str) -> DriverError {
    let way_out = match (errno.0, disabled.trim()) {
        (libc::EPERM, "1") => {
            "set sysctl kernel.io_uring_disabled=0, or run as a member of the group in kernel.io_uring_group"
        }
        (libc::EPERM, "2") => "set sysctl kernel.io_uring_disabled=0",
        (libc::EPERM, _) => {
            "a container's seccomp profile forbids it; allow io_uring_setup, io_uring_enter and io_uring_register"
        }
        (libc::ENOSYS, _) => {
            "the kernel was built without it, or a container's seccomp profile hides it; allow io_uring_setup, io_uring_enter and io_uring_register, or use Linux 6.1 or newer"
        }
        (libc::ENOMEM, _) => {
            "too little memory may be locked; raise RLIMIT_MEMLOCK (LimitMEMLOCK=) or free memory"
        }
        (libc::EMFILE | libc::ENFILE, _) => "no descriptor is left; raise the limit (LimitNOFILE=)",
        _ => {
            return DriverError::SetUp {
                step: "io_uring_setup",
                errno,
            };
        }
    };
    DriverError::NoIoUring { errno, way_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows that a key gives back what it was made of, and that an older generation is told apart.
    #[test]
    fn keys_round_trip() {
        for op in OPS {
            let key = Key::new(op, 0xffff_fff0, 0x0123_4567);
            assert_eq!((key.op(), key.index()), (op, 0xffff_fff0));
            assert!(key.is_of(0x0123_4567) && !key.is_of(0x0123_4568));
        }
    }

    /// Shows that a refused set-up names the way out that fits the machine.
    #[test]
    fn refusals_name_the_way_out() {
        let text = |errno, sysctl| refusal(Errno(errno), sysctl).to_string();
        assert!(text(libc::EPERM, "2\n").contains("kernel.io_uring_disabled=0"));
        assert!(text(libc::EPERM, "1\n").contains("kernel.io_uring_group"));
        assert!(text(libc::EPERM, "0\n").contains("seccomp"));
        assert!(text(libc::ENOSYS, "").contains("Linux 6.1"));
        assert!(text(libc::EINVAL, "0").contains("io_uring_setup"));
    }
}
