//! The `.cf` files of FEXICS (`spec/fexics.md 6.1`): decoding, the grammar, and the one lookup the C library needs.
//!
//! A file becomes a flat list of parameters with their paths (`SYSTEM.LOG_LEVEL`) and the block each stands in, which is
//! all the importer asks for and keeps hostile nesting harmless. After a fault the parser goes on at the next item, so
//! that one run reports all faults. What a parameter means is not known here.

use std::iter::Peekable;
use std::vec::IntoIter;

/// How deep sections may nest. Real files need three levels.
const DEPTH_MAX: usize = 16;
/// Faults after which the parser gives up: this is no `.cf` file then.
const ERRORS_MAX: usize = 100;
/// `FXIPC_COM` where it is not given (`spec/fexics.md 6.5`).
const PORT_DEFAULT: u16 = 5000;
/// `FXIPC_FXUMAIN_HOST` where it is not given: the daemon serves only its own machine.
const HOST_DEFAULT: &str = "localhost";

/// A parsed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cf {
    /// In the order of the file.
    pub parameters: Vec<Parameter>,
    /// In the order of the file; the place in this list is the number of the block. Block 0 is the file itself.
    pub blocks: Vec<Block>,
}

/// A section as it occurs; one name may occur several times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Names from the outside in, in capitals, with dots between: `INTERCONNECT.CAFIS`.
    pub path: String,
    /// The line of its name, from 1.
    pub line: u32,
}

/// A parameter as it occurs; it may be overridden by a later one of the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Sections and name, in capitals, with dots between: `TIMER.CAFIS.T31`.
    pub path: String,
    /// The number of the innermost block it stands in, an index into [`Cf::blocks`].
    pub block: usize,
    /// The line of its name, from 1.
    pub line: u32,
    /// Without the quotes.
    pub value: String,
}

/// A fault of the grammar, or of the parameters [`socket_port`] reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CfError {
    /// Something else where a name, `}` or a comment must begin.
    #[error("line {line}: {found:?} cannot begin a name")]
    NoName {
        /// From 1.
        line: u32,
        /// What stands there.
        found: char,
    },
    /// A name with nothing that belongs to it.
    #[error("line {line}: {name} has neither a value nor an opening brace")]
    NoValue {
        /// From 1.
        line: u32,
        /// The name.
        name: String,
    },
    /// A value that is not ended.
    #[error(
        "line {line}: the value of {name} does not end with a semicolon; a value with blanks needs quotes"
    )]
    NoSemicolon {
        /// From 1.
        line: u32,
        /// The parameter.
        name: String,
    },
    /// A quote that is not closed on its line.
    #[error("line {line}: the quote of {name} is not closed on its line")]
    OpenQuote {
        /// From 1.
        line: u32,
        /// The parameter.
        name: String,
    },
    /// The end of the file inside a section.
    #[error("line {line}: section {name} is not closed")]
    OpenSection {
        /// Where the section begins, from 1.
        line: u32,
        /// The section.
        name: String,
    },
    /// A brace too many.
    #[error("line {line}: a closing brace without a section to close")]
    NoSection {
        /// From 1.
        line: u32,
    },
    /// Sections nest deeper than any real file's.
    #[error("line {line}: sections nest deeper than {DEPTH_MAX}")]
    TooDeep {
        /// From 1.
        line: u32,
    },
    /// `FXIPC_COM` is no port.
    #[error("line {line}: SOCKET_PORT.FXIPC_COM {value:?} is no port 1..65535")]
    NoPort {
        /// From 1.
        line: u32,
        /// As given.
        value: String,
    },
}

impl CfError {
    /// The line of the fault, from 1.
    pub fn line(&self) -> u32 {
        match self {
            Self::NoName { line, .. }
            | Self::NoValue { line, .. }
            | Self::NoSemicolon { line, .. }
            | Self::OpenQuote { line, .. }
            | Self::OpenSection { line, .. }
            | Self::NoSection { line }
            | Self::TooDeep { line }
            | Self::NoPort { line, .. } => *line,
        }
    }
}

/// Parses a file in Shift_JIS (or, where it is recognised, UTF-8), with CRLF or LF.
///
/// # Errors
/// Every fault of the grammar, in the order of the file; never an empty list.
pub fn parse(bytes: &[u8]) -> Result<Cf, Vec<CfError>> {
    let mut parser = Parser::new(&decode(bytes));
    parser.file();
    if parser.errors.is_empty() {
        Ok(parser.cf)
    } else {
        Err(parser.errors)
    }
}

/// Host and port of the daemon as an application's `fx_cf.cf` names them (`spec/fexics.md 6.5`); `localhost` and 5000
/// where they are not given.
///
/// # Errors
/// The first fault of the grammar, or a port that is none.
pub fn socket_port(bytes: &[u8]) -> Result<(String, u16), CfError> {
    let cf = parse(bytes).map_err(|mut errors| errors.swap_remove(0))?;
    let host = cf
        .last("SOCKET_PORT.FXIPC_FXUMAIN_HOST")
        .map_or(HOST_DEFAULT, |found| &found.value);
    let port = match cf.last("SOCKET_PORT.FXIPC_COM") {
        None => PORT_DEFAULT,
        Some(found) => match found.value.parse() {
            Ok(port) if port > 0 => port,
            _ => {
                return Err(CfError::NoPort {
                    line: found.line,
                    value: found.value.clone(),
                });
            }
        },
    };
    Ok((host.to_owned(), port))
}

impl Cf {
    /// The parameter of this path that holds: the last one.
    pub fn last(&self, path: &str) -> Option<&Parameter> {
        self.parameters
            .iter()
            .rev()
            .find(|parameter| parameter.path == path)
    }
}

