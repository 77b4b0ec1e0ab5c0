//! Finding transactions in a journal.
