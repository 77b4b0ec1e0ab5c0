//! `sekisho journal show`: the records that are asked for, oldest first.

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use clap::Args;
use codec::cafis::section::TransactionKey;
use engine::core::fact::Fact;
use engine::journal::block::Record;
use engine::journal::read::walk_dir;

use super::render::Renderer;
use crate::failure::Failure;
use crate::transaction::parse_key;

/// Which records.
#[derive(Args)]
pub struct Filter {
    /// From this record number on.
    #[arg(long, value_name = "REC")]
    from: Option<u64>,
    /// Only the last N of what is asked for, of each shard.
    #[arg(long, value_name = "N")]
    last: Option<u64>,
    /// Only the records of the transaction with this number.
    #[arg(long, value_name = "ID")]
    tx: Option<u64>,
    /// Only the records of the transactions with this key, YYMMDD/TERMINAL13/SEQ5.
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    key: Option<TransactionKey>,
}

/// Goes through a journal and knows which records are asked for.
struct Sieve<'a> {
    filter: &'a Filter,
    /// Transactions that were seen to have the key.
    with_key: HashSet<u64>,
}

impl<'a> Sieve<'a> {
    fn new(filter: &'a Filter) -> Self {
        Sieve {
            filter,
            with_key: HashSet::new(),
        }
    }

    /// Whether this record, the next of the walk, is asked for.
    fn wants(&mut self, record: &Record<'_>) -> bool {
        let tx = record.fields.tx;
        if let Some(key) = self.filter.key {
            if !self.with_key.contains(&tx) && key_of(record) == Some(key) {
                self.with_key.insert(tx);
            }
            if !self.with_key.contains(&tx) {
                return false;
            }
        }
        self.filter.tx.is_none_or(|wanted| wanted == tx)
            && self.filter.from.is_none_or(|from| record.number.0 >= from)
    }
}

/// The key of the transaction that a record begins, or brings into a checkpoint.
fn key_of(record: &Record<'_>) -> Option<TransactionKey> {
    match record.fact() {
        Ok(Fact::Request(request)) => TransactionKey::of(request.image),
        Ok(Fact::Open(open)) => TransactionKey::of(open.image),
        _ => None,
    }
}

/// Prints the records of the shards that are asked for.
///
/// # Errors
/// The journal cannot be read, nothing was found, or the output cannot be written.
pub fn run<W: Write>(
    dir: &Path,
    shards: &[u32],
    filter: &Filter,
    out: &mut Renderer<W>,
) -> Result<(), Failure> {
    let mut shown = 0;
    for &shard in shards {
        // Counting first costs a second walk, and no memory however many records are asked for.
        let skip = match filter.last {
            Some(last) => count(dir, shard, filter)?.saturating_sub(last),
            None => 0,
        };
        shown += show(dir, shard, filter, skip, out)?;
    }
    let narrowed = filter.from.is_some() || filter.tx.is_some() || filter.key.is_some();
    if shown == 0 && narrowed {
        return Err(Failure::NoRecord(dir.to_owned()));
    }
    Ok(())
}

fn count(dir: &Path, shard: u32, filter: &Filter) -> Result<u64, Failure> {
    let mut sieve = Sieve::new(filter);
    let mut wanted = 0;
    walk_dir(dir, shard, &mut |_, record| {
        wanted += u64::from(sieve.wants(record));
        ControlFlow::Continue(())
    })?;
    Ok(wanted)
}

/// Prints all but the first `skip` records that are asked for; gives how many that were.
fn show<W: Write>(
    dir: &Path,
    shard: u32,
    filter: &Filter,
    skip: u64,
    out: &mut Renderer<W>,
) -> Result<u64, Failure> {
    let mut sieve = Sieve::new(filter);
    let (mut wanted, mut written) = (0, io::Result::Ok(()));
    walk_dir(dir, shard, &mut |_, record| {
        if !sieve.wants(record) {
            return ControlFlow::Continue(());
        }
        wanted += 1;
        if wanted > skip {
            written = out.record(shard, record.number, &record.fields, record.fact());
        }
        if written.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    written?;
    Ok(wanted.saturating_sub(skip))
}
