//! The invariants of design.md, "How it is shown to be right", by their numbers there.

use std::collections::BTreeMap;

use super::SEC;
use super::app::Told;
use super::centre::{Entry as Received, State};
use super::gateway::Output;
use super::world::World;
use codec::cafis::fault::make_image;
use codec::cafis::header::Header;
use codec::cafis::mti::{Class, Kind, Mti, lookup};
use codec::cafis::section::TransactionKey;
use codec::link::{Assembler, Kind as Frames, rc};
use engine::core::Notice;
use engine::core::tx::{Cause, Outcome};

/// When things left, and when answers came: what invariant 7 is judged by.
#[derive(Default)]
pub struct Released {
    requests: BTreeMap<u64, u64>,
    faults: BTreeMap<u64, u64>,
    answered: BTreeMap<u64, u64>,
}

fn line_of(world: &World, line: usize) -> u32 {
    world.plan.core.lines[line].id
}

fn key_of(frame: &[u8]) -> [u8; 24] {
    TransactionKey::of(frame).map_or([b' '; 24], |key| key.0)
}

/// Invariant 1: what leaves has its record on the disk.
///
/// # Errors
/// It has not.
pub fn released(world: &mut World, output: &Output) -> Result<(), String> {
    match output {
        Output::Centre(session, frame) => released_telegram(world, *session, frame),
        Output::Link(link, frame) => released_link_frame(world, *link, frame),
        Output::Order(_) => Ok(()),
    }
}

fn released_telegram(world: &mut World, session: u64, frame: &[u8]) -> Result<(), String> {
    let Ok(header) = Header::new(frame) else {
        return Err("1: a telegram without header".into());
    };
    let (mti, route) = (header.mti(), header.route().unwrap_or(0));
    let Some(row) = lookup(mti) else {
        return Err(format!("1: type {} leaves", mti.0));
    };
    let line = line_of(world, world.wires.all[&session].owner);
    let now = world.now;
    if row.class == Class::Control {
        return Ok(());
    }
    if route % 2 == 1 {
        let recorded = world.book.inward.contains(&frame[10..21]);
        return match recorded {
            true => Ok(()),
            false => Err(format!(
                "1: {} leaves on route {route}, nothing of it is durable",
                mti.0
            )),
        };
    }
    if row.class == Class::Fault && &key_of(frame)[6..19] == b"0000000008000" {
        // What stood before the beginning has no facts of its own.
        return Ok(());
    }
    let Some((tx, entry)) = world.book.newest(line, &key_of(frame)) else {
        return Err(format!(
            "1: {} leaves on route {route}, its request is not durable",
            mti.0
        ));
    };
    if row.kind == Kind::Request {
        let mut image = frame.to_vec();
        let masked = make_image(&mut image).is_ok();
        if !masked || image != entry.image {
            return Err(format!(
                "1: the durable image of request {} is another",
                entry.sequence
            ));
        }
        world.released.requests.insert(tx, now);
        return Ok(());
    }
    if entry.outcome == Outcome::Purged {
        return Err(format!(
            "2: {} for {tx} leaves, which an operator gave up",
            mti.0
        ));
    }
    if !entry.faults.contains(&(mti.0, route)) {
        return Err(format!(
            "1: {} for {tx} leaves on route {route}, its intent is not durable",
            mti.0
        ));
    }
    world.released.faults.insert(tx, now);
    world.released.answered.remove(&tx);
    Ok(())
}

fn released_link_frame(world: &World, link: u64, frame: &[u8]) -> Result<(), String> {
    let mut assembler = Assembler::new();
    let split = assembler
        .split(frame)
        .map_err(|error| format!("link: {error}"))?;
    let Some(frame) = split.frame else {
        return Err("link: half a frame".into());
    };
    let app = world.wires.all[&link].owner;
    let head = frame.head;
    let Some(token) = world.apps[app].token(head.session) else {
        return Ok(());
    };
    let entry = world.book.of_request(&token, head.request);
    let durable = match head.kind {
        Frames::Report => entry.is_some_and(|entry| !entry.report.is_empty()),
        Frames::Confirm if head.code == rc::OK => entry.is_some_and(|entry| entry.delivered > 0),
        _ => true,
    };
    match durable {
        true => Ok(()),
        false => Err(format!(
            "1: {:?} of request {} leaves before its record is durable; {:.60?}",
            head.kind, head.request, entry
        )),
    }
}

