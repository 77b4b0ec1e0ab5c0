//! A record as text: number, time in Japan, line, transaction and fact, then the fact's fields, then its frames with
//! header and sections by name. Frames are masked before anything of them is looked at.

use std::fmt::{Debug, Display};
use std::io::{self, Write};

use codec::cafis::field::Field;
use codec::cafis::header::{self, Header};
use codec::cafis::mask::{MaskingMode, mask_for_display};
use codec::cafis::mti::{Mti, lookup};
use codec::cafis::section::{SECTION_10, SECTION_11, SectionKind, sections};
use engine::core::cascade::Verdict;
use engine::core::date::date_of;
use engine::core::fact::{Fact, FactError};
use engine::core::report::Drop;
use engine::core::service::Service;
use engine::core::tx::{Cause, FLAG_ID, FLAG_TURNAROUND, Outcome, Phase};
use engine::journal::RecordNo;
use engine::journal::layout::RecordFields;

use crate::status::date_text;

/// Japan standard time is nine hours ahead of UTC, the whole year.
const JST_S: u64 = 9 * 3600;

/// Writes records.
pub struct Renderer<W> {
    out: W,
    mode: MaskingMode,
    raw: bool,
    masked: Vec<u8>,
}

/// A fact taken apart: its fields, and its frames with their names.
#[derive(Default)]
struct Parts<'a> {
    raw: bool,
    fields: Vec<(&'static str, String)>,
    frames: Vec<(&'static str, &'a [u8])>,
}

impl<W: Write> Renderer<W> {
    /// Writes to `out`; `raw` as `--raw-facts` means it.
    pub fn new(out: W, mode: MaskingMode, raw: bool) -> Self {
        Renderer {
            out,
            mode,
            raw,
            masked: Vec::new(),
        }
    }

    /// Writes a line of text.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Writes a record.
    pub fn record(
        &mut self,
        shard: u32,
        number: RecordNo,
        fields: &RecordFields,
        fact: Result<Fact<'_>, FactError>,
    ) -> io::Result<()> {
        let kind = Fact::KINDS.iter().find(|(kind, _)| *kind == fields.kind);
        let name = kind.map_or("unknown fact", |(_, name)| name);
        write!(
            self.out,
            "{number}  {}  shard {shard}",
            time(fields.wall_ns)
        )?;
        for (what, value) in [
            ("line", u64::from(fields.line)),
            ("tx", fields.tx),
            ("trace", fields.trace),
        ] {
            if value != 0 {
                write!(self.out, "  {what} {value}")?;
            }
        }
        writeln!(self.out, "  {name}")?;
        if self.raw {
            writeln!(
                self.out,
                "    kind={} version={} epoch={} payload={} bytes",
                fields.kind, fields.version, fields.epoch, fields.length
            )?;
        }
        let parts = match fact {
            Ok(fact) => Parts::of(&fact, self.raw),
            Err(error) => return writeln!(self.out, "    {error}"),
        };
        if !parts.fields.is_empty() {
            let fields = parts.fields.iter();
            let text: Vec<String> = fields
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            writeln!(self.out, "    {}", text.join(" "))?;
        }
        for (name, frame) in parts.frames {
            self.frame(name, frame)?;
        }
        Ok(())
    }

    fn frame(&mut self, name: &str, frame: &[u8]) -> io::Result<()> {
        let mut masked = std::mem::take(&mut self.masked);
        masked.clear();
        mask_for_display(frame, self.mode, &mut masked);
        let written = if self.raw {
            writeln!(self.out, "    {name}={}", masked.escape_ascii())
        } else {
            self.masked_frame(name, &masked)
        };
        self.masked = masked;
        written
    }

    fn masked_frame(&mut self, name: &str, frame: &[u8]) -> io::Result<()> {
        let Ok(head) = Header::new(frame) else {
            return writeln!(
                self.out,
                "    {name}: no telegram, {} bytes: {}",
                frame.len(),
                frame.escape_ascii()
            );
        };
        let mti = head.mti();
        let meaning = lookup(mti).map_or("unknown message type", |row| row.name);
        writeln!(
            self.out,
            "    {name}: {mti} {meaning}, {} bytes",
            frame.len()
        )?;
        self.fields("header", &header::FIELDS, frame)?;
        for (kind, section) in sections(mti, header::data(frame)) {
            match kind {
                SectionKind::S1_0 => self.fields(kind.name(), &SECTION_10, section)?,
                SectionKind::S1_1 => self.fields(kind.name(), &SECTION_11, section)?,
                _ => writeln!(
                    self.out,
                    "      {:<8} '{}'",
                    kind.name(),
                    section.escape_ascii()
                )?,
            }
        }
        Ok(())
    }

    /// The fields of a header or section by name; `@` is left out, as every section ends in it.
    fn fields(&mut self, name: &str, fields: &[Field], bytes: &[u8]) -> io::Result<()> {
        write!(self.out, "      {name:<8}")?;
        for field in fields.iter().filter(|field| field.name != "end") {
            let value = bytes.get(field.offset..field.offset + field.width);
            let value = value.unwrap_or_default().trim_ascii_end();
            write!(self.out, " {}='{}'", field.name, value.escape_ascii())?;
        }
        writeln!(self.out)
    }
}

