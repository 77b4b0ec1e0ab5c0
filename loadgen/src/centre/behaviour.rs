//! How a centre misbehaves on purpose: rules that match messages and what they do to the answer.
//!
//! While no rule is in force a message costs one test of [`Behaviour::is_plain`]. Rules come from options, from a
//! scenario file and from the control port, all in the same words; every rule has a name, so that it can be replaced
//! and taken away.

use serde::Deserialize;
use thiserror::Error;

use codec::cafis::mti::Mti;
use codec::cafis::section::TransactionKey;

use super::checks::Code;

/// What a rule does to the message it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Lost on the way in: the centre never sees it.
    Deaf,
    /// Processed as always, and the answer is lost on the way out.
    Silent,
    /// The issuer takes this long, milliseconds from and to. A cancel in the meantime wins.
    Delay(u64, u64),
    /// The answer is on its way for this long, milliseconds from and to: it comes whatever happens meanwhile.
    Late(u64, u64),
    /// The issuer refuses, with this code.
    Refuse(Code),
    /// The centre reports this code: 8970, or in 8950/8960 where the code rides there.
    Code(Code),
    /// The answer goes out twice.
    Duplicate,
    /// The answer carries the next originator sequence instead of its own.
    WrongSequence,
    /// A second answer goes out, on a route that asked for nothing.
    Unmatched,
    /// The answer says a trailer length that is not a number.
    BadTrailer,
    /// The answer says a trailer length of 962 to 999, and is that long.
    LongTrailer(u16),
    /// Half of the answer goes out and the session says no more; `true`: and is closed.
    HalfFrame(bool),
    /// The answer goes out on another session.
    OtherSession,
    /// The session is closed instead of an answer.
    Cut,
}

/// Which messages a rule is for. What is absent matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct When {
    /// Position of the line.
    pub line: Option<u16>,
    /// Message types; empty for all.
    pub mtis: Vec<Mti>,
    /// Terminal id.
    pub terminal: Option<[u8; 13]>,
    /// Terminal sequence.
    pub terminal_seq: Option<[u8; 5]>,
    /// Share of the matching messages, as a bound for 32 random bits; absent for all.
    pub share: Option<u32>,
    /// Every nth of the matching messages.
    pub nth: Option<u64>,
    /// How many messages more.
    pub left: Option<u64>,
}

/// A rule in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name; another rule of this name replaces it.
    pub name: String,
    /// For which messages.
    pub when: When,
    /// What it does.
    pub effect: Effect,
    matched: u64,
}

impl Rule {
    /// A rule that has matched nothing yet.
    pub fn new(name: impl Into<String>, when: When, effect: Effect) -> Rule {
        Rule {
            name: name.into(),
            when,
            effect,
            matched: 0,
        }
    }
}

/// What the rules decide for one message. Several rules may add to it; of two of a kind the later one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// See [`Effect::Deaf`].
    pub deaf: bool,
    /// See [`Effect::Silent`].
    pub silent: bool,
    /// See [`Effect::Delay`]; nanoseconds.
    pub delay_ns: u64,
    /// See [`Effect::Late`]; nanoseconds.
    pub late_ns: u64,
    /// See [`Effect::Refuse`].
    pub refuse: Option<Code>,
    /// See [`Effect::Code`].
    pub code: Option<Code>,
    /// What happens to the bytes of the answer.
    pub wire: Option<Effect>,
    /// See [`Effect::OtherSession`].
    pub other_session: bool,
    /// See [`Effect::Cut`].
    pub cut: bool,
}

/// What a rule may look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Position of the line.
    pub line: u16,
    /// Message type.
    pub mti: Mti,
    /// Transaction key, if it has one.
    pub key: Option<TransactionKey>,
}

/// The rules in force, and the chance they share.
#[derive(Debug, Default)]
pub struct Behaviour {
    rules: Vec<Rule>,
    random: u64,
}

