//! The addresses of this section.

use axum::Router;
use axum::extract::{FromRef, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde_json::Value;

use super::order::{OrderPage, order};
use super::records::{self, Wanted};
use super::{alerts, history, menu, orders, runs, words};
use crate::frex::decide::{self, DecideError, Decided, Decider, OrderAction, RequestAction};
use crate::frex::error::FrexError;
use crate::frex::lease::{self, LeaseView};
use crate::frex::shop::Shop;
use crate::frex::view::{self, AlertFilter};
use crate::pages::form::Fields;
use crate::pages::look::{Page, Tone, notice};
use crate::pages::session::{Operator, Sessions, Signed, broken};
use crate::store::Store;

/// The section's address in the menu of the admin pages.
pub const HERE: &str = "/admin/frex/orders";

/// Alerts on a page, and runs shown.
const ROWS: i64 = 50;
const RUNS: i64 = 30;

/// What these pages need.
#[derive(Clone)]
pub struct Desk {
    /// Decisions, and the tables.
    pub shop: Shop,
    /// Who is logged in.
    pub sessions: Sessions,
}

impl FromRef<Desk> for Sessions {
    fn from_ref(desk: &Desk) -> Self {
        desk.sessions.clone()
    }
}

/// The routes of this section.
pub fn router<S: Clone + Send + Sync + 'static>(desk: Desk) -> Router<S> {
    Router::new()
        .route("/admin/frex", get(|| async { Redirect::to(HERE) }))
        .route("/admin/frex/orders", get(list_orders))
        .route("/admin/frex/orders/{number}", get(one_order))
        .route("/admin/frex/orders/{number}/resolve", post(resolve_order))
        .route("/admin/frex/requests/resolve", post(resolve_request))
        .route("/admin/frex/alerts", get(list_alerts))
        .route("/admin/frex/alerts/{id}/resolve", post(resolve_alert))
        .route("/admin/frex/runs", get(list_runs))
        .route("/admin/frex/pause", post(pause))
        .route("/admin/frex/resume", post(resume))
        .with_state(desk)
}

/// A page of this section under the menu of its pages, with what became of the last form.
fn page(operator: &Operator, title: &str, here: &str, query: &Fields, body: &Markup) -> Page {
    let body = html! {
        (menu(here))
        @if let Some(code) = query.filled("said") {
            @let (tone, words) = words::said(code);
            (notice(tone, &html! { p { (words) } }))
        }
        (body)
    };
    Page::new(title, operator.chrome(HERE), body)
}

fn parse(query: Option<String>) -> Fields {
    Fields::parse(query.unwrap_or_default().as_bytes())
}

/// The page for tables that cannot be read; the reason goes to the log.
fn failed(error: &FrexError) -> Response {
    log::error!("a page of deferred payment could not be served: {error}");
    broken()
}

