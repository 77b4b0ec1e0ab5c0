//! The words of the control port: what a test, a demo or an operator may order while the centre runs.

use std::path::Path;

use codec::cafis::mti::Mti;

use super::behaviour::{Effect, Rule, RuleSpec, When, share};
use super::checks::{Code, IssuerState};
use super::ledger_file;
use super::sim::{Action, Sim};

/// What `help` says.
pub const HELP: &str = "\
LINE is a line's name; without it an order is for all lines. N is how many messages.
silent on|off [LINE]      process everything, answer nothing
deaf on|off [LINE]        receive nothing at all
delay MS[-MS]|off [LINE]  the issuer takes this long; a cancel in the meantime wins
late MS[-MS]|off [LINE]   the report travels this long and comes whatever happens
refuse PERCENT CODE|off   xx50 with an issuer's code
code8970 CODE [PERCENT] [MTI]|off    8970 to requests
fault-code CODE [PERCENT] [MTI]|off  8970 to fault commands; C13 C14 C50 C35 ride in 8950/8960
issuer up|no-service|busy|failed|ended|silent [LINE]   how the issuer stands
congested on|off [LINE]   C33 to everything
drop N | lose N           the next N answers, or messages, are lost
duplicate|wrong-seq|unmatched|bad-trailer [N]   spoil the next N answers (1)
long-trailer [LENGTH]     the next answer is 962 to 999 bytes long
half-frame [close]        half of the next answer, then nothing more on that session
other-session on|off      reports on another session than their request
split BYTES | merge FRAMES   cut or gather frames on the wire; 0 for neither
cut [all|LINE]            close one session, or all
excess [LINE]             connect once more than agreed
start|notice|end|counter|check [LINE]   send 0010, 0610, 0910, 4110, 9210
request MTI [LINE]        an incoming message: 3110 3210 3310 3410 3510 6110, or 8910-8940 for the last one
rule KEY=VALUE ...        any rule of a scenario; rule off NAME takes one away
rules | clear             show the rules; take all away
sequence N                the next number of the centre
stats | lines             counters; state of the lines
ledger FILE               write the ledger as it stands
quit                      stop";

type Reply = Result<String, String>;

impl Sim {
    /// Obeys one order and says what came of it: `ok ...` or `error ...`; several lines for lists.
    pub fn command(&mut self, text: &str) -> String {
        let words: Vec<&str> = text.split_whitespace().collect();
        let Some((&verb, rest)) = words.split_first() else {
            return "error an empty order; try help".into();
        };
        match self.obey(verb, rest) {
            Ok(reply) if reply.is_empty() => "ok".into(),
            Ok(reply) => format!("ok {reply}"),
            Err(reason) => format!("error {reason}"),
        }
    }

    fn obey(&mut self, verb: &str, rest: &[&str]) -> Reply {
        match verb {
            "silent" => self.switch(verb, rest, Effect::Silent),
            "deaf" => self.switch(verb, rest, Effect::Deaf),
            "other-session" => self.switch(verb, rest, Effect::OtherSession),
            "delay" | "late" => self.slow(verb, rest),
            "refuse" => self.refuse(rest),
            "code8970" => self.code(verb, rest, &REQUESTS),
            "fault-code" => self.code(verb, rest, &FAULTS),
            "drop" => self.next_ones(verb, rest, Effect::Silent),
            "lose" => self.next_ones(verb, rest, Effect::Deaf),
            "duplicate" => self.next_ones(verb, rest, Effect::Duplicate),
            "wrong-seq" => self.next_ones(verb, rest, Effect::WrongSequence),
            "unmatched" => self.next_ones(verb, rest, Effect::Unmatched),
            "bad-trailer" => self.next_ones(verb, rest, Effect::BadTrailer),
            "long-trailer" => self.long_trailer(rest),
            "half-frame" => self.next_ones(verb, &[], Effect::HalfFrame(rest == ["close"])),
            "issuer" => self.issuer(rest),
            "congested" => self.congested(rest),
            "split" | "merge" => self.cut_frames(verb, rest),
            "cut" => self.cut(rest),
            "excess" => self.excess(rest),
            "start" | "notice" | "end" | "counter" | "check" => self.service_order(verb, rest),
            "request" => self.request_order(rest),
            "rule" => self.rule(rest),
            "clear" => {
                self.behaviour.clear_all();
                Ok(String::new())
            }
            _ => self.ask(verb, rest),
        }
    }

