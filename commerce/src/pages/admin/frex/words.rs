//! The words of this section: stages, kinds of requests and alerts, decisions, and why a decision was refused.

use maud::{Markup, html};

use crate::frex::alert::AlertKind;
use crate::frex::decide::{OrderAction, RequestAction};
use crate::frex::key::RequestType;
use crate::pages::look::{Tone, notice};

/// The word of `frex::view::stage`, its colour, and what it means.
pub const STAGES: &[(&str, Tone, &str)] = &[
    (
        "placed",
        Tone::Calm,
        "The worker takes it up in its next run.",
    ),
    (
        "registering",
        Tone::Busy,
        "It is being registered with the agency.",
    ),
    (
        "screening",
        Tone::Busy,
        "The agency is screening the buyer.",
    ),
    (
        "held",
        Tone::Busy,
        "The agency holds the screening. It may want more data about the buyer.",
    ),
    (
        "approved",
        Tone::Good,
        "The agency has approved the buyer: goods may be released.",
    ),
    (
        "changing",
        Tone::Busy,
        "A new amount is on its way to the agency. Screening starts again after it.",
    ),
    (
        "billing",
        Tone::Busy,
        "The agency has been asked to bill the buyer.",
    ),
    ("billed", Tone::Good, "The agency has billed the buyer."),
    (
        "cancelling",
        Tone::Busy,
        "It is being cancelled at the agency.",
    ),
    (
        "cancelled",
        Tone::Calm,
        "It is cancelled, here and at the agency.",
    ),
    (
        "refused",
        Tone::Bad,
        "Screening refused the buyer. The order is closed.",
    ),
    (
        "attention",
        Tone::Bad,
        "It waits for a decision of an operator.",
    ),
];

/// The colour and the meaning of a stage.
#[must_use]
pub fn stage(word: &str) -> (Tone, &'static str) {
    let row = STAGES.iter().find(|(w, ..)| *w == word);
    row.map_or((Tone::Calm, ""), |(_, tone, words)| (*tone, *words))
}

/// What a request is for; an unknown type is shown as it is.
#[must_use]
pub fn request(kind: &str) -> &str {
    match RequestType::from_name(kind) {
        Some(kind) => known_request(kind),
        None => kind,
    }
}

const fn known_request(kind: RequestType) -> &'static str {
    match kind {
        RequestType::OrderReg => "Registration",
        RequestType::OrderResult => "Outcome of the registration",
        RequestType::UpdateReg => "Change of the amount",
        RequestType::UpdateResult => "Outcome of the change",
        RequestType::DeleteReg => "Cancel",
        RequestType::DeleteResult => "Outcome of the cancel",
        RequestType::AuthorizeResult => "Screening",
        RequestType::BillingReg => "Billing",
        RequestType::BillingResult => "Outcome of the billing",
    }
}

/// What an operator should do about an alert.
#[must_use]
pub const fn advice(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::RegistrationRefused => {
            "The agency refused to register the order. Correct what it names, then register again, or cancel the order."
        }
        AlertKind::BuyerDataInvalid => {
            "The buyer's data breaks the agency's limits. The shop must correct it; then the order goes on by itself."
        }
        AlertKind::UpdateRefused => {
            "The agency refused the new amount. Take the change back, or settle the difference outside."
        }
        AlertKind::CancelRefused => {
            "The agency refused the cancel; the buyer may have paid. Settle the money outside, or ask again."
        }
        AlertKind::BillingRefused => {
            "The agency refused to bill. Find out why, then bill again or cancel the order."
        }
        AlertKind::BilledAmountMismatch => {
            "The agency billed another amount than the order's. Ask the agency which is right: take its amount, or say that it has corrected the bill."
        }
        AlertKind::AmountMismatch => {
            "The agency confirmed another amount than was sent. The worker asks it to change the amount to the order's; the alert ends when it has."
        }
        AlertKind::ScreeningNg => {
            "Screening refused the buyer, and the order is closed. Nothing is to be done here; tell the customer."
        }
        AlertKind::HoldNeedsData => {
            "Screening waits for more data about the buyer. Give it to the agency."
        }
        AlertKind::RequestUnknown => {
            "Nobody knows whether this request was carried out. Ask the agency, then decide about the request."
        }
        AlertKind::ResultOverdue => {
            "An accepted request has had no outcome for long. Ask the agency."
        }
        AlertKind::StandbyOverdue => {
            "A request waits for long to be sent. See under Runs whether the worker works."
        }
        AlertKind::DelayOverdue => {
            "Screening has taken long. Ask the agency what it waits for; where its interface cannot be asked, decide about the request with its word."
        }
        AlertKind::RunOverdue => {
            "The worker has not ended a run for long: nothing moves. See under Runs, and whether its process is alive."
        }
        AlertKind::InvariantViolated => {
            "The tables break a rule that must always hold. Pause the worker and show this to the developers."
        }
        AlertKind::ReconcileMismatch => {
            "Our books and the agency's differ. Compare the order with the agency before anything else is done."
        }
        AlertKind::AgencyAuth => {
            "The agency does not accept our credentials. Nothing moves until they are mended."
        }
        AlertKind::StepFailed => {
            "A step of the worker failed, or our own code failed on one request again and again. The log has the reason."
        }
        AlertKind::LeaseLost => {
            "Two workers got in each other's way. Check the clocks and the load of the machines."
        }
        AlertKind::ContractViolation => {
            "The agency's answer breaks the agreed form. Show it to the agency."
        }
    }
}

