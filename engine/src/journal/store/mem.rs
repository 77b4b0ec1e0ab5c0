//! The simulation's disk.
