//! Data sections: what lies behind the header (`spec/cafis.md` 4).
//!
//! `fixed` views the two sections that every authorisation has, 1-0 and 1-1, and patches 1-0 in place. `walk` finds
//! the sections of any message for the fault image, masking and display; it never judges their contents, since
//! the gateway never edits a client's data.

mod fixed;
mod walk;

pub use fixed::{
    CardContent, SECTION_10, SECTION_10_LEN, SECTION_11, SECTION_11_LEN, Section10, Section11,
    SectionError, TransactionKey, set_approval, set_error_code, set_master_mti,
};
pub use walk::{SectionKind, Sections, Span, Walk, sections};