/// The second byte of a Shift_JIS character may be a brace or a backslash, so decoding comes before the grammar. A file
/// that somebody saved as UTF-8 is known by its kanji and kana: Shift_JIS that happens to be valid UTF-8 is half-width
/// katakana, which gives no character above U+07FF.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().any(|c| c >= '\u{800}') => {
            text.trim_start_matches('\u{feff}').to_owned()
        }
        _ => encoding_rs::SHIFT_JIS.decode(bytes).0.into_owned(),
    }
}

struct Parser {
    rest: Peekable<IntoIter<char>>,
    line: u32,
    cf: Cf,
    /// Numbers of the blocks that are open, the file's own first.
    open: Vec<usize>,
    errors: Vec<CfError>,
}

impl Parser {
    fn new(text: &str) -> Self {
        let file = Block {
            path: String::new(),
            line: 1,
        };
        Self {
            rest: text.chars().collect::<Vec<char>>().into_iter().peekable(),
            line: 1,
            cf: Cf {
                parameters: Vec::new(),
                blocks: vec![file],
            },
            open: vec![0],
            errors: Vec::new(),
        }
    }

    fn file(&mut self) {
        while self.errors.len() < ERRORS_MAX {
            self.skip_blank_lines();
            let line = self.line;
            match self.rest.peek().copied() {
                None => break,
                Some('}') => {
                    self.next();
                    if self.open.len() > 1 {
                        self.open.pop();
                    } else {
                        self.errors.push(CfError::NoSection { line });
                    }
                }
                // An empty item, as in `};`, says nothing and harms nothing.
                Some(';') => {
                    self.next();
                }
                Some(c) if is_name(c) => self.item(),
                Some(found) => {
                    self.errors.push(CfError::NoName { line, found });
                    self.recover();
                }
            }
        }
        for number in self.open.split_off(1) {
            let block = &self.cf.blocks[number];
            self.errors.push(CfError::OpenSection {
                line: block.line,
                name: block.path.clone(),
            });
        }
    }

    /// A parameter, or a section up to its brace.
    fn item(&mut self) {
        let line = self.line;
        let name = self.take_while(is_name).to_ascii_uppercase();
        let path = match self.cf.blocks[self.innermost()].path.as_str() {
            "" => name,
            outer => format!("{outer}.{name}"),
        };
        self.take_while(is_blank);
        match self.rest.peek().copied() {
            Some('"') => self.quoted(path, line),
            Some(c) if !ends_bare(c) => {
                let value = self.take_while(|c| !ends_bare(c));
                self.parameter(path, line, value);
            }
            _ => self.section(path, line),
        }
    }

    fn section(&mut self, path: String, line: u32) {
        self.skip_blank_lines();
        if self.rest.peek() != Some(&'{') {
            self.errors.push(CfError::NoValue { line, name: path });
            if self.rest.peek() == Some(&';') {
                self.next();
            }
            return;
        }
        self.open_section(path, line);
    }

    fn open_section(&mut self, path: String, line: u32) {
        self.next();
        if self.open.len() > DEPTH_MAX {
            // What is inside cannot be told from what is outside any more: this file is not read further.
            self.errors.push(CfError::TooDeep { line });
            self.rest = Vec::new().into_iter().peekable();
            self.open.truncate(1);
            return;
        }
        self.open.push(self.cf.blocks.len());
        self.cf.blocks.push(Block { path, line });
    }

    fn quoted(&mut self, path: String, line: u32) {
        self.next();
        let mut value = String::new();
        loop {
            match self.rest.peek().copied() {
                None | Some('\n' | '\r') => {
                    self.errors.push(CfError::OpenQuote {
                        line: self.line,
                        name: path,
                    });
                    return;
                }
                Some('"') => {
                    self.next();
                    if self.rest.peek() != Some(&'"') {
                        break;
                    }
                    self.next();
                    value.push('"');
                }
                Some(c) => {
                    self.next();
                    value.push(c);
                }
            }
        }
        self.parameter(path, line, value);
    }

    /// Takes the semicolon behind a value.
    fn parameter(&mut self, path: String, line: u32, value: String) {
        let at = self.line;
        self.skip_blank_lines();
        if self.rest.peek() == Some(&';') {
            self.next();
        } else {
            self.errors.push(CfError::NoSemicolon {
                line: at,
                name: path.clone(),
            });
            if self.line == at {
                self.recover();
            }
        }
        self.cf.parameters.push(Parameter {
            path,
            block: self.innermost(),
            line,
            value,
        });
    }

    fn innermost(&self) -> usize {
        *self
            .open
            .last()
            .expect("the file's own block is never closed")
    }

    /// Goes to where the next item may begin: behind a semicolon, at a closing brace, or at the end of the line. An
    /// opening brace begins a section without a name, so that the braces stay in balance.
    fn recover(&mut self) {
        self.take_while(|c| !matches!(c, ';' | '{' | '}' | '\n'));
        match self.rest.peek() {
            Some(';') => self.next(),
            Some('{') => self.open_section("?".to_owned(), self.line),
            _ => {}
        }
    }

    fn skip_blank_lines(&mut self) {
        loop {
            self.take_while(|c| is_blank(c) || matches!(c, '\n' | '\r'));
            if self.rest.peek() != Some(&'#') {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.rest.peek().copied().filter(|c| wanted(*c)) {
            self.next();
            taken.push(c);
        }
        taken
    }

    fn next(&mut self) {
        if self.rest.next() == Some('\n') {
            self.line = self.line.saturating_add(1);
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// What ends a value without quotes, and cannot begin one.
fn ends_bare(c: char) -> bool {
    is_blank(c) || matches!(c, '\n' | '\r' | ';' | '{' | '}' | '#')
}
