//! Notices of the core as lines of the log.

use std::sync::mpsc::Receiver;

use super::Noticed;
use crate::core::Notice;

/// Writes notices until the last shard is gone.
pub(super) fn write_all(notices: &Receiver<Noticed>, lines: &[(u32, String)]) {
    for (shard, line, notice) in notices {
        let name = lines
            .iter()
            .find(|(id, _)| *id == line)
            .map_or("-", |(_, name)| name.as_str());
        log::log!(
            level(&notice),
            "shard {shard} line {name}: {}",
            text(&notice)
        );
    }
}

fn level(notice: &Notice) -> log::Level {
    match notice {
        Notice::Escalated { .. }
        | Notice::Unresolved { .. }
        | Notice::RoutesHeld { .. }
        | Notice::ExcessSession => log::Level::Error,
        Notice::Dropped { .. }
        | Notice::LinkFault { .. }
        | Notice::SignOnTimeout
        | Notice::CheckFailed
        | Notice::Fault { .. } => log::Level::Warn,
        _ => log::Level::Info,
    }
}

/// What an operator reads at three in the morning.
fn text(notice: &Notice) -> String {
    match notice {
        Notice::Sessions { up, contracted } => {
            format!("{up} of {contracted} centre sessions are up")
        }
        Notice::ExcessSession => {
            "one centre session more than contracted: all are closed, the centre will connect again"
                .into()
        }
        Notice::CheckFailed => {
            "a centre session did not answer 9210, it is closed; the centre will connect again"
                .into()
        }
        Notice::Service(service) => format!("service is {service:?}"),
        Notice::SignOnTimeout => "sign-on was not answered within t34".into(),
        Notice::CutDate { old, new } => format!("cut date changed from {old} to {new}"),
        Notice::Dropped { why, mti, route } => {
            format!("telegram {mti:04} on route {route:04} dropped: {why:?}")
        }
        Notice::Fault {
            mti,
            tx,
            sends,
            cause,
        } => format!("{mti} for transaction {tx}, send {sends} ({cause:?})"),
        Notice::Settled { tx, outcome } => format!("transaction {tx} settled: {outcome:?}"),
        Notice::Escalated { tx, next, cause } => {
            format!(
                "ALARM transaction {tx} is not settled ({cause:?}): its route stays held, {next} follows when the centre answers again or on order"
            )
        }
        Notice::Unresolved { tx, code } => {
            format!(
                "ALARM the centre refused the cancel of transaction {tx} with {}: settle it by hand",
                String::from_utf8_lossy(code)
            )
        }
        Notice::RoutesHeld { held, routes } => {
            format!("ALARM {held} of {routes} routes are held by unsettled transactions")
        }
        Notice::LinkFault { link, fault } => format!("link {} closed: {fault}", link.0 as u32),
        Notice::Recovery { open } => format!("{open} transactions were left open by the last stop"),
        Notice::RecoveryDone => "recovery is over".into(),
    }
}
