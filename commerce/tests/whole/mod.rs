//! What is shown with real processes: every fault of Atom, and a log without secrets.

mod faults;
mod logs;
mod stage;
