//! The pages in a real Chromium, with the real `commerced` and the real simulators behind them, on a desk and on a phone.
//!
//! Each page that a test comes by is looked at: nothing blocked by its own policy, nothing from elsewhere, no sideways scrolling,
//! labels, sizes and contrast. The pictures lie in `target/tmp/pages`.

#[path = "../daemon/mod.rs"]
mod daemon;

mod browser;
mod decisions;
mod deferred;
mod desk;
mod headers;
mod login;
mod shop;
mod stage;
