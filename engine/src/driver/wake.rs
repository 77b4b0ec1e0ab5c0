//! Waking the driver from other threads: an eventfd that the ring reads.

// Making the eventfd, and the ring's read into our memory.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use io_uring::opcode;
use io_uring::types::Fd;

use super::ring::{Key, Op, Ring};
use super::{DriverError, Errno};

struct Shared {
    eventfd: File,
    /// A wake-up is under way: another one need not call the kernel.
    pending: AtomicBool,
}

/// Wakes the driver's thread from any other; clones wake the same driver. Calls the kernel only if no wake-up is
/// under way already.
#[derive(Clone)]
pub struct Waker(Arc<Shared>);

impl Waker {
    /// Makes the driver report `Woken`. What was written before this call is visible after that report.
    pub fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::AcqRel) {
            // Fails only when the counter is full, and then it wakes anyway.
            let _ = (&self.0.eventfd).write(&1u64.to_ne_bytes());
        }
    }
}

/// The driver's end.
pub(super) struct Wake {
    shared: Arc<Shared>,
    /// Where the ring's read puts the counter, which nobody looks at.
    counter: Box<UnsafeCell<u64>>,
}

impl Wake {
    pub(super) fn new() -> Result<Wake, DriverError> {
        // SAFETY: a plain system call; the descriptor it gives is new and ours.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            let errno = Errno::of(&std::io::Error::last_os_error());
            return Err(DriverError::SetUp {
                step: "eventfd",
                errno,
            });
        }
        // SAFETY: as above.
        let eventfd = unsafe { File::from_raw_fd(fd) };
        let shared = Arc::new(Shared {
            eventfd,
            pending: AtomicBool::new(false),
        });
        Ok(Wake {
            shared,
            counter: Box::new(UnsafeCell::new(0)),
        })
    }

    pub(super) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.shared))
    }

    pub(super) fn arm(&mut self, ring: &mut Ring) {
        let fd = Fd(self.shared.eventfd.as_raw_fd());
        let entry = opcode::Read::new(fd, self.counter.get().cast(), size_of::<u64>() as u32)
            .build()
            .user_data(Key::new(Op::Wake, 0, 0).bits());
        // SAFETY: the counter's box lives as long as the driver, which waits for its operations or leaks it; nobody reads it.
        unsafe { ring.push(&entry) }
    }

    /// A wake-up came: whoever wakes from now on calls the kernel again.
    pub(super) fn on_wake(&mut self, ring: &mut Ring) {
        self.shared.pending.swap(false, Ordering::AcqRel);
        self.arm(ring);
    }

    /// Forgets the counter without freeing what the kernel may still write to.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::replace(
            &mut self.counter,
            Box::new(UnsafeCell::new(0)),
        ));
        std::mem::forget(Arc::clone(&self.shared));
    }
}
