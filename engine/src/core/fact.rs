//! Facts: what the core writes down, and the only thing recovery reads.
//!
//! A fact says what happened, never what to do about it; applying the facts of a journal in their order
//! rebuilds the durable part of the core's state exactly. Each fact type has a number and a version, since
//! archived layouts do not evolve: a changed layout is a new version, read beside the old one.
//! All frames in facts are fault images or masked the same way: no PIN, security code or discretionary data.

use rkyv::boxed::ArchivedBox;
use rkyv::rancor::Failure;
use rkyv::rend::{u16_le, u32_le, u64_le};
use rkyv::ser::{allocator::SubAllocator, writer::Buffer};
use rkyv::with::InlineAsBox;
use rkyv::{Archive, Serialize};
use std::mem::MaybeUninit;
use thiserror::Error;

/// The fixed part in front of every fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactHead {
    /// Stable line id; 0 for facts of the whole shard.
    pub line: u32,
    /// The line's epoch: rises when the line moves to another shard or node.
    pub epoch: u32,
    /// Transaction id; 0 if the fact belongs to none.
    pub tx: u64,
    /// Trace id of the application's request; 0 if none.
    pub trace: u64,
    /// Wall time, nanoseconds since 1970 UTC.
    pub wall_ns: u64,
}

/// Why the bytes of a record are not the fact that its type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FactError {
    /// The type and version are of no fact that this build knows.
    #[error("record type {kind} version {version} is unknown to this build")]
    Unknown {
        /// Type number.
        kind: u16,
        /// Version of the layout.
        version: u16,
    },
    /// The bytes are no valid archive of the type.
    #[error("record type {kind} holds bytes that are no valid archive")]
    Malformed {
        /// Type number.
        kind: u16,
    },
    /// The fact does not fit into the space that is left.
    #[error("a record of type {kind} does not fit into {space} bytes")]
    NoSpace {
        /// Type number.
        kind: u16,
        /// Bytes that were there.
        space: usize,
    },
}

/// The version of every layout below. A layout that changes gets a number of its own.
pub const FACT_VERSION: u16 = 1;

/// How many cut dates a line remembers the last sequence number of.
pub const CUT_DATES: usize = 8;

/// An archived field as its native value.
trait Native<'a> {
    type Out;
    fn native(&'a self) -> Self::Out;
}

/// Fields that are archived as themselves, and numbers.
macro_rules! native {
    ($($archived:ty => $out:ty: $convert:expr;)*) => {
        $(impl<'a> Native<'a> for $archived {
            type Out = $out;
            fn native(&'a self) -> $out { let convert: fn(&'a $archived) -> $out = $convert; convert(self) }
        })*
    };
}

native! {
    u8 => u8: |field| *field;
    u16_le => u16: |field| field.to_native();
    u32_le => u32: |field| field.to_native();
    u64_le => u64: |field| field.to_native();
    [u8; 16] => [u8; 16]: |field| *field;
    [u32_le; CUT_DATES] => [u32; CUT_DATES]: |field| field.map(u32_le::to_native);
    ArchivedBox<[u8]> => &'a [u8]: |field| &field[..];
}

/// Archives a value at the front of `out`; `None` if it does not fit.
fn archive<T>(value: &T, out: &mut [u8]) -> Option<usize>
where
    T: for<'b, 'c> Serialize<rkyv::api::low::LowSerializer<Buffer<'b>, SubAllocator<'c>, Failure>>,
{
    let mut scratch = [MaybeUninit::<u8>::uninit(); 64];
    let done = rkyv::api::low::to_bytes_in_with_alloc::<_, _, Failure>(
        value,
        Buffer::from(out),
        SubAllocator::new(&mut scratch),
    );
    done.ok().map(|buffer| buffer.len())
}

