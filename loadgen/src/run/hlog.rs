//! The interval log: an HdrHistogram log (`.hlog`), one line a second and outcome, tagged with the outcome.
//! Values are nanoseconds. Any HdrHistogram tool reads it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2Serializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};
use thiserror::Error;

use super::outcome::Outcome;

/// An interval log could not be written.
#[derive(Debug, Error)]
#[error("{}: {source}", path.display())]
pub struct HlogError {
    path: PathBuf,
    source: io::Error,
}

/// An interval log that is being written.
pub struct Hlog {
    path: PathBuf,
    file: BufWriter<File>,
    serializer: V2Serializer,
}

impl Hlog {
    /// Makes the file and writes its head; times in it count from `start`.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn create(path: &Path, start: SystemTime) -> Result<Hlog, HlogError> {
        let fail = |source| HlogError {
            path: path.to_owned(),
            source,
        };
        let mut file = BufWriter::new(File::create(path).map_err(fail)?);
        let mut serializer = V2Serializer::new();
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .with_start_time(start)
            .with_base_time(start)
            .begin_log_with(&mut file, &mut serializer)
            .map_err(fail)?;
        writeln!(
            file,
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
        )
        .map_err(fail)?;
        Ok(Hlog {
            path: path.to_owned(),
            file,
            serializer,
        })
    }

    /// Writes the histogram of an outcome from `from_ns` to `to_ns`.
    pub(crate) fn write(
        &mut self,
        outcome: Outcome,
        histogram: &Histogram<u64>,
        from_ns: u64,
        to_ns: u64,
    ) -> Result<(), HlogError> {
        let tag = outcome.to_string();
        // A writer without a head writes the line alone, so one can be made for each line: nothing borrows `self`.
        let written = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.file, &mut self.serializer)
            .map_err(IntervalLogWriterError::IoError)
            .and_then(|mut log| {
                log.write_histogram(
                    histogram,
                    Duration::from_nanos(from_ns),
                    Duration::from_nanos(to_ns.saturating_sub(from_ns)),
                    Tag::new(&tag),
                )
            });
        written.map_err(|error| HlogError {
            path: self.path.clone(),
            source: match error {
                IntervalLogWriterError::IoError(error) => error,
                IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
            },
        })
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<(), HlogError> {
        self.file.flush().map_err(|source| HlogError {
            path: self.path,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::super::tally::new_histogram;
    use super::*;

    /// The log reads back with HdrHistogram's own reader: a line an interval, under the outcome's tag.
    #[test]
    fn the_log_reads_back() {
        let path = std::env::temp_dir().join(format!("loadgen-hlog-{}.hlog", std::process::id()));
        let mut hlog = Hlog::create(&path, SystemTime::now()).expect("a log");
        let mut histogram = new_histogram();
        histogram.saturating_record(5_000_000);
        for n in 0..3 {
            hlog.write(
                Outcome::Abnormal(*b"C12"),
                &histogram,
                n * 1_000_000_000,
                (n + 1) * 1_000_000_000,
            )
            .expect("a line");
        }
        hlog.finish().expect("flushed");
        let text = std::fs::read(&path).expect("the file");
        std::fs::remove_file(&path).expect("removed");
        let tags: Vec<String> = IntervalLogIterator::new(&text)
            .filter_map(|entry| match entry {
                Ok(LogEntry::Interval(line)) => line.tag().map(|tag| tag.as_str().to_owned()),
                _ => None,
            })
            .collect();
        assert_eq!(tags, ["8970-C12"; 3]);
    }

    /// A log that cannot be made names its file.
    #[test]
    fn a_bad_path_is_named() {
        let error = Hlog::create(Path::new("/no-such-folder/x.hlog"), SystemTime::now());
        assert!(
            error
                .err()
                .expect("no log")
                .to_string()
                .contains("/no-such-folder/x.hlog")
        );
    }
}
