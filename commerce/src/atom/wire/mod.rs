//! What Atom's interface looks like on the wire, and nothing of what we do with it.
//!
//! Pure functions over text: no socket, no clock, no store. Requests are written by [`request`], answers are opened by
//! [`answer`] and read by [`reply`], callbacks are opened by [`callback_open`]. Amounts, encryption, signatures and the
//! code tables each have a file. The types that cross to the flow are in [`messages`].

pub mod amount;
pub mod answer;
pub mod callback_open;
pub mod codes;
pub mod crypt;
mod json;
pub mod messages;
pub mod reply;
pub mod request;
mod shape;
pub mod sign;

#[cfg(test)]
mod callback_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod reply_tests;
#[cfg(test)]
mod test_keys;
#[cfg(test)]
mod vector_tests;