impl Behaviour {
    /// No rules; `seed` decides every percentage.
    pub fn new(seed: u64) -> Behaviour {
        Behaviour {
            rules: Vec::new(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Whether no rule is in force.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules in force.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Puts a rule in force, in the place of one of the same name.
    pub fn set(&mut self, rule: Rule) {
        self.rules.retain(|known| known.name != rule.name);
        self.rules.push(rule);
    }

    /// Takes away the rule of this name; says whether there was one.
    pub fn clear(&mut self, name: &str) -> bool {
        let before = self.rules.len();
        self.rules.retain(|known| known.name != name);
        self.rules.len() < before
    }

    /// Takes away all rules.
    pub fn clear_all(&mut self) {
        self.rules.clear();
    }

    /// What the rules in force decide for a message.
    pub fn decide(&mut self, subject: &Subject) -> Decision {
        let mut decision = Decision::default();
        let Behaviour { rules, random } = self;
        for rule in rules.iter_mut() {
            if !matches(&mut rule.when, &mut rule.matched, subject, random) {
                continue;
            }
            match rule.effect {
                Effect::Deaf => decision.deaf = true,
                Effect::Silent => decision.silent = true,
                Effect::Delay(from, to) => decision.delay_ns = between(from, to, random),
                Effect::Late(from, to) => decision.late_ns = between(from, to, random),
                Effect::Refuse(code) => decision.refuse = Some(code),
                Effect::Code(code) => decision.code = Some(code),
                Effect::OtherSession => decision.other_session = true,
                Effect::Cut => decision.cut = true,
                wire => decision.wire = Some(wire),
            }
        }
        rules.retain(|rule| rule.when.left != Some(0));
        decision
    }
}

fn matches(when: &mut When, matched: &mut u64, subject: &Subject, random: &mut u64) -> bool {
    let fits = when.line.is_none_or(|line| line == subject.line)
        && (when.mtis.is_empty() || when.mtis.contains(&subject.mti))
        && when
            .terminal
            .is_none_or(|id| subject.key.is_some_and(|key| key.terminal_id() == id))
        && when
            .terminal_seq
            .is_none_or(|seq| subject.key.is_some_and(|key| key.terminal_seq() == seq))
        && when
            .share
            .is_none_or(|share| (next(random) >> 32) < u64::from(share));
    if !fits || when.left == Some(0) {
        return false;
    }
    *matched += 1;
    if when.nth.is_some_and(|nth| !matched.is_multiple_of(nth)) {
        return false;
    }
    if let Some(left) = &mut when.left {
        *left -= 1;
    }
    true
}

/// xorshift64*: enough for shares and delays, and the same for the same seed.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

fn between(from_ms: u64, to_ms: u64, random: &mut u64) -> u64 {
    const NS_PER_MS: u64 = 1_000_000;
    let spread = to_ms.saturating_sub(from_ms).saturating_mul(NS_PER_MS);
    let extra = if spread == 0 {
        0
    } else {
        next(random) % (spread + 1)
    };
    from_ms.saturating_mul(NS_PER_MS).saturating_add(extra)
}

/// A percentage as a bound for 32 random bits; `None` for all.
pub fn share(percent: f64) -> Result<Option<u32>, RuleError> {
    if !(0.0..=100.0).contains(&percent) {
        return Err(RuleError::Percent { percent });
    }
    Ok((percent < 100.0).then_some((percent / 100.0 * 4_294_967_296.0) as u32))
}

/// A scenario: rules from the start, and commands at given times.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Rules in force from the start.
    #[serde(default, rename = "rule")]
    pub rules: Vec<RuleSpec>,
    /// Commands of the control port, each at its time.
    #[serde(default, rename = "at")]
    pub commands: Vec<TimedCommand>,
}

/// A command and when it is to be given.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedCommand {
    /// Milliseconds after all sessions were up for the first time.
    pub ms: u64,
    /// The command, in the words of the control port.
    pub command: String,
}

/// A rule as it is written in a scenario file, or after the command `rule`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Name; the effect's word if absent.
    pub name: Option<String>,
    /// The effect's word: deaf, silent, delay, late, refuse, code, duplicate, wrong-seq, unmatched, bad-trailer,
    /// long-trailer, half-frame, half-frame-close, other-session, cut.
    pub effect: String,
    /// Name of the line.
    pub line: Option<String>,
    /// Message type.
    pub mti: Option<u16>,
    /// Terminal id, 13 characters.
    pub terminal: Option<String>,
    /// Terminal sequence.
    pub terminal_seq: Option<u32>,
    /// Share of the messages, in percent.
    pub percent: Option<f64>,
    /// Every nth message.
    pub nth: Option<u64>,
    /// How many messages.
    pub count: Option<u64>,
    /// Milliseconds, for delay and late.
    pub ms: Option<u64>,
    /// Milliseconds at most, for a uniform delay from `ms` to here.
    pub ms_to: Option<u64>,
    /// Error code, for refuse and code.
    pub code: Option<String>,
    /// Trailer length, for long-trailer.
    pub length: Option<u16>,
}

