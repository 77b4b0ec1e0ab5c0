//! `sekisho journal`: the journal for people. It only reads, takes no lock and syncs nothing, so that a daemon may run on
//! the same directory; whatever it prints of a telegram is masked.

mod render;
mod show;
mod verify;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use codec::cafis::mask::MaskingMode;
use codec::cafis::section::TransactionKey;
use engine::journal::search;
use engine::journal::store::file::FileStore;

use crate::failure::Failure;
use crate::transaction::{meaning, parse_key};
use render::Renderer;

/// What can be read.
#[derive(Subcommand)]
pub enum Command {
    /// Print records, oldest first.
    Show {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        filter: show::Filter,
        #[command(flatten)]
        style: Style,
    },
    /// Find a transaction by its key: where it stands, and its records.
    Find {
        #[command(flatten)]
        source: Source,
        /// The transaction's key, YYMMDD/TERMINAL13/SEQ5.
        #[arg(long, value_name = "KEY", value_parser = parse_key)]
        key: TransactionKey,
        #[command(flatten)]
        style: Style,
    },
    /// Walk every segment and report torn tails and damage.
    Verify {
        #[command(flatten)]
        source: Source,
    },
}

/// Which journal.
#[derive(Args)]
pub struct Source {
    /// The daemon's data directory, or the directory "journal" in it.
    dir: PathBuf,
    /// One shard only.
    #[arg(long, value_name = "N")]
    shard: Option<u32>,
}

/// How records are printed.
#[derive(Args, Clone, Copy)]
pub struct Style {
    /// Which digits of a card number stay readable: jcca hides the last four, pcidss the first twelve.
    #[arg(long, value_enum, default_value = "jcca")]
    masking: Masking,
    /// Print the fields of the facts as they are stored, numbers for names, and each frame on one line, masked.
    #[arg(long)]
    raw_facts: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Masking {
    Jcca,
    Pcidss,
}

impl Style {
    fn renderer<W: Write>(self, out: W) -> Renderer<W> {
        let mode = match self.masking {
            Masking::Jcca => MaskingMode::Jcca,
            Masking::Pcidss => MaskingMode::PciDss,
        };
        Renderer::new(out, mode, self.raw_facts)
    }
}

impl Source {
    /// The directory of the segments, and the shards in it that are meant.
    fn shards(&self) -> Result<(PathBuf, Vec<u32>), Failure> {
        let (dir, shards) = self.locate()?;
        match self.shard {
            None => Ok((dir, shards)),
            Some(shard) if shards.contains(&shard) => Ok((dir, vec![shard])),
            Some(shard) => Err(Failure::NoShard { dir, shard }),
        }
    }

    fn locate(&self) -> Result<(PathBuf, Vec<u32>), Failure> {
        let here = FileStore::shards(&self.dir)?;
        if !here.is_empty() {
            return Ok((self.dir.clone(), here));
        }
        let inside = self.dir.join("journal");
        let shards = FileStore::shards(&inside).unwrap_or_default();
        if shards.is_empty() {
            return Err(Failure::NoJournal(self.dir.clone()));
        }
        Ok((inside, shards))
    }
}

/// Carries out the command.
///
/// # Errors
/// There is no journal, it cannot be read, it is damaged, or what was asked for is not in it.
pub fn run(command: &Command) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = match command {
        Command::Show {
            source,
            filter,
            style,
        } => {
            let (dir, shards) = source.shards()?;
            show::run(&dir, &shards, filter, &mut style.renderer(&mut out))
        }
        Command::Find { source, key, style } => {
            let (dir, shards) = source.shards()?;
            find(&dir, &shards, *key, &mut style.renderer(&mut out))
        }
        Command::Verify { source } => {
            let (dir, shards) = source.shards()?;
            verify::run(&dir, &shards, &mut out)
        }
    };
    // What was found before a failure is shown as well.
    out.flush()?;
    result
}

fn find<W: Write>(
    dir: &Path,
    shards: &[u32],
    key: TransactionKey,
    out: &mut Renderer<W>,
) -> Result<(), Failure> {
    let mut known = false;
    for &shard in shards {
        let searched = search::search(dir, shard, None, key.0)?;
        for (closed, fault) in &searched.bad_indexes {
            eprintln!(
                "sekisho: the index of segment {} of shard {shard} is not believed, {fault}; the segment was read instead.",
                closed.header.segment
            );
        }
        let Some(found) = searched.found else {
            continue;
        };
        known = true;
        let settled = if found.settled {
            "settled"
        } else {
            "not settled"
        };
        let text = format!(
            "transaction {key} {}; {settled}. Shard {shard}, line {}, number {}, {} records.",
            meaning(found.state),
            found.line,
            found.tx,
            found.facts.len()
        );
        out.text(&text)?;
        for record in &found.facts {
            out.record(shard, record.number, &record.fields, record.fact())?;
        }
    }
    if known {
        Ok(())
    } else {
        Err(Failure::NoKey(key))
    }
}