    /// The orders that change nothing about the traffic.
    fn ask(&mut self, verb: &str, rest: &[&str]) -> Reply {
        match (verb, rest) {
            ("help", _) => Ok(format!("orders\n{HELP}")),
            ("rules", _) => {
                let lines = self
                    .behaviour
                    .rules()
                    .iter()
                    .map(|rule| format!("\n{rule:?}"));
                Ok(format!(
                    "{} rules{}",
                    self.behaviour.rules().len(),
                    lines.collect::<String>()
                ))
            }
            ("sequence", [number]) => {
                let known = number.parse().ok().filter(|n| (1..=999_999).contains(n));
                self.set_sequences(known.ok_or("a sequence is 1 to 999999")?);
                Ok(String::new())
            }
            ("stats", _) => {
                let open = self.lines.iter().filter(|line| line.is_open()).count();
                let up: usize = self.lines.iter().map(|line| line.up).sum();
                Ok(format!(
                    "{} open_lines={open} sessions_up={up}",
                    self.stats()
                ))
            }
            ("lines", _) => {
                let rows = self.lines.iter().map(|line| {
                    let waiting = line
                        .outward
                        .iter()
                        .filter(|route| route.waiting.is_some())
                        .count();
                    let name = &line.config.name;
                    format!(
                        "\n{name} service={:?} up={} waiting={waiting}",
                        line.service, line.up
                    )
                });
                Ok(format!(
                    "{} lines{}",
                    self.lines.len(),
                    rows.collect::<String>()
                ))
            }
            ("ledger", [file]) => {
                ledger_file::write(Path::new(file), self.ledger(), &self.line_names())
                    .map_err(|error| format!("{file}: {error}"))?;
                Ok(format!("{} entries", self.ledger().entries().len()))
            }
            ("quit", _) => {
                self.quit = true;
                Ok(String::new())
            }
            _ => Err(format!(
                "no order '{verb}' with {} words behind it; try help",
                rest.len()
            )),
        }
    }

    /// The lines an order is for: the one named, or all.
    fn chosen(&self, name: Option<&&str>) -> Result<Vec<usize>, String> {
        match name {
            None | Some(&"all") => Ok((0..self.lines.len()).collect()),
            Some(name) => {
                let found = self
                    .lines
                    .iter()
                    .position(|line| line.config.name == **name);
                Ok(vec![
                    found.ok_or_else(|| format!("no line is called '{name}'"))?,
                ])
            }
        }
    }

    fn when_line(&self, name: Option<&&str>) -> Result<When, String> {
        let lines = self.chosen(name)?;
        let line = name
            .filter(|name| **name != "all")
            .and_then(|_| lines.first());
        Ok(When {
            line: line.map(|&at| at as u16),
            ..When::default()
        })
    }

    fn switch(&mut self, verb: &str, rest: &[&str], effect: Effect) -> Reply {
        let when = self.when_line(rest.get(1))?;
        let name = rule_name(verb, rest.get(1));
        match rest.first() {
            Some(&"on") => self.behaviour.set(Rule::new(name, when, effect)),
            Some(&"off") => self.take_away(verb, rest.get(1)),
            _ => return Err(format!("{verb} on|off [LINE]")),
        }
        Ok(String::new())
    }

    /// `off` without a line ends the order for every line, however it began.
    fn take_away(&mut self, verb: &str, line: Option<&&str>) {
        self.behaviour.clear(&rule_name(verb, line));
        if line.is_none() {
            let prefix = format!("{verb}:");
            let names: Vec<String> = self
                .behaviour
                .rules()
                .iter()
                .map(|rule| rule.name.clone())
                .collect();
            for name in names.iter().filter(|name| name.starts_with(&prefix)) {
                self.behaviour.clear(name);
            }
        }
    }

