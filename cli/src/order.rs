//! What an operator orders of a line or of the daemon: service, recovery, cut date, routes, and the end.

use std::io::{self, Write};

use clap::Subcommand;
use client::{Order, Session};
use codec::link::rc;

use crate::failure::Failure;
use crate::place::PlaceArguments;
use crate::status::{ask, date_text, service_name};

/// The orders.
#[derive(Subcommand)]
pub enum Command {
    /// Sign on at the centre (7020) and wait for its answer.
    Signon(PlaceArguments),
    /// Sign off at the centre (0720) and wait for its answer.
    Signoff(PlaceArguments),
    /// Set the state to signed on without a telegram, after a fault of the line.
    ForceSignon(PlaceArguments),
    /// Set the state to signed off without a telegram, after a fault of the line.
    ForceSignoff(PlaceArguments),
    /// Settle at the centre what a stop left open, and wait until it is.
    Recovery(PlaceArguments),
    /// Change the cut date as once a day: to today, or from today to tomorrow.
    Cutreq(PlaceArguments),
    /// Set the cut date to today.
    Cutover(PlaceArguments),
    /// Free a route by force; its transaction stays unresolved at the centre.
    Purge {
        /// The route, an even number from 2 on.
        route: u16,
        #[command(flatten)]
        place: PlaceArguments,
    },
    /// Stop the daemon; every line has to be signed off. A daemon with several shards needs --config: each is told.
    Shutdown {
        /// Stop at once, whatever the state: recovery follows at the next start.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        place: PlaceArguments,
    },
}

/// Carries out an order on every line that is meant.
///
/// # Errors
/// The first line that refuses; the lines after it are not tried.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Signon(place) => each(place, Order::Connect, "sign on"),
        Command::Signoff(place) => each(place, Order::Disconnect, "sign off"),
        Command::ForceSignon(place) => each(place, Order::SignOn, "set to signed on"),
        Command::ForceSignoff(place) => each(place, Order::SignOff, "set to signed off"),
        Command::Recovery(place) => each(place, Order::Recovery, "recover"),
        Command::Cutreq(place) => cut_date(place, Order::CutRequest),
        Command::Cutover(place) => cut_date(place, Order::CutOver),
        Command::Purge { route, place } => purge(place, *route),
        Command::Shutdown { force, place } => shut_down(place, *force),
    }
}

/// What is known better than the return code says.
fn because(order: Order, code: u16) -> Option<&'static str> {
    match (order, code) {
        (Order::Connect, rc::NG) => {
            Some("the centre refused the sign-on or ended the service; ask the centre")
        }
        (Order::Disconnect, rc::NG) => Some("the centre refused the sign-off; ask the centre"),
        (Order::Connect, rc::PKG_IS_SIGNOFF_OR_SWITCHING) => Some(
            "the line is changing its state or recovers; wait until `sekisho status` says that it is over",
        ),
        (Order::Recovery, rc::PKG_IS_SIGNOFF_OR_SWITCHING) => Some(
            "recovery needs a line that is signed on; sign on with `sekisho signon`, or wait a moment after it",
        ),
        (Order::Purge, rc::INVALID_PARAM) => Some(
            "no transaction is on this route, so there is nothing to free; see `sekisho status`",
        ),
        _ => None,
    }
}

fn give(
    session: &mut Session,
    order: Order,
    route: u16,
    action: impl FnOnce() -> String,
) -> Result<(), Failure> {
    session
        .control(order, route)
        .map_err(|error| Failure::Call {
            because: because(order, error.rc()),
            action: action(),
            error,
        })
}

/// Whether the order is only for a line that no application uses, while it is signed on (spec/fexics.md 2.11, 5.2, 5.3).
/// An application may sign its own line off; a tool may not do it under an application's hands.
fn needs_quiet(order: Order) -> bool {
    matches!(order, Order::Disconnect | Order::Recovery)
}

fn each(places: &PlaceArguments, order: Order, verb: &str) -> Result<(), Failure> {
    for place in places.every()? {
        let mut session = place.open()?;
        if needs_quiet(order) {
            let status = ask(&mut session, &place)?;
            if status.signed_on() && status.api_sessions > 0 {
                return Err(Failure::InUse {
                    action: format!("{verb} {place}"),
                    lines: vec![(place.to_string(), status.api_sessions)],
                });
            }
        }
        give(&mut session, order, 0, || format!("{verb} {place}"))?;
        let status = ask(&mut session, &place)?;
        let service = service_name(status.service);
        let text = match order {
            Order::Connect => format!(
                "{place} is signed on; service is {service}, cut date {}.",
                date_text(status.cut_date)
            ),
            Order::Disconnect => format!("{place} is signed off; service is {service}."),
            Order::SignOn | Order::SignOff => {
                format!("{place} is {verb} without a telegram; service is {service}.")
            }
            _ => format!(
                "recovery of {place} is over; {} escalated, {} routes held.",
                status.escalated, status.routes_held
            ),
        };
        say(&text)?;
    }
    Ok(())
}

fn cut_date(places: &PlaceArguments, order: Order) -> Result<(), Failure> {
    for place in places.every()? {
        let mut session = place.open()?;
        let old = ask(&mut session, &place)?.cut_date;
        give(&mut session, order, 0, || {
            format!("change the cut date of {place}")
        })?;
        let new = ask(&mut session, &place)?.cut_date;
        let (old, new) = (date_text(old), date_text(new));
        say(&if old == new {
            format!("{place} keeps its cut date {new}, which the rule does not change now.")
        } else {
            format!("{place} changed its cut date from {old} to {new}.")
        })?;
    }
    Ok(())
}

fn purge(places: &PlaceArguments, route: u16) -> Result<(), Failure> {
    let place = places.one()?;
    let mut session = place.open()?;
    give(&mut session, Order::Purge, route, || {
        format!("free route {route} of {place}")
    })?;
    say(&format!(
        "route {route} of {place} is free; its transaction is recorded as unresolved, settle it with the centre."
    ))
}

/// The daemon has one end: without force it is only ordered when every line of every shard is signed off and unused, so
/// that an order which one shard refuses is refused for all.
fn shut_down(places: &PlaceArguments, force: bool) -> Result<(), Failure> {
    let shards = places.shards()?;
    if !force {
        let all = places.without_line().every()?;
        let (mut on, mut used) = (Vec::new(), Vec::new());
        for place in &all {
            let status = ask(&mut place.open()?, place)?;
            if status.api_sessions > 0 {
                used.push((place.to_string(), status.api_sessions));
            }
            let off = matches!(service_name(status.service), "DOWN" | "CLOSED" | "FAILED");
            if !off {
                on.push(place.to_string());
            }
        }
        if !on.is_empty() {
            return Err(Failure::SignedOn(on));
        }
        if !used.is_empty() {
            return Err(Failure::InUse {
                action: "shut the daemon down".to_owned(),
                lines: used,
            });
        }
    }
    let order = if force {
        Order::ShutdownForce
    } else {
        Order::Shutdown
    };
    for place in shards {
        let mut session = place.open()?;
        give(&mut session, order, 0, || "shut the daemon down".to_owned())?;
    }
    say(if force {
        "the daemon stops at once; what is open is settled by recovery at the next start."
    } else {
        "the daemon stops in order."
    })
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}