/// Why a rule cannot be put in force.
#[derive(Debug, Error, PartialEq)]
pub enum RuleError {
    /// An effect nobody knows.
    #[error("'{effect}' is no effect of a rule")]
    UnknownEffect {
        /// The word.
        effect: String,
    },
    /// A line nobody plays.
    #[error("no line is called '{line}'")]
    UnknownLine {
        /// The name.
        line: String,
    },
    /// The effect needs something that is not there, or is not right.
    #[error("{effect} needs {needs}")]
    Needs {
        /// The effect.
        effect: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// A share out of range.
    #[error("{percent} is no percentage from 0 to 100")]
    Percent {
        /// The number.
        percent: f64,
    },
    /// A terminal id or sequence that cannot be one.
    #[error("'{value}' is no terminal id of 13 characters")]
    Terminal {
        /// The text.
        value: String,
    },
    /// A zero where counting starts at 1.
    #[error("nth counts from 1")]
    Nth,
}

impl RuleSpec {
    /// The rule, with `line_of` giving the position of a named line.
    pub fn rule(&self, line_of: impl Fn(&str) -> Option<u16>) -> Result<Rule, RuleError> {
        let line = match &self.line {
            Some(name) => {
                Some(line_of(name).ok_or_else(|| RuleError::UnknownLine { line: name.clone() })?)
            }
            None => None,
        };
        if self.nth == Some(0) {
            return Err(RuleError::Nth);
        }
        let terminal = match &self.terminal {
            Some(text) => {
                let bytes = text.as_bytes().try_into();
                Some(bytes.map_err(|_| RuleError::Terminal {
                    value: text.clone(),
                })?)
            }
            None => None,
        };
        let when = When {
            line,
            mtis: self.mti.map(Mti).into_iter().collect(),
            terminal,
            terminal_seq: self.terminal_seq.map(terminal_seq),
            share: self.percent.map(share).transpose()?.flatten(),
            nth: self.nth,
            left: self.count,
        };
        let name = self.name.clone().unwrap_or_else(|| self.effect.clone());
        Ok(Rule::new(name, when, self.effect()?))
    }