    fn slow(&mut self, verb: &str, rest: &[&str]) -> Reply {
        let usage = || format!("{verb} MS[-MS]|off [LINE]");
        let when = self.when_line(rest.get(1))?;
        match rest.first() {
            Some(&"off") => self.take_away(verb, rest.get(1)),
            Some(time) => {
                let (from, to) = time.split_once('-').unwrap_or((time, time));
                let (Ok(from), Ok(to)) = (from.parse(), to.parse()) else {
                    return Err(usage());
                };
                let effect = if verb == "late" {
                    Effect::Late(from, to)
                } else {
                    Effect::Delay(from, to)
                };
                self.behaviour
                    .set(Rule::new(rule_name(verb, rest.get(1)), when, effect));
            }
            None => return Err(usage()),
        }
        Ok(String::new())
    }

    fn refuse(&mut self, rest: &[&str]) -> Reply {
        if rest == ["off"] {
            self.behaviour.clear("refuse");
            return Ok(String::new());
        }
        let [percent, code] = rest else {
            return Err("refuse PERCENT CODE|off".into());
        };
        let when = When {
            share: bound(percent)?,
            mtis: REQUESTS.to_vec(),
            ..When::default()
        };
        self.behaviour
            .set(Rule::new("refuse", when, Effect::Refuse(parse_code(code)?)));
        Ok(String::new())
    }

    fn code(&mut self, verb: &str, rest: &[&str], types: &[Mti]) -> Reply {
        if rest == ["off"] {
            self.behaviour.clear(verb);
            return Ok(String::new());
        }
        let (Some(code), true) = (rest.first(), rest.len() <= 3) else {
            return Err(format!("{verb} CODE [PERCENT] [MTI]|off"));
        };
        let mtis = match rest.get(2) {
            Some(text) => {
                let mti = Mti(text
                    .parse()
                    .map_err(|_| format!("'{text}' is no message type"))?);
                let known = types.contains(&mti);
                vec![
                    known
                        .then_some(mti)
                        .ok_or_else(|| format!("{verb} is not for {mti}"))?,
                ]
            }
            None => types.to_vec(),
        };
        let when = When {
            share: bound(rest.get(1).unwrap_or(&"100"))?,
            mtis,
            ..When::default()
        };
        self.behaviour
            .set(Rule::new(verb, when, Effect::Code(parse_code(code)?)));
        Ok(String::new())
    }

    fn next_ones(&mut self, verb: &str, rest: &[&str], effect: Effect) -> Reply {
        let text = rest.first().unwrap_or(&"1");
        let left = text
            .parse()
            .map_err(|_| format!("{verb}: '{text}' is no number"))?;
        let when = When {
            left: Some(left),
            mtis: [&REQUESTS[..], &FAULTS].concat(),
            ..When::default()
        };
        self.behaviour.set(Rule::new(verb, when, effect));
        Ok(String::new())
    }

    fn long_trailer(&mut self, rest: &[&str]) -> Reply {
        let length = rest.first().map_or(Ok(962), |text| text.parse()).ok();
        let length = length.filter(|length| (962..=999).contains(length));
        let effect = Effect::LongTrailer(length.ok_or("a long trailer is 962 to 999")?);
        self.next_ones("long-trailer", &[], effect)
    }

    fn issuer(&mut self, rest: &[&str]) -> Reply {
        let state = match rest.first() {
            Some(&"up") => IssuerState::Up,
            Some(&"no-service") => IssuerState::NoService,
            Some(&"busy") => IssuerState::Busy,
            Some(&"failed") => IssuerState::Failed,
            Some(&"ended") => IssuerState::Ended,
            Some(&"silent") => IssuerState::Silent,
            _ => return Err("issuer up|no-service|busy|failed|ended|silent [LINE]".into()),
        };
        for line in self.chosen(rest.get(1))? {
            self.lines[line].issuer = state;
        }
        Ok(String::new())
    }

    fn congested(&mut self, rest: &[&str]) -> Reply {
        let on = match rest.first() {
            Some(&"on") => true,
            Some(&"off") => false,
            _ => return Err("congested on|off [LINE]".into()),
        };
        for line in self.chosen(rest.get(1))? {
            self.lines[line].congested = on;
        }
        Ok(String::new())
    }

    fn cut_frames(&mut self, verb: &str, rest: &[&str]) -> Reply {
        let number = match rest {
            ["off"] => 0,
            [text] => text.parse().map_err(|_| format!("'{text}' is no number"))?,
            _ => return Err(format!("{verb} NUMBER|off")),
        };
        if verb == "split" {
            self.cutting.split = number;
        } else {
            self.cutting.merge = number;
        }
        Ok(String::new())
    }

