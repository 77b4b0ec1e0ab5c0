//! The return codes that travel in a frame's `code` (spec/fexics.md 4.2). The C library returns them as they are.

/// Declares the return codes once, for the constants and for [`name`].
macro_rules! return_codes {
    ($($value:literal $name:ident $text:literal;)*) => {
        $(#[doc = $text] pub const $name: u16 = $value;)*
        /// The `RC_*` name of a code, for logs and tools.
        #[must_use]
        pub fn name(code: u16) -> &'static str {
            match code { $($value => concat!("RC_", stringify!($name)),)* _ => "RC_?" }
        }
    };
}

return_codes! {
    0 OK "Done.";
    1 NG "Refused.";
    7 NO_SESSION_ID "The API session is unknown or released.";
    10 TIME_OUT "A timer expired; the outcome is settled by the daemon.";
    11 INVALID_MSG "Characters that a telegram may not hold.";
    12 ERR_CENTER_BUSY "The destination or the centre is congested.";
    13 USE_SESSION_ID "The API session is busy in another call.";
    14 DATA_IS_NOT_READY "Nothing received yet.";
    15 ERROR_API_INTERNAL "An internal error of the library.";
    16 ERROR_DAEMON "An internal error of the daemon.";
    17 ERROR_CENTER "An unusable telegram from the centre.";
    18 ERROR_SOCKET "The link to the daemon is lost.";
    19 ROUTE_BUSY "No free route.";
    20 APPL_IS_REMAINED "Applications still use the daemon.";
    23 PKG_IS_NOT_SIGNOFF "The line is not signed off.";
    24 PKG_IS_NOT_STARTED "The daemon is not running.";
    25 PKG_IS_SIGNOFF_OR_SWITCHING "The line is signed off, or its state is changing.";
    31 ERR_SEARCHJOURNAL "The transaction key is not in the journal.";
    34 ERR_GETSEQNUM "No sequence number or key could be obtained.";
    36 ERR_RETRY_OVER "All re-commands were used up; the transaction is escalated.";
    40 ERR_JOURNAL "The journal cannot take the record.";
    43 ERR_ALL_CENTER_SESSION "No session with the centre.";
    1000 INVALID_PARAM "A bad argument.";
}
