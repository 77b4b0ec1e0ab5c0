//! Reading a journal with tools.