/// A decision about a request, by its word; an unknown one is shown as it is.
#[must_use]
pub fn proposed(action: &str) -> &str {
    match RequestAction::from_word(action) {
        Some(action) => request_action(action),
        None => action,
    }
}

/// A decision about a request.
#[must_use]
pub const fn request_action(action: RequestAction) -> &'static str {
    match action {
        RequestAction::RetryLookup => "Ask the agency again what became of it",
        RequestAction::ConfirmAccepted => "The agency says: accepted (give its number)",
        RequestAction::ConfirmNotReceived => "The agency says: never received. Send it again",
        RequestAction::ConfirmApproved => "The agency says: screening approved the order",
        RequestAction::ConfirmRefused => "The agency says: screening refused it. Close the order",
        RequestAction::Close => "Close: settled outside, take it as refused",
    }
}

/// A decision about an order.
#[must_use]
pub const fn order_action(action: OrderAction) -> &'static str {
    match action {
        OrderAction::RetryRegistration => "Register again",
        OrderAction::RetryBilling => "Bill again",
        OrderAction::RevertAmount => "Take the refused change of the amount back",
        OrderAction::AcceptAgencyAmount => "Take the amount that the agency confirmed",
        OrderAction::AgencyCorrected => "The agency has corrected its bill to the order's amount",
        OrderAction::ClearDeleteRejected => "Ask for the cancel again",
        OrderAction::CloseCancel => "Close the order: its cancel is settled outside",
    }
}

/// What the page says after a decision or a button, by the code in the address.
const SAID: &[(&str, Tone, &str)] = &[
    ("done", Tone::Good, "Done, and written down."),
    (
        "paused",
        Tone::Good,
        "The worker is paused. A run that is under way ends as it would.",
    ),
    (
        "resumed",
        Tone::Good,
        "The worker goes on with its next run.",
    ),
    (
        "second_needed",
        Tone::Busy,
        "Your decision is noted. A second operator must say the same before it is carried out.",
    ),
    (
        "accept_no_missing",
        Tone::Bad,
        "Give the acceptance number that the agency names: 1 to 40 letters, digits or “-”.",
    ),
    (
        "note_missing",
        Tone::Bad,
        "Please choose what shall be done and write down why, in one line of at most 500 characters: the note goes into the books with your name.",
    ),
    ("not_found", Tone::Bad, "There is no such record."),
    (
        "internal",
        Tone::Bad,
        "This did not work. The log has the reason.",
    ),
];

/// Why a decision does not fit the order or the request as they stand.
#[must_use]
pub fn misfit(why: &str) -> Markup {
    notice(
        Tone::Bad,
        &html! { p { "This does not fit: " (why) ". Here is how it stands now." } },
    )
}

/// Colour and words for a code; an unknown code reads as a failure of ours, so that nobody can make the page say something else.
#[must_use]
pub fn said(code: &str) -> (Tone, &'static str) {
    let row = SAID.iter().find(|(c, ..)| *c == code);
    row.map_or(
        (Tone::Bad, "This did not work. The log has the reason."),
        |(_, tone, words)| (*tone, *words),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frex::decide::DecideError;

    #[test]
    fn refusals_have_words() {
        // Shows: the codes of refused decisions are known here, and what is unknown says nothing that stands in an address.
        assert_eq!(said(DecideError::AcceptNo.code()).0, Tone::Bad);
        assert!(
            said(DecideError::AcceptNo.code())
                .1
                .contains("acceptance number")
        );
        let key = "x".to_owned();
        assert!(
            said(DecideError::NoRequest { key }.code())
                .1
                .contains("no such")
        );
        let why = misfit("wait <b>").into_string();
        assert!(why.contains("does not fit: wait &lt;b&gt;. "), "{why}");
        assert!(said("<b>").1.starts_with("This did not work"));
        assert_eq!(stage("<b>"), (Tone::Calm, ""));
    }
}