async fn list_orders(
    State(desk): State<Desk>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Response {
    let query = parse(query);
    let wanted = Wanted {
        number: query.get("number"),
        only: query.get("only"),
        before: query.get("before"),
    };
    match records::orders(&desk.shop.store, wanted).await {
        Ok((rows, next)) => {
            let body = orders::orders(&rows, next.as_deref(), &query);
            page(&operator, "Deferred payment", HERE, &query, &body).into_response()
        }
        Err(error) => failed(&error),
    }
}

async fn one_order(
    State(desk): State<Desk>,
    operator: Operator,
    Path(number): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = parse(query);
    match read_order(&desk, &operator, &number).await {
        Ok(Some(body)) => {
            page(&operator, &format!("Order {number}"), HERE, &query, &body).into_response()
        }
        Ok(None) => {
            let body = notice(Tone::Bad, &html! { p { (words::said("not_found").1) } });
            page(&operator, "No order here", HERE, &query, &body)
                .status(StatusCode::NOT_FOUND)
                .into_response()
        }
        Err(error) => failed(&error),
    }
}

async fn read_order(
    desk: &Desk,
    operator: &Operator,
    number: &str,
) -> Result<Option<Markup>, FrexError> {
    let store = &desk.shop.store;
    let Some((_, seen)) = view::order(store, number).await? else {
        return Ok(None);
    };
    let Some(pair) = records::pair(store, number).await? else {
        return Ok(None);
    };
    let proposed = records::proposed(store, number).await?;
    let moments = history::read(store, &pair).await?;
    Ok(Some(order(&OrderPage {
        operator,
        pair: &pair,
        view: &seen,
        proposed: &proposed,
        protocol: desk.shop.protocol,
        moments: &moments,
    })))
}

async fn list_alerts(
    State(desk): State<Desk>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Response {
    let query = parse(query);
    let all = query.filled("all").is_some();
    let filter = AlertFilter {
        resolved: all,
        after: query.filled("after"),
        limit: ROWS + 1,
        ..AlertFilter::default()
    };
    match view::alerts(&desk.shop.store, &filter).await {
        Ok(mut rows) => {
            let more = rows.len() > ROWS as usize;
            rows.truncate(ROWS as usize);
            let last = rows
                .last()
                .and_then(|row| row["id"].as_str())
                .filter(|_| more);
            let body = alerts::alerts(&operator, &rows, all, last);
            page(&operator, "Alerts", "/admin/frex/alerts", &query, &body).into_response()
        }
        Err(error) => failed(&error),
    }
}

async fn list_runs(
    State(desk): State<Desk>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Response {
    let query = parse(query);
    let store = &desk.shop.store;
    match worker(store).await {
        Ok((lease, rows)) => {
            let body = runs::runs(&operator, &lease, &rows, desk.shop.clock.now_ms());
            page(&operator, "Runs", "/admin/frex/runs", &query, &body).into_response()
        }
        Err(error) => failed(&error),
    }
}

/// How the worker stands, with the name of who paused it, and its last runs.
async fn worker(store: &Store) -> Result<(LeaseView, Vec<Value>), FrexError> {
    let mut lease = lease::view(store).await?;
    if let Some(key_id) = &lease.paused_by {
        lease.paused_by = Some(records::name_of(store, key_id).await?);
    }
    Ok((lease, view::runs(store, RUNS).await?))
}

async fn resolve_order(
    State(desk): State<Desk>,
    Path(number): Path<String>,
    signed: Signed,
) -> Response {
    let (Some(action), Some(by)) = (
        OrderAction::from_word(signed.form.get("action")),
        note(&signed),
    ) else {
        return to_order(&number, "note_missing");
    };
    let outcome = desk.shop.resolve_order(&number, action, by).await;
    decided(&desk, &signed.operator, &number, outcome).await
}

async fn resolve_request(State(desk): State<Desk>, signed: Signed) -> Response {
    let form = &signed.form;
    let key = form.get("request");
    // A key begins with its order's number; what does not is no key and leads to no order.
    let number: String = key
        .split(':')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| is_of_number(*c))
        .collect();
    let (Some(action), Some(by)) = (RequestAction::from_word(form.get("action")), note(&signed))
    else {
        return to_order(&number, "note_missing");
    };
    let accept_no = form.filled("accept_no");
    let outcome = desk.shop.resolve_request(key, action, accept_no, by).await;
    decided(&desk, &signed.operator, &number, outcome).await
}

/// The order's page again, with what became of the form.
fn to_order(number: &str, code: &str) -> Response {
    Redirect::to(&format!("/admin/frex/orders/{number}?said={code}")).into_response()
}

/// Letters of an order's number, none of which could lead out of an address.
fn is_of_number(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// Who decides, and the note they wrote.
fn note(signed: &Signed) -> Option<Decider<'_>> {
    let note = signed.form.filled("note")?;
    decide::is_note(note).then_some(Decider {
        operator: &signed.operator.key_id,
        note,
    })
}

/// What became of a decision. Why one does not fit stands on the page that answers the form: an address could not carry it without
/// letting anybody make the page say something else.
async fn decided(
    desk: &Desk,
    operator: &Operator,
    number: &str,
    decided: Result<Decided, DecideError>,
) -> Response {
    let error = match decided {
        Ok(Decided::Done) => return to_order(number, "done"),
        Ok(Decided::NeedsSecond) => return to_order(number, "second_needed"),
        Err(error) => error,
    };
    log::warn!("a decision about deferred payment was refused: {error}");
    let DecideError::NotFitting { why, .. } = error else {
        return to_order(number, error.code());
    };
    match read_order(desk, operator, number).await {
        Ok(Some(body)) => {
            let body = html! { (words::misfit(why)) (body) };
            let title = format!("Order {number}");
            page(operator, &title, HERE, &Fields::default(), &body)
                .status(StatusCode::CONFLICT)
                .into_response()
        }
        Ok(None) => to_order(number, "not_found"),
        Err(error) => failed(&error),
    }
}

async fn resolve_alert(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    signed: Signed,
) -> Response {
    let by = Decider::without_note(&signed.operator.key_id);
    let code = match desk.shop.resolve_alert(&id, by).await {
        Ok(true) => "done",
        Ok(false) => "not_found",
        Err(error) => return failed(&error),
    };
    let number: String = signed
        .form
        .get("order")
        .chars()
        .filter(|c| is_of_number(*c))
        .collect();
    let to = match number.as_str() {
        "" => format!("/admin/frex/alerts?said={code}"),
        number => format!("/admin/frex/orders/{number}?said={code}"),
    };
    Redirect::to(&to).into_response()
}

async fn pause(State(desk): State<Desk>, signed: Signed) -> Response {
    set_paused(&desk, &signed, true, "paused").await
}

async fn resume(State(desk): State<Desk>, signed: Signed) -> Response {
    set_paused(&desk, &signed, false, "resumed").await
}

async fn set_paused(desk: &Desk, signed: &Signed, paused: bool, code: &str) -> Response {
    let by = Decider::without_note(&signed.operator.key_id);
    match desk.shop.set_paused(paused, by).await {
        Ok(()) => Redirect::to(&format!("/admin/frex/runs?said={code}")).into_response(),
        Err(error) => failed(&error),
    }
}
