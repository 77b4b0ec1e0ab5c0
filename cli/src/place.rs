//! Which lines a command is for, and where their daemon listens: an address, or the daemon's own configuration.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use client::{Endpoint, Link, Session};
use config::Config;

use crate::failure::Failure;

/// Where a daemon listens if nothing else is said.
const DEFAULT_ADDRESS: &str = "127.0.0.1:5000";

/// The options that every command to a daemon takes.
#[derive(Args, Clone, Debug)]
pub struct PlaceArguments {
    /// The daemon's address for applications: HOST:PORT, or the path of a Unix socket [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    connect: Option<String>,
    /// The daemon's configuration, for its addresses and lines, instead of --connect.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The line; without it every line of --config, or the default line behind --connect.
    #[arg(long, value_name = "NAME")]
    line: Option<String>,
}

/// A line and where to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name; empty: the default line of the daemon.
    pub name: String,
    /// Where its shard listens, or a shard that knows where.
    endpoint: Endpoint,
    /// Its shard, where the configuration tells.
    pub shard: Option<usize>,
}

impl Place {
    /// An API session on the line.
    ///
    /// # Errors
    /// The daemon cannot be reached, does not know the line, or has no place left.
    pub fn open(&self) -> Result<Session, Failure> {
        let link = Link::connect(&self.endpoint, &self.name)?;
        link.open_session().map_err(|error| Failure::Call {
            action: format!("open an API session for {self}"),
            error,
            because: None,
        })
    }

    /// Its address as text.
    pub fn address(&self) -> String {
        self.endpoint.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            write!(out, "the default line at {}", self.endpoint)
        } else {
            write!(out, "line {}", self.name)
        }
    }
}

impl PlaceArguments {
    /// All lines that are meant.
    ///
    /// # Errors
    /// The address or the configuration cannot be used, or has no such line.
    pub fn every(&self) -> Result<Vec<Place>, Failure> {
        match &self.config {
            Some(file) => self.of_config(file),
            None => {
                let text = self.connect.as_deref().unwrap_or(DEFAULT_ADDRESS);
                let endpoint =
                    Endpoint::parse(text).ok_or_else(|| Failure::Address(text.to_owned()))?;
                Ok(vec![Place {
                    name: self.line.clone().unwrap_or_default(),
                    endpoint,
                    shard: None,
                }])
            }
        }
    }

    /// The one line that is meant.
    ///
    /// # Errors
    /// As [`PlaceArguments::every`], or several are meant.
    pub fn one(&self) -> Result<Place, Failure> {
        let mut every = self.every()?;
        match every.pop() {
            Some(place) if every.is_empty() => Ok(place),
            last => {
                every.extend(last);
                let names = every.into_iter().map(|place| place.name).collect();
                Err(Failure::WhichLine(names))
            }
        }
    }

    /// A place on every shard of the daemon, whatever the line.
    ///
    /// # Errors
    /// As [`PlaceArguments::every`].
    pub fn shards(&self) -> Result<Vec<Place>, Failure> {
        let mut places = self.without_line().every()?;
        places.sort_by_key(|place| place.shard);
        places.dedup_by_key(|place| place.shard);
        Ok(places)
    }

    /// The same daemon, all its lines.
    pub fn without_line(&self) -> PlaceArguments {
        PlaceArguments {
            line: None,
            ..self.clone()
        }
    }

    fn of_config(&self, file: &Path) -> Result<Vec<Place>, Failure> {
        let loaded = Config::load(file).map_err(crate::config::Failure::Problems)?;
        let config = loaded.config;
        let wanted = |name: &str| self.line.as_deref().is_none_or(|line| line == name);
        let lines = config.lines.iter().filter(|line| wanted(&line.name));
        let places: Vec<Place> = lines
            .map(|line| {
                let endpoint = endpoint_of(&config, line.shard)
                    .ok_or_else(|| Failure::NoEndpoint(line.name.clone()))?;
                Ok(Place {
                    name: line.name.clone(),
                    endpoint,
                    shard: Some(line.shard),
                })
            })
            .collect::<Result<_, Failure>>()?;
        match (&self.line, places.is_empty()) {
            (Some(name), true) => Err(Failure::NoLine {
                name: name.clone(),
                known: config.lines.iter().map(|line| line.name.clone()).collect(),
            }),
            _ => Ok(places),
        }
    }
}

fn endpoint_of(config: &Config, shard: usize) -> Option<Endpoint> {
    let tcp = config.api.tcp_of(shard);
    let tcp = tcp.map(|address| Endpoint::tcp(&address.ip().to_string(), address.port()));
    tcp.or_else(|| config.api.unix_of(shard).map(Endpoint::Unix))
}