impl<'a> Parts<'a> {
    fn of(fact: &Fact<'a>, raw: bool) -> Parts<'a> {
        let mut parts = Parts {
            raw,
            ..Parts::default()
        };
        match fact {
            Fact::Booted(booted) => parts.put("boot", booted.boot),
            Fact::Stopped(stopped) => parts.put("boot", stopped.boot),
            Fact::Service(service) => parts.service(service.state),
            Fact::CutDateSet(set) => parts.date("date", set.date),
            Fact::ApiOpened(api) => parts.token(&api.token),
            Fact::ApiClosed(api) => parts.token(&api.token),
            Fact::Request(request) => {
                parts.put("route", request.route);
                parts.request(request.flags, request.sequence, request.cut_date);
                parts.token(&request.api);
                parts.put("request", request.request);
                parts.frame("image", request.image);
            }
            Fact::NotSent(not_sent) => parts.cause(not_sent.cause),
            Fact::Report(report) => parts.frame("report", report.frame),
            Fact::Delivered(delivered) => parts.put("request", delivered.request),
            Fact::Fault(fault) => {
                parts.put("mti", fault.mti);
                parts.put("route", fault.route);
                parts.put("sends", fault.sends);
                parts.cause(fault.cause);
                parts.put("congested", fault.congested);
            }
            Fact::FaultReport(report) => {
                parts.named(
                    "verdict",
                    report.verdict,
                    Verdict::from_byte(report.verdict),
                );
                parts.frame("report", report.frame);
            }
            Fact::Held(held) => {
                parts.put("next", held.next);
                parts.put("route", held.route);
                parts.cause(held.cause);
            }
            Fact::Escalated(escalated) => {
                parts.put("next", escalated.next);
                parts.cause(escalated.cause);
            }
            Fact::Ended(ended) => {
                parts.named("outcome", ended.outcome, Outcome::from_byte(ended.outcome));
            }
            Fact::LateReport(late) => parts.frame("report", late.frame),
            Fact::Dropped(dropped) => {
                parts.named("reason", dropped.reason, Drop::from_byte(dropped.reason));
                parts.frame("telegram", dropped.frame);
            }
            Fact::Answered(answered) => {
                parts.put("answer", Mti(answered.mti));
                parts.frame("telegram", answered.frame);
            }
            checkpoint => parts.checkpoint(checkpoint),
        }
        parts
    }

    /// The facts of a checkpoint.
    fn checkpoint(&mut self, fact: &Fact<'a>) {
        match fact {
            Fact::CheckpointBegin(begin) => {
                self.put("last_tx", begin.last_tx);
                self.put("boot", begin.boot);
            }
            Fact::CheckpointLine(line) => {
                self.service(line.state);
                self.date("cut_date", line.cut_date);
                for (date, sequence) in line.dates.iter().zip(line.sequences) {
                    if *date != 0 {
                        self.date("date", *date);
                        self.put("sequence", format_args!("{sequence:06}"));
                    }
                }
            }
            Fact::CheckpointApi(api) => {
                self.token(&api.token);
                self.put("highest", api.highest);
            }
            Fact::Open(open) => {
                self.named("phase", open.phase, Phase::from_byte(open.phase));
                self.cause(open.cause);
                self.put("route", open.route);
                self.request(open.flags, open.sequence, open.cut_date);
                self.put("fault", open.fault);
                self.put("sends", open.sends);
                self.put("congested", open.congested);
                self.token(&open.api);
                self.put("request", open.request);
                self.frame("image", open.image);
                if !open.report.is_empty() {
                    self.frame("report", open.report);
                }
            }
            Fact::CheckpointEnd(end) => self.put("facts", end.facts),
            // All others are taken apart before.
            _ => {}
        }
    }

    fn put(&mut self, name: &'static str, value: impl Display) {
        self.fields.push((name, value.to_string()));
    }

    fn frame(&mut self, name: &'static str, frame: &'a [u8]) {
        self.frames.push((name, frame));
    }

    fn named(&mut self, name: &'static str, byte: u8, value: Option<impl Debug>) {
        match value {
            Some(value) if !self.raw => self.put(name, format_args!("{value:?}")),
            _ => self.put(name, byte),
        }
    }

    fn service(&mut self, state: u8) {
        self.named("service", state, Service::from_byte(state));
    }

    fn cause(&mut self, cause: u8) {
        self.named("cause", cause, Cause::from_byte(cause));
    }

    fn date(&mut self, name: &'static str, date: u32) {
        if self.raw {
            self.put(name, date);
        } else {
            self.put(name, date_text(date));
        }
    }

    fn request(&mut self, flags: u16, sequence: u32, cut_date: u32) {
        self.put("sequence", format_args!("{sequence:06}"));
        self.date("cut_date", cut_date);
        if self.raw {
            return self.put("flags", flags);
        }
        for (bit, name) in [(FLAG_TURNAROUND, "turnaround"), (FLAG_ID, "iD")] {
            if flags & bit != 0 {
                self.put("kind", name);
            }
        }
    }

    /// A token resumes its session, so only enough of it is shown to tell sessions apart.
    fn token(&mut self, token: &[u8; 16]) {
        let [a, b, c, d, ..] = token;
        self.put("api", format_args!("{a:02x}{b:02x}{c:02x}{d:02x}.."));
    }
}

/// A wall time in Japan, to the microsecond.
fn time(wall_ns: u64) -> String {
    let seconds = wall_ns / 1_000_000_000 + JST_S;
    format!(
        "{} {:02}:{:02}:{:02}.{:06} JST",
        date_text(date_of(wall_ns)),
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        wall_ns / 1000 % 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time is shown as a clock in Japan shows it, over midnight too.
    #[test]
    fn times_are_of_japan() {
        assert_eq!(time(0), "1970-01-01 09:00:00.000000 JST");
        assert_eq!(
            time(1_795_618_799_123_456_789),
            "2026-11-25 23:59:59.123456 JST"
        );
        assert_eq!(
            time(1_795_618_800_000_000_000),
            "2026-11-26 00:00:00.000000 JST"
        );
    }
}
