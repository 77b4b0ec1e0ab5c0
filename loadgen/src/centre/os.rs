//! What the standard library has no words for: waiting for a signal to stop, and room for thousands of sockets.

/// Holds SIGINT and SIGTERM back from this thread and those it will start, so that [`wait_for_stop`] gets them.
#[allow(
    unsafe_code,
    reason = "signal masks are only reachable through libc; the set is local and initialised by it"
)]
pub fn hold_stop_signals() {
    // SAFETY: `set` is valid for the calls, which initialise it before it is read.
    unsafe {
        let mut set = std::mem::zeroed();
        stop_set(&mut set);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Waits for SIGINT or SIGTERM, after [`hold_stop_signals`].
#[allow(
    unsafe_code,
    reason = "sigwait is only reachable through libc; both arguments are local"
)]
pub fn wait_for_stop() {
    // SAFETY: `set` is initialised by `stop_set`, `signal` is valid for the write.
    unsafe {
        let mut set = std::mem::zeroed();
        stop_set(&mut set);
        let mut signal = 0;
        libc::sigwait(&set, &mut signal);
    }
}

#[allow(unsafe_code, reason = "signal sets are filled by libc alone")]
fn stop_set(set: &mut libc::sigset_t) {
    // SAFETY: `set` is a valid place for a signal set.
    unsafe {
        libc::sigemptyset(set);
        libc::sigaddset(set, libc::SIGINT);
        libc::sigaddset(set, libc::SIGTERM);
    }
}

/// Raises the limit of open descriptors as far as this user may; says how many there may be.
#[allow(
    unsafe_code,
    reason = "resource limits are only reachable through libc; the structure is local"
)]
pub fn raise_descriptor_limit() -> u64 {
    // SAFETY: `limit` is valid for both calls.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < limit.rlim_max
        {
            let raised = libc::rlimit {
                rlim_cur: limit.rlim_max,
                ..limit
            };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
                return raised.rlim_cur;
            }
        }
        limit.rlim_cur
    }
}
