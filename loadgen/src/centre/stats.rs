//! What the centre counts while it runs.

use std::fmt;

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames received.
    pub frames_in: u64,
    /// Frames queued for sending.
    pub frames_out: u64,
    /// General requests.
    pub requests: u64,
    /// Approvals.
    pub approved: u64,
    /// Refusals of the issuer.
    pub refused: u64,
    /// 8970 to requests.
    pub abnormal: u64,
    /// 8910 and 8920.
    pub cancels: u64,
    /// 8930 and 8940.
    pub confirms: u64,
    /// 8950 and 8960.
    pub undone: u64,
    /// 8970 to fault commands.
    pub fault_abnormal: u64,
    /// Answers that rules kept back.
    pub silenced: u64,
    /// Messages that rules lost.
    pub lost: u64,
    /// Control messages received.
    pub control: u64,
    /// Control messages dropped, because the state does not allow them.
    pub control_dropped: u64,
    /// Incoming transactions sent.
    pub inward: u64,
    /// Answers to them.
    pub inward_answered: u64,
    /// Incoming transactions the gateway let time out.
    pub inward_expired: u64,
    /// Reports that no session could take.
    pub undelivered: u64,
    /// Anomalies.
    pub anomalies: u64,
}

impl Stats {
    /// Names and values.
    pub fn rows(&self) -> [(&'static str, u64); 19] {
        [
            ("frames_in", self.frames_in),
            ("frames_out", self.frames_out),
            ("requests", self.requests),
            ("approved", self.approved),
            ("refused", self.refused),
            ("abnormal", self.abnormal),
            ("cancels", self.cancels),
            ("confirms", self.confirms),
            ("undone", self.undone),
            ("fault_abnormal", self.fault_abnormal),
            ("silenced", self.silenced),
            ("lost", self.lost),
            ("control", self.control),
            ("control_dropped", self.control_dropped),
            ("inward", self.inward),
            ("inward_answered", self.inward_answered),
            ("inward_expired", self.inward_expired),
            ("undelivered", self.undelivered),
            ("anomalies", self.anomalies),
        ]
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.rows().into_iter().enumerate() {
            write!(f, "{}{name}={value}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
