//! `sekisho status`: how a line stands, for people and as JSON.

use std::io::{self, Write};

use clap::Args;
use client::{Session, Status};
use codec::link::message::SERVICE_STATES;
use serde::Serialize;

use crate::failure::Failure;
use crate::place::{Place, PlaceArguments};

/// What `sekisho status` takes.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: PlaceArguments,
    /// One JSON object a line instead of text.
    #[arg(long)]
    json: bool,
}

/// A line's state as JSON.
#[derive(Serialize)]
struct Report<'a> {
    line: &'a str,
    line_id: u32,
    shard: u16,
    service: &'a str,
    signed_on: bool,
    switching: bool,
    recovering: bool,
    /// YYYY-MM-DD.
    cut_date: String,
    last_sequence: u32,
    centre_sessions: u16,
    centre_sessions_contracted: u16,
    routes: u16,
    routes_busy: u16,
    routes_held: u16,
    escalated: u16,
    api_sessions: u32,
}

/// Shows every line that is meant.
///
/// # Errors
/// A daemon cannot be reached or does not answer.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for place in arguments.place.every()? {
        let mut session = place.open()?;
        let status = ask(&mut session, &place)?;
        let agreed = session.link().agreed();
        if arguments.json {
            let report = report(&place, &status, agreed.line_id, agreed.shard);
            let text = serde_json::to_string(&report).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
        } else {
            show(&place, &status, agreed.line_id, agreed.shard, &mut out)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Asks a line how it stands.
///
/// # Errors
/// The daemon does not answer.
pub fn ask(session: &mut Session, place: &Place) -> Result<Status, Failure> {
    session.status().map_err(|error| Failure::Call {
        action: format!("get the status of {place}"),
        error,
        because: None,
    })
}

/// A date of the form YYYYMMDD as people write it.
pub fn date_text(date: u32) -> String {
    format!(
        "{:04}-{:02}-{:02}",
        date / 10_000,
        date / 100 % 100,
        date % 100
    )
}

/// The name of a service state.
pub fn service_name(state: u8) -> &'static str {
    SERVICE_STATES
        .get(usize::from(state))
        .copied()
        .unwrap_or("unknown")
}

fn report<'a>(place: &'a Place, status: &Status, line_id: u32, shard: u16) -> Report<'a> {
    Report {
        line: &place.name,
        line_id,
        shard,
        service: service_name(status.service),
        signed_on: status.signed_on(),
        switching: status.switching(),
        recovering: status.recovering,
        cut_date: date_text(status.cut_date),
        last_sequence: status.sequence,
        centre_sessions: status.sessions,
        centre_sessions_contracted: status.sessions_contracted,
        routes: status.routes,
        routes_busy: status.routes_busy,
        routes_held: status.routes_held,
        escalated: status.escalated,
        api_sessions: status.api_sessions,
    }
}

fn show(
    place: &Place,
    status: &Status,
    line_id: u32,
    shard: u16,
    out: &mut dyn Write,
) -> io::Result<()> {
    let on = match (status.signed_on(), status.switching()) {
        (_, true) => "changing",
        (true, false) => "signed on",
        (false, false) => "signed off",
    };
    let recovery = if status.recovering {
        "running or waiting for the sign-on"
    } else {
        "nothing to do"
    };
    writeln!(
        out,
        "{place} (number {line_id}, shard {shard}, {})",
        place.address()
    )?;
    let rows = [
        ("service", format!("{}, {on}", service_name(status.service))),
        ("recovery", recovery.to_owned()),
        ("cut date", date_text(status.cut_date)),
        ("last sequence", format!("{:06}", status.sequence)),
        (
            "centre sessions",
            format!("{} of {}", status.sessions, status.sessions_contracted),
        ),
        (
            "routes",
            format!(
                "{} busy, {} held, of {}",
                status.routes_busy, status.routes_held, status.routes
            ),
        ),
        ("escalated", status.escalated.to_string()),
        ("API sessions", status.api_sessions.to_string()),
    ];
    for (name, value) in rows {
        writeln!(out, "  {name:<16} {value}")?;
    }
    Ok(())
}