/// Notes what the gateway hears, for invariant 7.
pub(super) fn heard(world: &mut World, frame: &[u8]) {
    let Ok(header) = Header::new(frame) else {
        return;
    };
    if !matches!(
        header.mti(),
        Mti::ABNORMAL | Mti::CANCEL_REPORT | Mti::CANCEL_CONFIRM_REPORT
    ) {
        return;
    }
    let key = key_of(frame);
    let now = world.now;
    for line in 0..world.plan.core.lines.len() {
        let id = line_of(world, line);
        if let Some((tx, _)) = world.book.newest(id, &key) {
            world.released.answered.insert(tx, now);
        }
    }
}

/// After a start no wait of before counts.
pub(super) fn restarted(world: &mut World) {
    world.released = Released::default();
}

/// Invariant 7: no timer fires early.
///
/// # Errors
/// It did.
pub(super) fn notice(world: &World, notice: &Notice) -> Result<(), String> {
    let Notice::Fault {
        mti,
        tx,
        sends,
        cause,
    } = *notice
    else {
        return Ok(());
    };
    if world.first.iter().any(|(head, _)| head.tx == tx) {
        return Ok(());
    }
    let waited = |since: &BTreeMap<u64, u64>| since.get(&tx).map(|since| world.now - since);
    if mti == 8930 && cause == Cause::Timeout && sends == 1 {
        let waited = waited(&world.released.requests);
        if waited.is_none_or(|waited| waited < 58 * SEC) {
            return Err(format!(
                "7: t31 of transaction {tx} fired after {waited:?} ns"
            ));
        }
    }
    if sends >= 2 {
        let wait = if world.released.answered.contains_key(&tx) {
            10
        } else {
            58
        };
        let waited = waited(&world.released.faults);
        if waited.is_none_or(|waited| waited < wait * SEC) {
            return Err(format!(
                "7: {mti} number {sends} of transaction {tx} leaves after {waited:?} ns"
            ));
        }
    }
    Ok(())
}

/// Invariants 2 and 4: why the world does not come to rest.
pub(super) fn unsettled(world: &World) -> String {
    let mut text = String::from("2: something never ends:");
    for (tx, entry) in world
        .book
        .entries
        .iter()
        .filter(|(_, entry)| entry.outcome == Outcome::None)
    {
        text += &format!(
            "\n  transaction {tx} line {} request {} route {} faults {:?}",
            entry.line, entry.request, entry.route, entry.faults
        );
    }
    if let Some(gateway) = &world.gateway {
        text += &format!("\n  {:?}", gateway.pipeline.core().usage());
        for line in super::book::dump(gateway.pipeline.core()) {
            text += &format!("\n  {line:.400}");
        }
    }
    for (number, app) in world.apps.iter().enumerate() {
        text += &format!(
            "\n  app {number} gone {} {:?}{}",
            app.gone(),
            app.status,
            app.waits_for()
        );
    }
    for (number, centre) in world.centres.iter().enumerate() {
        text += &format!(
            "\n  centre {number} {:?} sessions {:?}",
            centre.service, centre.sessions
        );
    }
    text
}

/// Invariant 9: everybody has left, so nothing is left.
///
/// # Errors
/// Something is.
pub(super) fn baseline(world: &World) -> Result<(), String> {
    let Some(gateway) = &world.gateway else {
        return Err("9: the gateway is not running".into());
    };
    let usage = gateway.pipeline.core().usage();
    let waiting = gateway.pipeline.waiting();
    match usage.is_baseline() && waiting == 0 {
        true => Ok(()),
        false => Err(format!(
            "9: all is settled, and still: {usage:?}, {waiting} frames wait"
        )),
    }
}

/// Invariants 2, 3, 4, 6 and 10, when all is over: the three books against each other.
///
/// # Errors
/// They disagree.
pub(super) fn account(world: &World) -> Result<(), String> {
    for (tx, entry) in &world.book.entries {
        let fits = match entry.outcome {
            Outcome::None => false,
            _ => entry.ends == entry.opens,
        };
        if !fits {
            return Err(format!(
                "2: transaction {tx} began {} times and ended {} times, last as {:?}",
                entry.opens, entry.ends, entry.outcome
            ));
        }
        let centre = &world.centres[entry.line as usize - 1];
        if centre.by_hand.contains(&entry.key) {
            continue;
        }
        if matches!(entry.outcome, Outcome::Unresolved | Outcome::Purged) {
            return Err(format!("2: transaction {tx} ended as {:?}", entry.outcome));
        }
        let received = centre.by_key.get(&entry.key).map(|at| &centre.ledger[*at]);
        journal_and_centre(*tx, entry, received)?;
    }
    for (number, deal) in world.deals.iter().enumerate() {
        application(world, number, deal)?;
    }
    for (line, centre) in world.centres.iter().enumerate() {
        if let Some(entry) = centre.ledger.iter().find(|entry| {
            world
                .book
                .newest(line_of(world, line), &entry.key)
                .is_none()
        }) {
            return Err(format!(
                "1: the centre has request {}, the journal has not",
                entry.sequence
            ));
        }
        totals(world, line)?;
    }
    Ok(())
}

