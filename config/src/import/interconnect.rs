//! The blocks of `INTERCONNECT` (`spec/fexics.md 6.6`): where the centre connects to, with how many sessions and routes.

use std::net::{IpAddr, SocketAddr};

use crate::cf::Parameter;
use crate::keys::{Rule, Section};

use super::table::How;
use super::{Importer, LINE_NAME, quoted};

impl<'a> Importer<'a> {
    /// One line with an address for each block; sessions and routes are summed into one pool (`spec/fexics.md 11`, 22).
    pub(super) fn interconnect(&mut self) {
        const PATH: &str = "INTERCONNECT.CAFIS";
        let blocks: Vec<(usize, u32)> = (self.cf.blocks.iter().enumerate())
            .filter(|(_, block)| block.path == PATH)
            .map(|(number, block)| (number, block.line))
            .collect();
        let Some((_, first_line)) = blocks.first().copied() else {
            let message = "missing: nothing says where the centre connects to".to_owned();
            let way_out = "Add INTERCONNECT { CAFIS { LOCAL_ADDRESS ...; LOCAL_PORT ...; ACCEPT_COUNT ...; ROUTE_COUNT ...; } }";
            return self.problem(0, PATH, message, way_out);
        };
        let mut listen = Vec::with_capacity(blocks.len());
        let (mut accept_count, mut route_count, mut keepalives) = (0, 0, Vec::new());
        for (block, line) in &blocks {
            listen.extend(
                self.address(*block, *line)
                    .map(|address| quoted(&address.to_string())),
            );
            accept_count += self.count(*block, *line, "ACCEPT_COUNT", "accept_count");
            route_count += self.count(*block, *line, "ROUTE_COUNT", "route_count");
            keepalives.push(self.keepalive(*block));
        }
        self.sum(first_line, "ACCEPT_COUNT", "accept_count", accept_count);
        self.sum(first_line, "ROUTE_COUNT", "route_count", route_count);
        if blocks.len() > 1 {
            let remark = format!(
                "{} blocks become one line with {accept_count} sessions and one pool of {route_count} routes: compare with the contract",
                blocks.len()
            );
            self.report.suspicious_at(first_line, PATH, remark);
        }
        let keepalive = keepalives.contains(&true);
        if keepalive && keepalives.contains(&false) {
            let remark =
                "CONNECTION_KEEPALIVE is ON for some blocks only; it is on for the whole line now";
            self.report.suspicious_at(first_line, PATH, remark);
        }
        self.toml.set_at(
            "line",
            "listen",
            &format!("[{}]", listen.join(", ")),
            first_line,
        );
        self.toml.set_at(
            "line",
            "accept_count",
            &accept_count.to_string(),
            first_line,
        );
        self.toml
            .set_at("line", "route_count", &route_count.to_string(), first_line);
        self.toml
            .set_at("line", "keepalive", &keepalive.to_string(), first_line);
        self.report.defaulted(
            "connection code",
            format!("line.name = \"{LINE_NAME}\"; a .cf has none"),
        );
    }

    fn address(&mut self, block: usize, line: u32) -> Option<SocketAddr> {
        let ip = self.in_block(block, line, "LOCAL_ADDRESS");
        let port = self.in_block(block, line, "LOCAL_PORT");
        let ip = ip.and_then(|found| match found.value.parse::<IpAddr>() {
            Ok(ip) => {
                self.report.imported(found, "line.listen");
                Some(ip)
            }
            Err(_) => {
                let message = format!("{:?} is no IP address", found.value);
                self.problem(
                    found.line,
                    &found.path,
                    message,
                    "Give the local address in numbers, e.g. 192.0.2.10",
                );
                None
            }
        });
        let port = port.and_then(|found| match found.value.parse::<u16>() {
            Ok(port) if port > 0 => {
                self.report.imported(found, "line.listen");
                Some(port)
            }
            _ => {
                let message = format!("{:?} is no port 1..65535", found.value);
                self.problem(
                    found.line,
                    &found.path,
                    message,
                    "Give the port the centre connects to, commonly 2010",
                );
                None
            }
        });
        Some(SocketAddr::new(ip?, port?))
    }

    /// A count of one block; 0 where it is missing or wrong.
    fn count(&mut self, block: usize, line: u32, name: &str, key: &str) -> u64 {
        let Some(found) = self.in_block(block, line, name) else {
            return 0;
        };
        let (min, max) = range("line", key);
        match found.value.parse::<u64>() {
            Ok(count) if (min..=max).contains(&count) => {
                self.report.imported(found, format!("line.{key}"));
                count
            }
            _ => {
                let message = format!("{:?} is outside {min}..{max}", found.value);
                self.problem(
                    found.line,
                    &found.path,
                    message,
                    "Give the number of the contract",
                );
                0
            }
        }
    }

    /// The sum over the blocks must be within the contract's bounds too.
    fn sum(&mut self, line: u32, name: &str, key: &str, sum: u64) {
        let (_, max) = range("line", key);
        if sum > max {
            let message =
                format!("the blocks have {sum} together, more than {max} for one company code");
            let way_out = "Import blocks of different contracts from files of their own, as lines of their own";
            self.problem(
                line,
                &format!("INTERCONNECT.CAFIS.{name}"),
                message,
                way_out,
            );
        }
    }

    fn keepalive(&mut self, block: usize) -> bool {
        let Some(found) = self.take_in("INTERCONNECT.CAFIS.CONNECTION_KEEPALIVE", Some(block))
        else {
            self.report.defaulted(
                "INTERCONNECT.CAFIS.CONNECTION_KEEPALIVE",
                "line.keepalive = false",
            );
            return false;
        };
        match How::OnOff.value(&found.value) {
            Ok(value) => {
                self.report
                    .imported(found, format!("line.keepalive = {value}"));
                value == "true"
            }
            Err(expected) => {
                let message = format!("{:?} is not {expected}", found.value);
                self.problem(found.line, &found.path, message, "Write ON or OFF");
                false
            }
        }
    }

    /// A parameter that every block must have.
    fn in_block(&mut self, block: usize, line: u32, name: &str) -> Option<&'a Parameter> {
        let path = format!("INTERCONNECT.CAFIS.{name}");
        let found = self.take_in(&path, Some(block));
        if found.is_none() {
            let message = "missing in this block, and it has no default".to_owned();
            self.problem(line, &path, message, format!("Add {name} to the block"));
        }
        found
    }
}

/// The range of an integer key, which the `.cf` shares.
fn range(section: &str, key: &str) -> (u64, u64) {
    match Section::find(section).key(key).map(|key| &key.rule) {
        Some(Rule::Integer { min, max, .. }) => (min.unsigned_abs(), max.unsigned_abs()),
        _ => panic!("{section}.{key} is no integer in the table of keys"),
    }
}
