//! Makes a configuration of Sekisho from an `fx_cf.cf` (`spec/fexics.md 6.6`, importer), with a report that leaves no
//! parameter unmentioned. `table` says which parameter becomes which key; what is more than a renaming (originator,
//! addresses, the API's port) is done here. CAFIS only: a CARDNET file is refused by name.
//!
//! The importer never guesses: a value it cannot take over is an error that says what to do, and the text it makes has
//! passed [`Config::parse`] before anybody sees it.

use std::net::IpAddr;
use std::path::Path;

use crate::cf::{self, Cf, Parameter};
use crate::{Config, Problem};

mod interconnect;
mod report;
mod table;
mod toml_text;

pub use report::{Entry, Report};

use table::{MAPPED, WITHOUT_COUNTERPART};
use toml_text::TomlText;

/// The name of the line that is made; a `.cf` knows no connection codes.
const LINE_NAME: &str = "cafis";

/// Where the configuration will lie.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The directory of the new `sekisho.toml`.
    pub out_dir: &'a Path,
    /// The data directory, if it is not to be `data` under `out_dir`.
    pub data_dir: Option<&'a Path>,
}

/// What an import made.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The text of `sekisho.toml`. It loads without errors.
    pub toml: String,
    /// What became of each parameter.
    pub report: Report,
}

/// Imports the bytes of an `fx_cf.cf`; `file_name` is what messages call it.
///
/// # Errors
/// Every reason why it cannot be taken over, with the lines of the `.cf` and the way out.
pub fn import_cf(
    bytes: &[u8],
    file_name: &str,
    target: Target<'_>,
) -> Result<Imported, Vec<Problem>> {
    let cf = cf::parse(bytes).map_err(|errors| grammar_problems(file_name, &errors))?;
    let mut importer = Importer::new(&cf, file_name);
    importer.centre();
    if importer.problems.is_empty() {
        importer.mapped();
        importer.originator();
        importer.socket_port();
        importer.interconnect();
        importer.leftovers();
    }
    importer.finish(target)
}

fn grammar_problems(file_name: &str, errors: &[cf::CfError]) -> Vec<Problem> {
    let problem = |error: &cf::CfError| {
        let text = error.to_string();
        // The line is a field of its own here.
        let message = text
            .split_once(": ")
            .map_or(text.as_str(), |(_, message)| message);
        Problem {
            file: file_name.to_owned(),
            line: error.line(),
            key: String::new(),
            message: message.to_owned(),
            way_out: "Correct this line, or compare it with a file that FEXICS reads".to_owned(),
        }
    };
    errors.iter().map(problem).collect()
}

struct Importer<'a> {
    cf: &'a Cf,
    file: &'a str,
    /// Whether a parameter was dealt with, by its place in the list.
    done: Vec<bool>,
    toml: TomlText,
    report: Report,
    problems: Vec<Problem>,
}

impl<'a> Importer<'a> {
    fn new(cf: &'a Cf, file: &'a str) -> Self {
        Self {
            cf,
            file,
            done: vec![false; cf.parameters.len()],
            toml: TomlText::new(file),
            report: Report::new(file),
            problems: Vec::new(),
        }
    }

    /// The file must be CAFIS's: by `SETTLEMENT_CENTER`, else by the sessions it describes.
    fn centre(&mut self) {
        let blocks_of = |path: &str| self.cf.blocks.iter().find(|block| block.path == path);
        let named = self.take("SYSTEM.SETTLEMENT_CENTER");
        let cardnet = blocks_of("INTERCONNECT.CARDNET");
        match named {
            Some(found) if found.value.eq_ignore_ascii_case("CAFIS") => {
                self.report.imported(found, "a CAFIS line");
            }
            Some(found) if found.value.eq_ignore_ascii_case("CARDNET") => self.cardnet(found.line),
            Some(found) => {
                let message = format!("{:?} is none of CARDNET, CAFIS", found.value);
                self.problem(
                    found.line,
                    &found.path,
                    message,
                    "Write CAFIS if this file is CAFIS's",
                );
            }
            None => match (blocks_of("INTERCONNECT.CAFIS"), cardnet) {
                (None, Some(block)) => self.cardnet(block.line),
                _ => self
                    .report
                    .defaulted("SYSTEM.SETTLEMENT_CENTER", "CAFIS, by the name of the file"),
            },
        }
    }

    fn cardnet(&mut self, line: u32) {
        let message = "this is a CARDNET file, and CARDNET is not supported yet".to_owned();
        self.problem(
            line,
            "SYSTEM.SETTLEMENT_CENTER",
            message,
            "Import the fx_cf.cf of a CAFIS daemon",
        );
    }

    fn mapped(&mut self) {
        for mapped in &MAPPED {
            let Some(found) = self.take(mapped.cf) else {
                self.report.defaulted(mapped.cf, mapped.default_text());
                continue;
            };
            match mapped.how.value(found.value.trim()) {
                Ok(value) => {
                    self.toml.set(mapped.section, mapped.key, &value, found);
                    self.report
                        .imported(found, format!("{} = {value}", mapped.full_key()));
                    if let Some(remark) = mapped.remark(found.value.trim()) {
                        self.report.suspicious(found, remark);
                    }
                }
                Err(expected) => {
                    let message = format!("{:?} is not {expected}", found.value);
                    self.problem(
                        found.line,
                        mapped.cf,
                        message,
                        "Correct the value, or delete it for the default",
                    );
                }
            }
        }
    }

