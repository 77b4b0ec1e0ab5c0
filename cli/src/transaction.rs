//! One transaction at a running daemon, by its key: where it stands, and its cancel at the centre.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use client::{ClientError, State, TransactionState};
use codec::cafis::section::TransactionKey;
use codec::link::rc;

use crate::failure::Failure;
use crate::place::PlaceArguments;

/// What can be done with one transaction.
#[derive(Subcommand)]
pub enum Command {
    /// Cancel a transaction at the centre and wait until it is settled.
    Cancel(Arguments),
    /// Say where a transaction stands.
    Query(Arguments),
}

/// A transaction's key, and the line.
#[derive(Args)]
pub struct Arguments {
    /// Processing date of the request, YYMMDD.
    #[arg(value_name = "YYMMDD", value_parser = date)]
    date: [u8; 6],
    /// Terminal id, 13 characters; with blanks in quotes.
    #[arg(value_name = "TERMINAL13", value_parser = part::<13>)]
    terminal: [u8; 13],
    /// Terminal sequence, 5 characters.
    #[arg(value_name = "SEQ5", value_parser = part::<5>)]
    sequence: [u8; 5],
    #[command(flatten)]
    place: PlaceArguments,
}

/// A part of a key: exactly `W` printable characters.
fn part<const W: usize>(text: &str) -> Result<[u8; W], String> {
    let wrong = || {
        format!(
            "it has to be {W} printable ASCII characters, this has {}",
            text.len()
        )
    };
    let bytes: [u8; W] = text.as_bytes().try_into().map_err(|_| wrong())?;
    let printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    printable.then_some(bytes).ok_or_else(wrong)
}

fn date(text: &str) -> Result<[u8; 6], String> {
    let date = part::<6>(text)?;
    let digits = date.iter().all(u8::is_ascii_digit);
    digits
        .then_some(date)
        .ok_or_else(|| "a date is six digits, YYMMDD".to_owned())
}

/// Reads a key of the form YYMMDD/TERMINAL/SEQ.
///
/// # Errors
/// What is wrong with it, for the command line.
pub fn parse_key(text: &str) -> Result<TransactionKey, String> {
    let wrong = || "a key is YYMMDD/TERMINAL13/SEQ5".to_owned();
    let (day, rest) = text.split_once('/').ok_or_else(wrong)?;
    // A terminal id may hold a slash, a sequence is digits.
    let (terminal, sequence) = rest.rsplit_once('/').ok_or_else(wrong)?;
    let named = |name: &'static str| move |reason: String| format!("{name}: {reason}");
    Ok(TransactionKey::from_parts(
        date(day).map_err(named("date"))?,
        part::<13>(terminal).map_err(named("terminal id"))?,
        part::<5>(sequence).map_err(named("terminal sequence"))?,
    ))
}

/// Carries out the command.
///
/// # Errors
/// The daemon cannot be reached, refuses, or knows no such transaction.
pub fn run(command: &Command) -> Result<(), Failure> {
    let (Command::Cancel(arguments) | Command::Query(arguments)) = command;
    let key = TransactionKey::from_parts(arguments.date, arguments.terminal, arguments.sequence);
    let place = arguments.place.one()?;
    let mut session = place.open()?;
    let text = match command {
        Command::Cancel(_) => {
            session
                .cancel(&key.0)
                .map_err(|error| failed(format!("cancel transaction {key} on {place}"), error))?;
            format!(
                "transaction {key} on {place} is cancelled at the centre, or was never processed there."
            )
        }
        Command::Query(_) => {
            let state = session
                .query(&key.0)
                .map_err(|error| failed(format!("query transaction {key} on {place}"), error))?;
            if state.state == TransactionState::Unknown {
                return Err(Failure::NoKey(key));
            }
            format!("transaction {key} on {place} {}.", describe(&state))
        }
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

fn failed(action: String, error: ClientError) -> Failure {
    let because = (error.rc() == rc::NG).then_some(
        "the centre refused the cancel, or the request is of a kind that has none; query it, and settle it with the centre",
    );
    Failure::Call {
        action,
        error,
        because,
    }
}

fn describe(state: &State) -> String {
    let request = state.request_mti.escape_ascii();
    let report = match &state.report_mti {
        b"0000" => "no report".to_owned(),
        mti => format!("report {}", mti.escape_ascii()),
    };
    format!(
        "{} (number {}, request {request}, {report})",
        meaning(state.state),
        state.transaction
    )
}

/// What a state means, to follow "transaction X".
pub fn meaning(state: TransactionState) -> &'static str {
    match state {
        TransactionState::Unknown => "is unknown",
        TransactionState::Open => "is open: no report yet",
        TransactionState::Reported => "is reported, and not delivered yet",
        TransactionState::Delivered => "is delivered: its application holds the report",
        TransactionState::Cancelling => "is being cancelled at the centre",
        TransactionState::Cancelled => "is cancelled at the centre",
        TransactionState::NotProcessed => "was never processed by the centre",
        TransactionState::Escalated => {
            "is escalated: it is not settled, and an operator has to look after it"
        }
        TransactionState::NotSent => "was never sent",
        TransactionState::Unanswered => "is unanswered, and of a kind that needs no cancel",
    }
}