    fn effect(&self) -> Result<Effect, RuleError> {
        let code = |effect| {
            let known = self.code.as_deref().and_then(|text| text.parse().ok());
            known.ok_or(RuleError::Needs {
                effect,
                needs: "a code such as C12 or G54",
            })
        };
        let time = |effect| {
            let from = self.ms.ok_or(RuleError::Needs {
                effect,
                needs: "ms",
            })?;
            Ok((from, self.ms_to.unwrap_or(from)))
        };
        Ok(match self.effect.as_str() {
            "deaf" => Effect::Deaf,
            "silent" => Effect::Silent,
            "delay" => time("delay").map(|(from, to)| Effect::Delay(from, to))?,
            "late" => time("late").map(|(from, to)| Effect::Late(from, to))?,
            "refuse" => Effect::Refuse(code("refuse")?),
            "code" => Effect::Code(code("code")?),
            "duplicate" => Effect::Duplicate,
            "wrong-seq" => Effect::WrongSequence,
            "unmatched" => Effect::Unmatched,
            "bad-trailer" => Effect::BadTrailer,
            "long-trailer" => {
                let length =
                    Some(self.length.unwrap_or(962)).filter(|length| (962..=999).contains(length));
                let needs = RuleError::Needs {
                    effect: "long-trailer",
                    needs: "a length from 962 to 999",
                };
                Effect::LongTrailer(length.ok_or(needs)?)
            }
            "half-frame" => Effect::HalfFrame(false),
            "half-frame-close" => Effect::HalfFrame(true),
            "other-session" => Effect::OtherSession,
            "cut" => Effect::Cut,
            other => {
                return Err(RuleError::UnknownEffect {
                    effect: other.to_owned(),
                });
            }
        })
    }
}

fn terminal_seq(number: u32) -> [u8; 5] {
    let mut digits = [b'0'; 5];
    codec::cafis::field::put_number(&mut digits, number.min(99_999));
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(mti: u16) -> Subject {
        let key = TransactionKey(*b"991130123459900000100123");
        Subject {
            line: 0,
            mti: Mti(mti),
            key: Some(key),
        }
    }

    /// A scenario's rules match by type, terminal, sequence, nth and count, and are gone when their count is used up.
    #[test]
    fn rules_match_what_they_say() {
        let text = r#"
            [[rule]]
            effect = "silent"
            mti = 3110
            terminal = "1234599000001"
            terminal_seq = 123
            nth = 2
            count = 1
            [[at]]
            ms = 3000
            command = "silent on"
        "#;
        let scenario: Scenario = toml::from_str(text).expect("a scenario");
        assert_eq!(scenario.commands[0].ms, 3000);
        let mut behaviour = Behaviour::new(7);
        for rule in &scenario.rules {
            behaviour.set(rule.rule(|_| None).expect("a rule"));
        }
        // The key's bytes: date, terminal, sequence.
        let key = TransactionKey(*b"991130123459900000100123");
        assert_eq!(
            (key.terminal_id(), key.terminal_seq()),
            (*b"1234599000001", *b"00123")
        );
        assert!(!behaviour.decide(&subject(3210)).silent, "another type");
        assert!(!behaviour.decide(&subject(3110)).silent, "the first");
        assert!(behaviour.decide(&subject(3110)).silent, "the second");
        assert!(behaviour.is_plain(), "its count is used up");
    }

    /// A share is kept within what chance allows, and the same seed gives the same choice.
    #[test]
    fn shares_are_kept_and_repeat() {
        let run = || {
            let mut behaviour = Behaviour::new(42);
            let when = When {
                share: share(10.0).expect("a share"),
                ..When::default()
            };
            behaviour.set(Rule::new("refuse", when, Effect::Refuse(Code(*b"G54"))));
            (0..10_000)
                .filter(|_| behaviour.decide(&subject(3110)).refuse.is_some())
                .count()
        };
        assert_eq!(run(), run());
        assert!((850..1150).contains(&run()), "{} of 10000", run());
    }

    /// What is wrong with a rule is named.
    #[test]
    fn wrong_rules_are_named() {
        let wrong = |text: &str| {
            let spec: RuleSpec = toml::from_str(text).expect("toml");
            spec.rule(|_| None).expect_err("wrong").to_string()
        };
        assert_eq!(wrong("effect = 'sulk'"), "'sulk' is no effect of a rule");
        assert_eq!(
            wrong("effect = 'silent'\nline = 'C09'"),
            "no line is called 'C09'"
        );
        assert_eq!(wrong("effect = 'delay'"), "delay needs ms");
        assert_eq!(
            wrong("effect = 'code'\ncode = '12'"),
            "code needs a code such as C12 or G54"
        );
        assert_eq!(
            wrong("effect = 'cut'\npercent = 101.0"),
            "101 is no percentage from 0 to 100"
        );
        assert_eq!(
            wrong("effect = 'cut'\nterminal = '123'"),
            "'123' is no terminal id of 13 characters"
        );
    }
}
