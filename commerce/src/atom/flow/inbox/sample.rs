//! Refused messages leave a trace, but a flood of them does not fill the log.

/// Refused messages that are logged in a minute.
const PER_MINUTE_MAX: u32 = 10;

/// Counts the traces of the current minute.
#[derive(Debug, Default)]
pub(in crate::atom::flow) struct Sampler {
    minute: i64,
    traces: u32,
}

impl Sampler {
    /// Whether one more may leave a trace.
    pub(super) fn allows(&mut self, now_ms: i64) -> bool {
        let minute = now_ms / 60_000;
        if minute != self.minute {
            *self = Sampler { minute, traces: 0 };
        }
        self.traces += 1;
        self.traces <= PER_MINUTE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten in a minute, and ten in the next.
    #[test]
    fn ten_in_a_minute() {
        let mut sampler = Sampler::default();
        assert_eq!((0..100).filter(|_| sampler.allows(5)).count(), 10);
        assert_eq!((0..100).filter(|_| sampler.allows(60_005)).count(), 10);
    }
}
