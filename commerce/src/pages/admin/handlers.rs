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
use crate::pages::desk::failed;
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
        problem: query.filled("problem").map_or("", words::for_operator),
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
    let to = match pages.act(&signed.operator, &order_id, &action).await {
        Ok(()) => format!("/admin/orders/{order_id}?done={action}"),
        Err(code) => format!("/admin/orders/{order_id}?problem={code}"),
    };
    Redirect::to(&to).into_response()
}

async fn list_issues(
    State(pages): State<Pages>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    let (closed, key) = (query.filled("closed").is_some(), fresh_key());
    match pages.issues(closed, query.filled("cursor")).await {
        Ok(list) => {
            let body = maud::html! {
                (said_above(&query))
                (issues::issues(&deciding(&pages, &operator, &key), &list, closed))
            };
            Page::new("Issues", operator.chrome("/admin/issues"), body).into_response()
        }
        Err(code) => sorry(&operator, "/admin/issues", code),
    }
}

async fn list_refunds(
    State(pages): State<Pages>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    match refunds::read(&pages.flow.store).await {
        Ok(open) => {
            let (now_ms, key) = (pages.flow.clock.now_ms(), fresh_key());
            let body = html! {
                (said_above(&query))
                (refunds::refunds(&deciding(&pages, &operator, &key), &open, now_ms))
            };
            Page::new("Refunds", operator.chrome("/admin/refunds"), body).into_response()
        }
        Err(error) => failed(&error),
    }
}

fn deciding<'a>(pages: &Pages, operator: &'a Operator, key: &'a str) -> Deciding<'a> {
    let two = pages.flow.settings.require_second_operator;
    Deciding { operator, two, key }
}

/// What became of the last form of a list.
fn said_above(query: &Fields) -> maud::Markup {
    html! {
        @if query.filled("done").is_some() { (notice(Tone::Good, &html! { p { "Done, and written down." } })) }
        @if let Some(code) = query.filled("problem") {
            (notice(Tone::Bad, &html! { p { (words::for_operator(code)) } }))
        }
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
