//! How many queries this process may make: a bucket that fills by the clock.

/// The bucket. It holds the queries of one second.
#[derive(Debug, Default)]
pub(in crate::atom::flow) struct Pace {
    /// In thousandths of a query.
    left: i64,
    filled_at_ms: Option<i64>,
    /// Queries so far, for who shares them out.
    pub(super) turn: u64,
}

impl Pace {
    /// Takes up to `wanted` queries out.
    pub(super) fn take(&mut self, wanted: i64, per_s: u32, now_ms: i64) -> i64 {
        let full = i64::from(per_s).max(1) * 1000;
        let passed = self
            .filled_at_ms
            .map_or(1000, |at| (now_ms - at).clamp(0, 1000));
        self.left = (self.left + passed * i64::from(per_s)).min(full);
        self.filled_at_ms = Some(now_ms);
        let taken = wanted.min(self.left / 1000).max(0);
        self.left -= taken * 1000;
        taken
    }

    /// Puts back what was not needed.
    pub(super) fn give(&mut self, unused: i64) {
        self.left += unused * 1000;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No second sees more than its number, however often it is asked, and nothing is saved up over a pause.
    #[test]
    fn no_second_sees_more() {
        let mut pace = Pace::default();
        assert_eq!(pace.take(100, 5, 0), 5);
        assert_eq!(pace.take(100, 5, 100), 0);
        assert_eq!(pace.take(100, 5, 200), 1);
        assert_eq!(pace.take(100, 5, 60_000), 5);
        pace.give(3);
        assert_eq!(pace.take(100, 5, 60_000), 3);
        assert_eq!(
            pace.take(1, 5, 0),
            0,
            "a clock that goes back gives nothing"
        );
    }
}