fn journal_and_centre(
    tx: u64,
    entry: &super::book::Entry,
    received: Option<&Received>,
) -> Result<(), String> {
    let state = received.map(|received| received.state);
    let turnaround = received.is_some_and(|received| received.turnaround);
    let fits = match (entry.outcome, state) {
        (_, Some(State::Processing)) => turnaround || entry.outcome == Outcome::Unanswered,
        (Outcome::Delivered, Some(State::Approved | State::Refused | State::Abnormal)) => true,
        // A report that left, then the centre lost its sessions, and the application has it all the same.
        (Outcome::Delivered, _) => false,
        (Outcome::Cancelled, Some(State::Cancelled | State::Void | State::Abnormal)) => true,
        (Outcome::NotProcessed, None | Some(State::Abnormal)) => true,
        (Outcome::NotSent, None) => true,
        (Outcome::Unanswered, _) => entry.flags & 1 != 0,
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(format!(
            "3: transaction {tx}, sequence {}, ended as {:?}, at the centre it is {state:?}; faults {:?}",
            entry.sequence, entry.outcome, entry.faults
        )),
    }
}

fn application(world: &World, number: usize, deal: &super::app::Deal) -> Result<(), String> {
    let entry = world
        .book
        .newest(line_of(world, deal.line), &deal.key)
        .map(|(_, entry)| entry);
    let centre = &world.centres[deal.line];
    let received = centre.by_key.get(&deal.key).map(|at| &centre.ledger[*at]);
    let wrong = |why: &str| {
        Err(format!(
            "3: request {number}, transaction {:?}, was told {}; journal {:?}, centre {:?}, cancel ordered {}: {why}",
            entry.map(|entry| (entry.line, entry.sequence, entry.request)),
            match &deal.told {
                Told::Delivered(mti, _) => format!("RC_OK with {}", String::from_utf8_lossy(mti)),
                told => format!("{told:?}"),
            },
            entry.map(|entry| entry.outcome),
            received.map(|received| received.state),
            deal.cancel_ordered
        ))
    };
    match &deal.told {
        Told::Delivered(mti, data) => {
            let (Some(entry), Some(received)) = (entry, received) else {
                return wrong("RC_OK for what never was");
            };
            if entry.delivered == 0 {
                return wrong("RC_OK and no delivery on record");
            }
            if entry.outcome != Outcome::Delivered && !deal.cancel_ordered {
                return wrong("RC_OK and cancelled");
            }
            let same = received.report.get(43..47) == Some(&mti[..])
                && received.report.get(63..) == Some(&data[..]);
            if !same {
                return wrong("the report is not the one that the centre made");
            }
        }
        Told::Refused(code) if received.is_some() => {
            return wrong(&format!("refused with {code}, and the centre has it"));
        }
        Told::Nothing => return wrong("it was never told anything"),
        _ => {}
    }
    let undone = matches!(
        entry.map(|entry| entry.outcome),
        None | Some(
            Outcome::Cancelled | Outcome::NotProcessed | Outcome::NotSent | Outcome::Unanswered
        )
    );
    let abnormal = received.is_some_and(|received| received.state == State::Abnormal);
    if deal.cancelled && !undone && !abnormal {
        return wrong("a system cancel was answered with RC_OK");
    }
    Ok(())
}

/// Invariant 10: approvals that stand at the centre are those that were delivered, and so are their amounts.
fn totals(world: &World, line: usize) -> Result<(), String> {
    let id = line_of(world, line);
    let (count, sum) = world.centres[line].totals();
    let approved = |report: &[u8]| {
        Header::new(report)
            .ok()
            .and_then(|header| lookup(header.mti()))
            .is_some_and(|row| row.kind == Kind::Approval)
    };
    let delivered = world.book.entries.values().filter(|entry| {
        entry.line == id
            && entry.outcome == Outcome::Delivered
            && entry.flags & 1 == 0
            && approved(&entry.report)
    });
    let (ours, our_sum) = delivered.fold((0, 0), |(count, sum), entry| {
        let amount = codec::cafis::section::Section11::of(&entry.image);
        (
            count + 1,
            sum + u64::from(
                amount
                    .ok()
                    .and_then(|section| section.amount())
                    .unwrap_or(0),
            ),
        )
    });
    match (count, sum) == (ours, our_sum) {
        true => Ok(()),
        false => Err(format!(
            "10: line {line}: {count} approvals of {sum} stand at the centre, {ours} of {our_sum} were delivered"
        )),
    }
}
