//! CAFIS telegrams (spec/cafis.md).
