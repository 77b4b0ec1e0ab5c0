//! What is shown with real processes: every fault of Atom, a crash at every point, two processes side by side, and a log
//! without secrets.

mod crash;
mod faults;
mod logs;
mod side_by_side;
mod stage;
