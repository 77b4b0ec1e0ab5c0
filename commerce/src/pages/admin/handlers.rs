//! The admin pages' addresses.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::html;

use super::login::{LoginProblem, login};
use super::order::{OrderPage, RefundForm, order};
use super::proposal::Deciding;
use super::{issues, orders, records, refunds, timeline};
use crate::pages::desk::{Refusal, failed};
use crate::pages::form::Fields;
use crate::pages::look::{Page, Tone, notice};
use crate::pages::session::{Operator, Signed};
use crate::pages::text::money_field;
use crate::pages::{Pages, fresh_key, words};

/// The routes of the admin pages.
pub fn router() -> Router<Pages> {
    Router::new()
        .route("/admin/login", get(login_page).post(log_in))
        .route("/admin/logout", post(log_out))
        .route("/admin/orders", get(list_orders))
        .route("/admin/orders/{id}", get(one_order))
        .route("/admin/orders/{id}/{action}", post(act))
        .route("/admin/issues", get(list_issues))
        .route("/admin/refunds", get(list_refunds))
}

async fn login_page(RawQuery(query): RawQuery) -> Page {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    login(query.filled("expired").map(|_| LoginProblem::Expired))
}

async fn log_in(State(pages): State<Pages>, body: Bytes) -> Response {
    let form = Fields::parse(&body);
    match pages.sessions.begin(form.get("key")).await {
        Ok(Some(cookie)) => with_cookie(Redirect::to("/admin/orders").into_response(), &cookie),
        Ok(None) => login(Some(LoginProblem::WrongKey)).into_response(),
        Err(error) => failed(&error),
    }
}

async fn log_out(State(pages): State<Pages>, headers: HeaderMap, _: Signed) -> Response {
    match pages.sessions.end(&headers).await {
        Ok(cookie) => with_cookie(Redirect::to("/admin/login").into_response(), &cookie),
        Err(error) => failed(&error),
    }
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn list_orders(
    State(pages): State<Pages>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    match pages.list_orders(&query).await {
        Ok(rows) => {
            let body = orders::orders(&rows, &query);
            Page::new("Orders", operator.chrome("/admin/orders"), body).into_response()
        }
        Err(code) => sorry(&operator, "/admin/orders", code),
    }
}

/// What is to be shown of an order beside the order itself.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub(super) status: StatusCode,
    pub(super) done: &'a str,
    pub(super) problem: &'a str,
    pub(super) reason: &'a str,
    pub(super) refund: Option<RefundForm<'a>>,
}