    fn cut(&mut self, rest: &[&str]) -> Reply {
        let lines = self.chosen(rest.first())?;
        let all = !rest.is_empty();
        let up = (0..self.sessions.len() as u32).filter(|&session| {
            let state = &self.sessions[session as usize];
            state.up && lines.contains(&usize::from(state.line))
        });
        let sessions: Vec<u32> = up.take(if all { usize::MAX } else { 1 }).collect();
        self.actions
            .extend(sessions.iter().map(|&session| Action::Close(session)));
        Ok(format!("{} sessions", sessions.len()))
    }

    fn excess(&mut self, rest: &[&str]) -> Reply {
        for line in self.chosen(rest.first())? {
            let session = self.add_extra(line);
            self.actions.push(Action::Connect(session));
        }
        Ok(String::new())
    }

    fn service_order(&mut self, verb: &str, rest: &[&str]) -> Reply {
        let mut sent = 0;
        for line in self.chosen(rest.first())? {
            sent += usize::from(match verb {
                "start" => self.start(line),
                "notice" => self.end_notice(line),
                "end" => self.end(line),
                "counter" => self.counter(line),
                _ => self.line_check(line),
            });
        }
        if sent == 0 {
            Err("no session is up".into())
        } else {
            Ok(format!("{sent} lines"))
        }
    }

    fn request_order(&mut self, rest: &[&str]) -> Reply {
        let text = rest.first().ok_or("request MTI [LINE]")?;
        let mti = Mti(text
            .parse()
            .map_err(|_| format!("'{text}' is no message type"))?);
        let mut routes = Vec::new();
        for line in self.chosen(rest.get(1))? {
            let route = self
                .incoming(line, mti)
                .map_err(|error| error.to_string())?;
            routes.push(format!("{route:04}"));
        }
        Ok(format!("routes {}", routes.join(" ")))
    }

    fn rule(&mut self, rest: &[&str]) -> Reply {
        if let ["off", name] = rest {
            let known = self.behaviour.clear(name);
            return if known {
                Ok(String::new())
            } else {
                Err(format!("no rule is called '{name}'"))
            };
        }
        let mut text = String::new();
        for word in rest {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("'{word}' is no KEY=VALUE"))?;
            // Terminal ids are digits and still text; everything else says by its looks what it is.
            let number = key != "terminal" && value.parse::<f64>().is_ok();
            let value = match (number, key) {
                (true, "percent") => format!("{:?}", value.parse::<f64>().unwrap_or(0.0)),
                (true, _) => value.to_owned(),
                (false, _) => format!("{value:?}"),
            };
            text.push_str(&format!("{key} = {value}\n"));
        }
        let spec: RuleSpec = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
        let line_of = |name: &str| {
            let found = self.lines.iter().position(|line| line.config.name == name);
            found.map(|at| at as u16)
        };
        let rule = spec.rule(line_of).map_err(|error| error.to_string())?;
        let name = rule.name.clone();
        self.behaviour.set(rule);
        Ok(name)
    }
}

const REQUESTS: [Mti; 7] = [
    Mti::AUTH_REQUEST,
    Mti::SALE_REQUEST,
    Mti::BUSINESS_CANCEL_REQUEST,
    Mti::ENQUIRY_REQUEST,
    Mti::OTHER_REQUEST,
    Mti::LOST_CARD_REQUEST,
    Mti::COUNTER_ENQUIRY,
];
const FAULTS: [Mti; 4] = [
    Mti::CANCEL,
    Mti::CANCEL_AGAIN,
    Mti::CANCEL_CONFIRM,
    Mti::CANCEL_CONFIRM_AGAIN,
];

fn rule_name(verb: &str, line: Option<&&str>) -> String {
    line.map_or_else(|| verb.to_owned(), |line| format!("{verb}:{line}"))
}

fn parse_code(text: &str) -> Result<Code, String> {
    text.parse()
        .map_err(|()| format!("'{text}' is no code such as C12 or G54"))
}

fn bound(percent: &str) -> Result<Option<u32>, String> {
    let number = percent
        .parse()
        .map_err(|_| format!("'{percent}' is no percentage"))?;
    share(number).map_err(|error| error.to_string())
}