/// Declares every fact once: the struct, its number, and how it is written and read back.
macro_rules! facts {
    ($($(#[doc = $doc:literal])* $kind:literal $name:ident $(<$life:lifetime>)? {
        $($(#[$attr:meta])* $field:ident: $ty:ty,)*
    })*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize)]
            pub struct $name $(<$life>)? { $($(#[$attr])* pub $field: $ty,)* }

            impl<'a> From<$name $(<$life>)?> for Fact<'a> {
                fn from(fact: $name $(<$life>)?) -> Self { Fact::$name(fact) }
            }
        )*

        /// Any fact, borrowing its frames.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fact<'a> { $($(#[doc = $doc])* $name($name $(<$life>)?),)* }

        impl<'a> Fact<'a> {
            /// Every type number with its name, for tools and tests.
            pub const KINDS: &'static [(u16, &'static str)] = &[$(($kind, stringify!($name)),)*];

            /// The type number of this fact.
            #[must_use]
            pub const fn kind(&self) -> u16 { match self { $(Fact::$name(_) => $kind,)* } }

            /// Archives the fact at the front of `out`, which must be aligned to 16 bytes; returns the length.
            ///
            /// # Errors
            /// [`FactError::NoSpace`] if `out` is too short.
            pub fn write(&self, out: &mut [u8]) -> Result<usize, FactError> {
                let space = out.len();
                let len = match self { $(Fact::$name(fact) => archive(fact, out),)* };
                len.ok_or(FactError::NoSpace { kind: self.kind(), space })
            }

            /// Reads a fact back, checking every byte of the archive. `bytes` must be aligned to 16 bytes.
            ///
            /// # Errors
            /// An unknown type or version, or bytes that are no archive of it.
            pub fn read(kind: u16, version: u16, bytes: &'a [u8]) -> Result<Fact<'a>, FactError> {
                if version != FACT_VERSION {
                    return Err(FactError::Unknown { kind, version });
                }
                match kind {
                    $($kind => {
                        let fact = rkyv::access::<rkyv::Archived<$name>, Failure>(bytes)
                            .map_err(|_| FactError::Malformed { kind })?;
                        Ok(Fact::$name($name { $($field: fact.$field.native(),)* }))
                    })*
                    _ => Err(FactError::Unknown { kind, version }),
                }
            }
        }
    };
}

facts! {
    /// The daemon started. Everything open in the facts before was left by a stop that was no shutdown, unless `Stopped` stands right before.
    1 Booted {
        /// Changes with every start.
        boot: u64,
    }
    /// An orderly shutdown: nothing of an application is open any more.
    2 Stopped {
        /// The boot that ends.
        boot: u64,
    }
    /// The line's service state changed.
    3 Service {
        /// The new state, `Service as u8`.
        state: u8,
    }
    /// The cut date changed; the sequence continues at the date's last number.
    4 CutDateSet {
        /// The new date as the number YYYYMMDD.
        date: u32,
    }
    /// An API session was opened.
    5 ApiOpened {
        /// Its token.
        token: [u8; 16],
    }
    /// An API session is gone: closed, or not resumed in time.
    6 ApiClosed {
        /// Its token.
        token: [u8; 16],
    }
    /// A request was accepted; it is sent once this is durable.
    10 Request<'a> {
        /// The route it takes.
        route: u16,
        /// `TURNAROUND` and other bits.
        flags: u16,
        /// Its originator sequence.
        sequence: u32,
        /// The cut date of the sequence, YYYYMMDD.
        cut_date: u32,
        /// Token of the API session.
        api: [u8; 16],
        /// Client request id.
        request: u64,
        /// The whole frame as a fault image.
        #[rkyv(with = InlineAsBox)] image: &'a [u8],
    }
    /// An accepted request was not sent after all; its route is free and its number stays used.
    11 NotSent {
        /// `Cause as u8`.
        cause: u8,
    }
    /// The centre's report to a request (3x20, 3x50, 4920, 8970); the route is free.
    12 Report<'a> {
        /// The masked frame.
        #[rkyv(with = InlineAsBox)] frame: &'a [u8],
    }
    /// The library said that it holds the report: the transaction is settled.
    13 Delivered {
        /// Client request id.
        request: u64,
    }
    /// A fault message is about to be sent.
    14 Fault {
        /// 8910, 8920, 8930 or 8940.
        mti: u16,
        /// The route it takes.
        route: u16,
        /// Sends in this activation, this one included.
        sends: u16,
        /// Why the cascade began, `Cause as u8`.
        cause: u8,
        /// C33 answers of this activation.
        congested: u8,
    }
    /// The centre's answer to a fault message (8950, 8960, 8970).
    15 FaultReport<'a> {
        /// What follows from it, `Verdict as u8`.
        verdict: u8,
        /// The masked frame.
        #[rkyv(with = InlineAsBox)] frame: &'a [u8],
    }
    /// A fault message cannot be sent now; it is held until the next start of service.
    16 Held {
        /// The message type to send next.
        next: u16,
        /// Its route, 0 if it has none yet (8910).
        route: u16,
        /// `Cause as u8`.
        cause: u8,
    }
    /// All sends are used up, or the centre's answer leaves it open; an operator is called, the hold is kept.
    17 Escalated {
        /// The message type to send when it comes to life again.
        next: u16,
        /// `Cause as u8`.
        cause: u8,
    }
    /// The transaction is over without a centre's answer to a fault message.
    18 Ended {
        /// `Outcome as u8`.
        outcome: u8,
    }
    /// A report came while its cancel-confirm was on the way; the cancel wins.
    19 LateReport<'a> {
        /// The masked frame.
        #[rkyv(with = InlineAsBox)] frame: &'a [u8],
    }
    /// A telegram of the centre was dropped.
    20 Dropped<'a> {
        /// `Drop as u8`.
        reason: u8,
        /// The masked frame.
        #[rkyv(with = InlineAsBox)] frame: &'a [u8],
    }
    /// A telegram of the centre on an inward route was answered by ourselves.
    21 Answered<'a> {
        /// The message type of the answer.
        mti: u16,
        /// The masked frame that was received.
        #[rkyv(with = InlineAsBox)] frame: &'a [u8],
    }
    /// First fact of a checkpoint: the state before it is forgotten.
    30 CheckpointBegin {
        /// The highest transaction id given out.
        last_tx: u64,
        /// The boot that wrote it.
        boot: u64,
    }
    /// A line in a checkpoint.
    31 CheckpointLine {
        /// `Service as u8`.
        state: u8,
        /// The cut date in force, YYYYMMDD.
        cut_date: u32,
        /// Remembered cut dates, 0 where unused.
        dates: [u32; CUT_DATES],
        /// The last sequence number of each.
        sequences: [u32; CUT_DATES],
    }
    /// An API session in a checkpoint.
    32 CheckpointApi {
        /// Its token.
        token: [u8; 16],
        /// The highest request id on record.
        highest: u64,
    }
    /// An open transaction, in a checkpoint or brought back from the journal by an order.
    33 Open<'a> {
        /// `Phase as u8`.
        phase: u8,
        /// `Cause as u8`.
        cause: u8,
        /// C33 answers of this activation.
        congested: u8,
        /// Its current route, 0 if none.
        route: u16,
        /// Flags of the request.
        flags: u16,
        /// The fault message sent last, or to be sent next; 0 if none.
        fault: u16,
        /// Sends of this activation.
        sends: u16,
        /// Originator sequence.
        sequence: u32,
        /// Cut date of the sequence.
        cut_date: u32,
        /// Token of the API session.
        api: [u8; 16],
        /// Client request id.
        request: u64,
        /// The request as a fault image.
        #[rkyv(with = InlineAsBox)] image: &'a [u8],
        /// The masked report, empty if there is none.
        #[rkyv(with = InlineAsBox)] report: &'a [u8],
    }
    /// Last fact of a checkpoint: it is complete.
    34 CheckpointEnd {
        /// Facts since `CheckpointBegin`, both ends counted.
        facts: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(16))]
    struct Aligned([u8; 4096]);

    /// A fact that is written and read back is the same, and a flipped type or version is named.
    #[test]
    fn facts_round_trip() {
        let request = Request {
            route: 2,
            flags: 1,
            sequence: 123,
            cut_date: 20261130,
            api: [9; 16],
            request: 7,
            image: b"frame",
        };
        let open = Open {
            phase: 1,
            cause: 2,
            congested: 0,
            route: 4,
            flags: 0,
            fault: 8930,
            sends: 3,
            sequence: 5,
            cut_date: 20261130,
            api: [1; 16],
            request: 9,
            image: &[7; 208],
            report: &[],
        };
        let line = CheckpointLine {
            state: 4,
            cut_date: 20261130,
            dates: [1; CUT_DATES],
            sequences: [2; CUT_DATES],
        };
        for fact in [
            Fact::from(request),
            open.into(),
            line.into(),
            Delivered { request: 3 }.into(),
            Booted { boot: 1 }.into(),
        ] {
            let mut memory = Aligned([0xee; 4096]);
            let len = fact.write(&mut memory.0).expect("it fits");
            assert_eq!(
                Fact::read(fact.kind(), FACT_VERSION, &memory.0[..len]),
                Ok(fact)
            );
            assert_eq!(
                Fact::read(999, FACT_VERSION, &memory.0[..len]),
                Err(FactError::Unknown {
                    kind: 999,
                    version: 1
                })
            );
            assert!(
                fact.write(&mut memory.0[..len.saturating_sub(1)]).is_err(),
                "one byte short"
            );
        }
    }
}
