//! The control side: the log, searches of the journal, and the signals of the operating system.
//!
//! Everything slow or blocking of the daemon happens here, on threads of its own. Shards pass on plain values and
//! never wait: notices go through a bounded channel that drops (and counts) what does not fit.

pub mod log_file;
mod notice;
mod search;

use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};

use crate::core::Notice;
use crate::driver::Waker;

pub use search::OwnedFound;

/// What other threads tell a shard; a [`Waker`] makes it look.
#[derive(Debug)]
pub enum Message {
    /// The operating system asks for a stop.
    Terminate,
    /// The journal was searched.
    LookedUp {
        /// The order's cookie.
        cookie: u32,
        /// What was found.
        found: Option<OwnedFound>,
    },
}

/// A notice with its shard and line.
type Noticed = (usize, u32, Notice);

/// Notices that may wait for the log.
const NOTICES: usize = 65_536;

/// A shard's way to the control side.
pub struct Console {
    shard: usize,
    notices: SyncSender<Noticed>,
    searches: Sender<search::Job>,
    lost: u64,
}

impl Console {
    /// Passes a notice on to the log, or drops it when the log cannot keep up.
    pub fn notice(&mut self, line: u32, notice: Notice) {
        match self.notices.try_send((self.shard, line, notice)) {
            Ok(()) if self.lost > 0 => log::warn!(
                "{} notices were lost: the log did not keep up",
                std::mem::take(&mut self.lost)
            ),
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }

    /// Has the journal searched for a transaction key; the answer comes as [`Message::LookedUp`].
    pub fn look_up(&self, cookie: u32, line: u32, key: [u8; 24]) {
        // The search thread lives as long as the daemon; if it is gone, the daemon is going down too.
        let _ = self.searches.send(search::Job {
            shard: self.shard,
            cookie,
            line,
            key,
        });
    }
}

/// The control side's ends of the shards' channels.
pub struct Control {
    notices: (SyncSender<Noticed>, Receiver<Noticed>),
    searches: (Sender<search::Job>, Receiver<search::Job>),
    shards: Vec<(Sender<Message>, Option<Receiver<Message>>)>,
}

/// A shard that runs, as the control side reaches it.
#[derive(Clone)]
pub struct Reach {
    /// Its inbox.
    pub inbox: Sender<Message>,
    /// What makes it look.
    pub waker: Waker,
}

impl Control {
    /// Channels for this many shards.
    #[must_use]
    pub fn new(shards: usize) -> Control {
        let shards = (0..shards)
            .map(|_| channel())
            .map(|(inbox, end)| (inbox, Some(end)))
            .collect();
        Control {
            notices: sync_channel(NOTICES),
            searches: channel(),
            shards,
        }
    }

    /// A shard's console and its end of its inbox; once for each shard.
    ///
    /// # Panics
    /// If it is asked for twice.
    pub fn ends_of(&mut self, shard: usize) -> (Console, Receiver<Message>) {
        let console = Console {
            shard,
            notices: self.notices.0.clone(),
            searches: self.searches.0.clone(),
            lost: 0,
        };
        match self.shards[shard].1.take() {
            Some(inbox) => (console, inbox),
            None => panic!("shard {shard} has its console already"),
        }
    }

    /// Starts the threads: notices to the log, searches of the journal in `dir`, and SIGTERM and SIGINT to the shards.
    /// Gives the shards, to be reached by others too.
    ///
    /// # Errors
    /// A thread or the signal handlers cannot be made.
    pub fn start(
        self,
        dir: std::path::PathBuf,
        lines: Vec<(u32, String)>,
        wakers: Vec<Waker>,
    ) -> std::io::Result<Vec<Reach>> {
        let reach: Vec<Reach> = self
            .shards
            .into_iter()
            .zip(wakers)
            .map(|((inbox, _), waker)| Reach { inbox, waker })
            .collect();
        let notices = self.notices.1;
        std::thread::Builder::new()
            .name("notices".into())
            .spawn(move || notice::write_all(&notices, &lines))?;
        let (searches, to) = (self.searches.1, reach.clone());
        std::thread::Builder::new()
            .name("search".into())
            .spawn(move || search::serve(&searches, &dir, &to))?;
        let mut signals = signal_hook::iterator::Signals::new([
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGINT,
        ])?;
        let shards = reach.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    log::info!("signal {signal}: signing off and stopping");
                    shards.iter().for_each(Reach::terminate);
                }
            })?;
        Ok(reach)
    }
}

impl Reach {
    /// Asks the shard to sign off and stop; one that has stopped already does not hear it.
    pub fn terminate(&self) {
        let _ = self.inbox.send(Message::Terminate);
        self.waker.wake();
    }
}
