//! `libfxapi.so`: the `FX_*` functions of the replaced product over the link (spec/fexics.md 3, 4.1 to 4.5).
//!
//! [`boundary`] is the C side: pointers are checked and copied there, and no panic leaves it. Behind it everything is
//! safe Rust: `calls` are the functions, `registry` knows the API sessions of this process and lets all of them to
//! one daemon share a link, `locate` finds the daemon, `characters` and `events` are the two formats.
//!
//! What a C program must know stands in `client/include/fxapi.h`: fixed widths without a terminating zero, and after
//! `fork` only sessions that were opened in the child.

pub mod boundary;
mod calls;
mod characters;
mod codes;
mod events;
mod locate;
mod registry;
