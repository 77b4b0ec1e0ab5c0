//! The forms with which operators move money, or decide what became of it.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;

use super::handlers::{Said, show_issues, show_order, show_refunds, sorry};
use super::order::RefundForm;
use crate::pages::form::Fields;
use crate::pages::order::Order;
use crate::pages::session::Signed;
use crate::pages::text::{money, parse_money};
use crate::pages::{Pages, fresh_key, words};

/// The routes of these forms.
pub fn router() -> Router<Pages> {
    Router::new()
        .route("/admin/orders/{id}/refund", post(refund))
        .route("/admin/issues/{id}/resolve", post(resolve_issue))
        .route("/admin/refunds/{id}/resolve", post(resolve_refund))
}

/// Refunds. What the form says is repeated on the page when it is refused, so that nothing has to be typed twice.
async fn refund(
    State(pages): State<Pages>,
    Path(order_id): Path<String>,
    Signed { operator, form }: Signed,
) -> Response {
    let known = match pages.any_order(&order_id).await {
        Ok(Some(known)) => known,
        Ok(None) => return sorry(&operator, "/admin/orders", "not_found"),
        Err(code) => return sorry(&operator, "/admin/orders", code),
    };
    let error = match checked_amount(&form, &known) {
        Ok(amount) => {
            let asked = pages.refund(&operator, &known, amount, &form).await;
            match asked {
                Ok(state) => {
                    let to = format!("/admin/orders/{order_id}?done={state}");
                    return Redirect::to(&to).into_response();
                }
                Err("refund_exceeds_balance") => too_much(&known),
                Err(code) => words::for_operator(code).to_owned(),
            }
        }
        Err(words) => words,
    };
    let key = fresh_key();
    let said = Said {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        refund: Some(RefundForm {
            amount: form.get("amount"),
            reason: form.get("reason"),
            amount_error: &error,
            key: &key,
        }),
        ..Said::default()
    };
    show_order(&pages, &operator, &order_id, said).await
}

fn checked_amount(form: &Fields, known: &Order) -> Result<i64, String> {
    let amount = parse_money(form.get("amount"), &known.currency).map_err(|e| e.to_string())?;
    if amount > known.refundable_amount {
        return Err(too_much(known));
    }
    if form.filled("sure").is_none() {
        return Err("Please tick the box below: the amount leaves our account.".to_owned());
    }
    Ok(amount)
}

fn too_much(known: &Order) -> String {
    let left = money(known.refundable_amount, &known.currency);
    format!("Only {left} can still be refunded.")
}

async fn resolve_issue(
    State(pages): State<Pages>,
    Path(issue_id): Path<String>,
    signed: Signed,
) -> Response {
    match pages.resolve_issue(&signed, &issue_id).await {
        Ok(()) => Redirect::to("/admin/issues?done=1").into_response(),
        Err(refusal) => {
            let said = Fields::default();
            show_issues(&pages, &signed.operator, &said, Some(&refusal)).await
        }
    }
}

async fn resolve_refund(
    State(pages): State<Pages>,
    Path(refund_id): Path<String>,
    signed: Signed,
) -> Response {
    match pages.resolve_refund(&signed, &refund_id).await {
        Ok(()) => Redirect::to("/admin/refunds?done=1").into_response(),
        Err(refusal) => {
            let said = Fields::default();
            show_refunds(&pages, &signed.operator, &said, Some(&refusal)).await
        }
    }
}
