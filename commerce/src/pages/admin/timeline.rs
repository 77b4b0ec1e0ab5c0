//! What happened to one order, in the order in which it happened.

use maud::{Markup, html};

use crate::pages::look::{Tone, badge};
use crate::pages::text::{Zone, when_ms};

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// How it is coloured.
    pub tone: Tone,
    /// What happened, in a few words.
    pub what: String,
    /// Who or what caused it; empty for the system itself.
    pub who: String,
    /// More about it; empty if there is no more.
    pub detail: String,
}

/// The moments, oldest first.
#[must_use]
pub fn timeline(moments: &[Moment]) -> Markup {
    html! {
        ol.timeline {
            @for moment in moments {
                li.(class(moment.tone)) {
                    p {
                        strong { (moment.what) }
                        @if !moment.who.is_empty() { " " (badge(&moment.who, Tone::Calm)) }
                    }
                    p.dim.small { (when_ms(moment.at_ms, Zone::Ist)) }
                    @if !moment.detail.is_empty() { p.small { (moment.detail) } }
                }
            }
        }
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Busy => "busy",
        Tone::Bad => "bad",
        Tone::Calm => "calm",
    }
}
