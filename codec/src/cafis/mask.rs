//! Masking of what is shown (`spec/fexics.md` 5.5).
