//! The centre simulator's control port: one order a line, a reply that ends with an empty line.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Failure;

/// How long a reply may take.
const REPLY_MAX: Duration = Duration::from_secs(10);

/// A connection to the control port.
pub struct Control {
    stream: BufReader<TcpStream>,
}

impl Control {
    /// Connects to the address that the simulator printed.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: &str) -> Result<Control, Failure> {
        let fail = |error| format!("the centre's control port {address}: {error}");
        let stream = TcpStream::connect(address).map_err(fail)?;
        stream.set_read_timeout(Some(REPLY_MAX)).map_err(fail)?;
        Ok(Control {
            stream: BufReader::new(stream),
        })
    }

    /// Gives an order; returns what stands behind the `ok` of the reply.
    ///
    /// # Errors
    /// The centre refuses the order or has stopped.
    pub fn order(&mut self, order: &str) -> Result<String, Failure> {
        let fail = |error: std::io::Error| format!("the centre does not answer `{order}`: {error}");
        self.stream
            .get_mut()
            .write_all(format!("{order}\n").as_bytes())
            .map_err(fail)?;
        let mut reply = String::new();
        loop {
            let before = reply.len();
            self.stream.read_line(&mut reply).map_err(fail)?;
            if reply[before..].trim().is_empty() {
                break;
            }
        }
        match reply.trim().strip_prefix("ok") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(format!("the centre refuses `{order}`: {}", reply.trim())),
        }
    }

    /// A counter of the order `stats`.
    ///
    /// # Errors
    /// As [`Control::order`], or there is no such counter.
    pub fn counter(&mut self, name: &str) -> Result<u64, Failure> {
        let stats = self.order("stats")?;
        let found = stats
            .split_whitespace()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let value = found.and_then(|text| text.parse().ok());
        value.ok_or_else(|| format!("the centre's stats have no counter {name}: {stats}"))
    }
}
