//! Waiting for sockets with a time-out in nanoseconds.
//!
//! mio rounds its time-outs up to milliseconds, which at 20,000 sends a second would make every send late. So this
//! is epoll itself, with `epoll_pwait2`, level-triggered: three system calls behind a safe face, and nothing else.
#![allow(
    unsafe_code,
    reason = "epoll has no safe face in the standard library, and mio's rounds time-outs to milliseconds"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// What happened to one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// The number the descriptor was added with.
    pub(crate) token: usize,
    /// A read will not block: there are bytes, the end of the stream, or an error.
    pub(crate) readable: bool,
    /// A write will not block.
    pub(crate) writable: bool,
}

/// An epoll instance. A descriptor leaves it when it is closed.
pub(crate) struct Poller {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poller {
    /// A poller that hands out at most `events_max` events a wait. The kernel's timer slack for this thread is set
    /// to a nanosecond, since its 50 us would make every sleeping send late.
    pub(crate) fn new(events_max: usize) -> io::Result<Poller> {
        // SAFETY: no memory is passed; the result is checked before it is owned.
        let fd = unsafe {
            libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong);
            libc::epoll_create1(libc::EPOLL_CLOEXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Poller {
            // SAFETY: the descriptor was made a line above and nothing else owns it.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            events: Vec::with_capacity(events_max.max(1)),
        })
    }

    /// Watches `what` for reading, under `token`.
    pub(crate) fn add(&self, what: &impl AsFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, what, token, libc::EPOLLIN)
    }

    /// Watches `what` for writing as well, or no longer.
    pub(crate) fn want_write(&self, what: &impl AsFd, token: usize, on: bool) -> io::Result<()> {
        let write = if on { libc::EPOLLOUT } else { 0 };
        self.control(libc::EPOLL_CTL_MOD, what, token, libc::EPOLLIN | write)
    }

    fn control(&self, how: i32, what: &impl AsFd, token: usize, events: i32) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: token as u64,
        };
        // SAFETY: both descriptors are open while borrowed, and the event outlives the call, which copies it.
        let rc = unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                how,
                what.as_fd().as_raw_fd(),
                &raw mut event,
            )
        };
        if rc < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Waits at most `timeout_ns`; returns how many events there are. A signal ends the wait with none.
    pub(crate) fn wait(&mut self, timeout_ns: u64) -> io::Result<usize> {
        self.events.clear();
        let time = libc::timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: the kernel writes at most `capacity` events into memory of that capacity; the time outlives the
        // call and the signal mask may be null.
        let got = unsafe {
            libc::epoll_pwait2(
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.capacity() as i32,
                &raw const time,
                ptr::null(),
            )
        };
        if got < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                return Ok(0);
            }
            return Err(error);
        }
        // SAFETY: the kernel has written `got` events, at most the capacity.
        unsafe { self.events.set_len(got as usize) };
        Ok(got as usize)
    }

    /// Event number `at` of the last wait.
    pub(crate) fn event(&self, at: usize) -> Ready {
        let event = self.events[at];
        let has = |bits: i32| event.events & bits as u32 != 0;
        Ready {
            token: event.u64 as usize,
            readable: has(libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR),
            writable: has(libc::EPOLLOUT),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;

    /// A wait ends with its time-out, soon after it and never before; bytes and room are reported under the token.
    #[test]
    fn waits_for_time_and_for_bytes() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut poller = Poller::new(4).expect("a poller");
        poller.add(&ours, 7).expect("added");
        let start = Instant::now();
        assert_eq!(poller.wait(200_000).expect("a wait"), 0);
        assert!(start.elapsed().as_nanos() >= 200_000);
        theirs.write_all(b"x").expect("written");
        assert_eq!(poller.wait(1_000_000_000).expect("a wait"), 1);
        assert_eq!(
            poller.event(0),
            Ready {
                token: 7,
                readable: true,
                writable: false
            }
        );
        poller.want_write(&ours, 7, true).expect("changed");
        assert_eq!(poller.wait(0).expect("a wait"), 1);
        assert!(poller.event(0).writable);
    }
}