    /// Company and sub code, with or without the LL prefix `11` (`spec/fexics.md 6.3`).
    fn originator(&mut self) {
        const PATH: &str = "MSG_FIELD.TRANSACTION_ORIGINATOR_INSTITUTION_ID";
        const WAY_OUT: &str = "Give the company code (7) and sub code (4) you agreed with the centre, e.g. \"9x990010000\"";
        let Some(found) = self.take(PATH) else {
            let message =
                "missing, and there is no default for the originator of a CAFIS line".to_owned();
            return self.problem(0, PATH, message, WAY_OUT);
        };
        let code = match found.value.len() {
            13 => found.value.strip_prefix("11"),
            11 => Some(found.value.as_str()),
            _ => None,
        };
        let code = code
            .filter(|code| code.is_ascii())
            .map(|code| code.split_at(7));
        match code.map(|(company, sub)| (company.trim_end_matches(' '), sub)) {
            Some((company, sub)) if is_code(company) && is_code(sub) => {
                self.toml.set("line", "company", &quoted(company), found);
                self.toml.set("line", "sub", &quoted(sub), found);
                self.report.imported(
                    found,
                    format!("line.company = \"{company}\", line.sub = \"{sub}\""),
                );
            }
            _ => {
                let message = format!(
                    "{:?} is neither 11 letters and digits nor 13 that begin with 11",
                    found.value
                );
                self.problem(found.line, PATH, message, WAY_OUT);
            }
        }
    }

    fn socket_port(&mut self) {
        const PORT: &str = "SOCKET_PORT.FXIPC_COM";
        match self.take(PORT) {
            None => self.report.defaulted(PORT, "api.tcp = \"127.0.0.1:5000\""),
            Some(found) => match found.value.parse::<u16>() {
                Ok(port) if port > 0 => {
                    let tcp = quoted(&format!("127.0.0.1:{port}"));
                    self.toml.set("api", "tcp", &tcp, found);
                    self.report.imported(found, format!("api.tcp = {tcp}"));
                    if port < 5000 {
                        self.report.suspicious(
                            found,
                            "FEXICS allowed 5000 and more only; it is taken as it is",
                        );
                    }
                }
                _ => {
                    let message = format!("{:?} is no port 1..65535", found.value);
                    self.problem(
                        found.line,
                        PORT,
                        message,
                        "Give the port of the API; the default is 5000",
                    );
                }
            },
        }
        const HOST: &str = "SOCKET_PORT.FXIPC_FXUMAIN_HOST";
        match self.take(HOST) {
            None => self.report.defaulted(HOST, "localhost"),
            Some(found) if is_loopback(&found.value) => {
                self.report.imported(found, "the API listens on 127.0.0.1")
            }
            Some(found) => {
                let remark = format!(
                    "applications reach {:?}, but without authentication the API is served on 127.0.0.1 only: \
                     applications must run on the daemon's host and name localhost in their own fx_cf.cf",
                    found.value
                );
                self.report.suspicious(found, remark);
            }
        }
    }

    /// What is left over was not asked for: known without a counterpart, or unknown.
    fn leftovers(&mut self) {
        for (found, _) in self
            .cf
            .parameters
            .iter()
            .zip(&self.done)
            .filter(|(_, done)| !**done)
        {
            let reason = WITHOUT_COUNTERPART.iter().find(|(path, _)| {
                found.path == *path
                    || path
                        .strip_suffix('*')
                        .is_some_and(|prefix| found.path.starts_with(prefix))
            });
            let reason = reason.map_or(
                "not a known parameter of a CAFIS file; nothing was made of it",
                |(_, why)| why,
            );
            self.report.unknown(found, reason);
        }
    }

    fn take(&mut self, path: &str) -> Option<&'a Parameter> {
        self.take_in(path, None)
    }

    /// The last parameter of this path, in this block if one is given; those it overrides are reported.
    fn take_in(&mut self, path: &str, block: Option<usize>) -> Option<&'a Parameter> {
        let cf = self.cf;
        let mut last: Option<&'a Parameter> = None;
        for (place, parameter) in cf.parameters.iter().enumerate() {
            if parameter.path != path || block.is_some_and(|block| block != parameter.block) {
                continue;
            }
            self.done[place] = true;
            if let Some(overridden) = last.replace(parameter) {
                let remark = format!(
                    "{:?} is overridden by {:?} in line {}",
                    overridden.value, parameter.value, parameter.line
                );
                self.report.suspicious(overridden, remark);
            }
        }
        last
    }

    fn problem(&mut self, line: u32, key: &str, message: String, way_out: impl Into<String>) {
        let file = self.file.to_owned();
        self.problems.push(Problem {
            file,
            line,
            key: key.to_owned(),
            message,
            way_out: way_out.into(),
        });
    }

    /// Writes the text, and holds it against the rules of a configuration before it is given away.
    fn finish(mut self, target: Target<'_>) -> Result<Imported, Vec<Problem>> {
        if let Some(dir) = target.data_dir {
            match dir.to_str() {
                Some(dir) => self.toml.set_at("", "data_dir", &quoted(dir), 0),
                None => self.problem(
                    0,
                    "data_dir",
                    format!("{} is not UTF-8", dir.display()),
                    "Choose another directory",
                ),
            }
        }
        if !self.problems.is_empty() {
            self.problems.sort_by_key(|problem| problem.line);
            return Err(self.problems);
        }
        self.toml.set_at("line", "name", &quoted(LINE_NAME), 0);
        let toml = self.toml.text();
        let checked = Config::parse(&toml, target.out_dir, "the imported configuration")?;
        for warning in checked.warnings {
            let line = self.toml.source_line(&warning.key);
            self.report.suspicious_at(
                line,
                &warning.key,
                format!("{}. {}", warning.message, warning.way_out),
            );
        }
        self.report.sort();
        Ok(Imported {
            toml,
            report: self.report,
        })
    }
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// As a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