async fn one_order(
    State(pages): State<Pages>,
    operator: Operator,
    Path(order_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    let said = Said {
        done: query.get("done"),
        ..Said::default()
    };
    show_order(&pages, &operator, &order_id, said).await
}

pub(super) async fn show_order(
    pages: &Pages,
    operator: &Operator,
    order_id: &str,
    said: Said<'_>,
) -> Response {
    let known = match pages.any_order(order_id).await {
        Ok(Some(known)) => known,
        Ok(None) => return sorry(operator, "/admin/orders", "not_found"),
        Err(code) => return sorry(operator, "/admin/orders", code),
    };
    let store = &pages.flow.store;
    let records = tokio::try_join!(
        records::attempts(store, order_id),
        records::refunds(store, order_id),
        timeline::read(store, order_id),
    );
    let (attempts, refunds, moments) = match records {
        Ok(records) => records,
        Err(error) => return failed(&error),
    };
    let wished = match records::wished_refund(store, order_id).await {
        Ok(wished) => wished,
        Err(error) => return failed(&error),
    };
    let wished = wished
        .as_ref()
        .map(|(amount, by)| (*amount, by.as_str()))
        .filter(|(amount, _)| *amount <= known.refundable_amount);
    let all = wished.map_or(known.refundable_amount, |(amount, _)| amount);
    let all = money_field(all, &known.currency);
    let key = fresh_key();
    let offered = RefundForm {
        amount: &all,
        key: &key,
        ..RefundForm::default()
    };
    let page = OrderPage {
        operator,
        order: &known,
        attempts: &attempts,
        refunds: &refunds,
        moments: &moments,
        done: said.done,
        problem: said.problem,
        reason: said.reason,
        refund: said.refund.unwrap_or(offered),
        wished,
    };
    let title = format!("Order {}", known.merchant_order_ref);
    Page::new(title, operator.chrome("/admin/orders"), order(&page))
        .status(said.status)
        .into_response()
}

async fn act(
    State(pages): State<Pages>,
    Path((order_id, action)): Path<(String, String)>,
    signed: Signed,
) -> Response {
    match pages.act(&signed.operator, &order_id, &action).await {
        Ok(()) => {
            let to = format!("/admin/orders/{order_id}?done={action}");
            Redirect::to(&to).into_response()
        }
        Err(refusal) => {
            let said = Said {
                status: StatusCode::CONFLICT,
                problem: words::for_operator(refusal.code),
                reason: &refusal.reason,
                ..Said::default()
            };
            show_order(&pages, &signed.operator, &order_id, said).await
        }
    }
}

async fn list_issues(
    State(pages): State<Pages>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    show_issues(&pages, &operator, &query, None).await
}

/// The list of issues, with what became of the last form.
pub(super) async fn show_issues(
    pages: &Pages,
    operator: &Operator,
    query: &Fields,
    refusal: Option<&Refusal>,
) -> Response {
    let (closed, key) = (query.filled("closed").is_some(), fresh_key());
    match pages.issues(closed, query.filled("cursor")).await {
        Ok(list) => {
            let body = maud::html! {
                (said_above(query, refusal))
                (issues::issues(&deciding(pages, operator, &key), &list, closed))
            };
            Page::new("Issues", operator.chrome("/admin/issues"), body)
                .status(status_of(refusal))
                .into_response()
        }
        Err(code) => sorry(operator, "/admin/issues", code),
    }
}

async fn list_refunds(
    State(pages): State<Pages>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    show_refunds(&pages, &operator, &query, None).await
}

/// The list of refunds, with what became of the last form.
pub(super) async fn show_refunds(
    pages: &Pages,
    operator: &Operator,
    query: &Fields,
    refusal: Option<&Refusal>,
) -> Response {
    match refunds::read(&pages.flow.store).await {
        Ok(open) => {
            let (now_ms, key) = (pages.flow.clock.now_ms(), fresh_key());
            let body = html! {
                (said_above(query, refusal))
                (refunds::refunds(&deciding(pages, operator, &key), &open, now_ms))
            };
            Page::new("Refunds", operator.chrome("/admin/refunds"), body)
                .status(status_of(refusal))
                .into_response()
        }
        Err(error) => failed(&error),
    }
}

fn deciding<'a>(pages: &Pages, operator: &'a Operator, key: &'a str) -> Deciding<'a> {
    let two = pages.flow.settings.require_second_operator;
    Deciding { operator, two, key }
}

/// What became of the last form of a list.
fn said_above(query: &Fields, refusal: Option<&Refusal>) -> maud::Markup {
    html! {
        @if query.filled("done").is_some() { (notice(Tone::Good, &html! { p { "Done, and written down." } })) }
        @if let Some(refusal) = refusal {
            (problem(words::for_operator(refusal.code), &refusal.reason))
        }
    }
}

/// Why something was not done: the words of its code, and under them the flow's own for this case.
pub(super) fn problem(words: &str, reason: &str) -> maud::Markup {
    notice(
        Tone::Bad,
        &html! {
            p { (words) }
            @if !reason.is_empty() { p.small { (reason) } }
        },
    )
}

fn status_of(refusal: Option<&Refusal>) -> StatusCode {
    match refusal {
        // It was noted, and waits for somebody else.
        Some(refusal) if refusal.code != "second_operator_required" => StatusCode::CONFLICT,
        _ => StatusCode::OK,
    }
}

pub(super) fn sorry(operator: &Operator, here: &'static str, code: &str) -> Response {
    let status = match code {
        "not_found" => StatusCode::NOT_FOUND,
        "internal_error" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let body = notice(Tone::Bad, &html! { p { (words::for_operator(code)) } });
    Page::new("That did not work", operator.chrome(here), body)
        .status(status)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_stands_under_the_words_and_is_escaped() {
        // Shows: what the flow says about a case is shown beside the words of its code, and can be no markup.
        let shown = problem("That did not work.", "for <b>").into_string();
        assert!(shown.contains("That did not work.") && shown.contains("for &lt;b&gt;"));
        assert_eq!(problem("Words.", "").into_string().matches("<p").count(), 1);
    }
}
