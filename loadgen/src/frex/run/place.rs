//! Orders for the load: new ones, and ones that stand open already.

use commerce::frex::agency::{Buyer, Delivery, Detail, TaxRateSummary};
use commerce::frex::decide::Decider;
use commerce::frex::error::FrexError;
use commerce::frex::key::{RequestKey, RequestType};
use commerce::frex::model::{
    Goods, MoneyInput, Order, OrderStage, PAY_TYPE, Request, StateInfo, StrState,
};
use commerce::frex::shop::{Shop, ShopError};
use commerce::frex::steps::payload::{self, UserInfo};
use commerce::frex::tables;
use commerce::store::Kind;
use commerce::{clock, id};

/// What every order is worth, and what a change makes of it.
const AMOUNT: i64 = 11_000;
const AMOUNT_NEW: i64 = 12_000;
/// Orders of one transaction.
const GROUP: u32 = 500;
/// The member company of all orders.
const JOINER: &str = "LOAD";
/// Far beyond any run: an order on hold is not asked about during the load.
const HOLD_POLL_MS: i64 = 3_600_000;
/// The first transaction number of orders on hold; the simulator counts from below it.
const HELD_NP: u64 = 19_000_000_000;

/// Parts of the orders, in per cent.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// Changed.
    pub changed: u32,
    /// Cancelled.
    pub cancelled: u32,
}

fn goods(amount: i64) -> Goods {
    Goods {
        transaction_details: vec![Detail {
            detail: "Flyer printing A4".into(),
            price: amount,
            quantity: 1,
            billed_tax_kind: "T00".into(),
        }],
        tax_rate_summaries: vec![TaxRateSummary {
            tax_rate: 0,
            total_amount: amount,
        }],
    }
}

fn user() -> UserInfo {
    UserInfo {
        buyer: Buyer {
            np_buyer_id: String::new(),
            company_name: "Example KK".into(),
            department: "Sales".into(),
            customer_name: "Sample Buyer".into(),
            customer_name_kana: String::new(),
            zip_code: "1000001".into(),
            address: "Tokyo Chiyoda 1-1".into(),
            tel_no: "0300000000".into(),
            email: "buyer@example.com".into(),
        },
        delivery: Delivery {
            company_name: "Example KK".into(),
            department: String::new(),
            customer_name: "Sample Buyer".into(),
            zip_code: "1000001".into(),
            address: "Tokyo Chiyoda 1-1".into(),
            tel_no: "0300000000".into(),
        },
    }
}

fn order(order_no: String, now: i64) -> Order {
    Order {
        order_no,
        joiner_id: JOINER.into(),
        state: StrState::Reg,
        stage: OrderStage::Accept,
        money: MoneyInput::SbPayment,
        pay_type: PAY_TYPE.to_owned(),
        amount: AMOUNT,
        goods: serde_json::to_string(&goods(AMOUNT))
            .expect("texts and numbers are representable in JSON"),
        order_date: clock::jst_date(now),
        order_end_at: 0,
        content_digest: String::new(),
        created_at: now,
        version: 1,
    }
}

/// Places new orders; gives their numbers, which no earlier call gave.
///
/// # Errors
/// The database's.
pub async fn orders(shop: &Shop, count: u32) -> Result<Vec<String>, ShopError> {
    shop.set_joiner(JOINER, true, Decider::without_note("loadgen"))
        .await?;
    let name = id::new("").to_uppercase();
    let all: Vec<String> = (0..count).map(|at| format!("L{name}-{at:06}")).collect();
    for group in all.chunks(GROUP as usize) {
        let now = shop.clock.now_ms();
        let mut tx = shop.store.begin().await?;
        for order_no in group {
            let order = order(order_no.clone(), now);
            let sealed = payload::seal_user_info(&shop.vault, order_no, &user());
            tables::insert_order(tx.conn(), &order).await?;
            tables::insert_buyer(tx.conn(), order_no, &sealed, now).await?;
        }
        tx.commit().await?;
    }
    Ok(all)
}

/// Puts orders into the tables as they stand when the agency holds them: registered, asked about, to be asked again later.
///
/// # Errors
/// The database's.
pub async fn open_ones(shop: &Shop, count: u32) -> Result<(), ShopError> {
    shop.set_joiner(JOINER, true, Decider::without_note("loadgen"))
        .await?;
    let name = id::new("").to_uppercase();
    for from in (0..count).step_by(GROUP as usize) {
        // An hour ago: all that is selected oldest first meets them first.
        let now = shop.clock.now_ms();
        let then = now - HOLD_POLL_MS;
        let mut tx = shop.store.begin().await?;
        for at in from..count.min(from + GROUP) {
            let order = order(format!("H{name}-{at:06}"), then);
            let no = order.order_no.as_str();
            tables::insert_order(tx.conn(), &order).await?;
            tables::insert_buyer(tx.conn(), no, "sealed elsewhere", then).await?;
            tables::insert_state(tx.conn(), &StateInfo::new(&order)).await?;
            held(tx.conn(), no, HELD_NP + u64::from(at), then).await?;
            let key = RequestKey::new(no, RequestType::AuthorizeResult, 0);
            let mut request = Request::new(id::at("", then), key, then);
            request.next_attempt_at = now + HOLD_POLL_MS;
            tables::insert_request(tx.conn(), &request).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

async fn held(
    conn: &mut sqlx::AnyConnection,
    order_no: &str,
    np: u64,
    now: i64,
) -> Result<(), FrexError> {
    sqlx::query(
        "UPDATE frex_state_info SET reg_state = 'COMPLETE', result_state = 'COMPLETE', authorize_state = 'DELAY', np_transaction_id = $1, \
         billed_amount = $2, reg_at = $3, accept_no = 'A0' WHERE order_no = $4",
    )
    .bind(np.to_string())
    .bind(AMOUNT)
    .bind(now)
    .bind(order_no)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the database look at what was put in at once, as it would have done by itself in months.
///
/// # Errors
/// The database's.
pub async fn analyse(shop: &Shop) -> Result<(), FrexError> {
    let statement = match shop.store.kind() {
        Kind::Sqlite => "PRAGMA optimize",
        Kind::Postgres => "ANALYZE",
    };
    sqlx::query(statement).execute(shop.store.pool()).await?;
    Ok(())
}

/// Changes and cancels parts of the orders while the worker runs. Says how many of each were granted: one that is billed by then
/// is refused, as it should be.
///
/// # Errors
/// The database's.
pub async fn act(shop: Shop, orders: Vec<String>, shares: Shares) -> Result<(u64, u64), ShopError> {
    let (mut changed, mut cancelled) = (0, 0);
    for (place, order_no) in orders.iter().enumerate() {
        let percent = u32::try_from(place % 100).unwrap_or(0);
        if percent < shares.changed {
            match shop
                .change_amount(order_no, 1, AMOUNT_NEW, &goods(AMOUNT_NEW))
                .await
            {
                Ok(_) => changed += 1,
                Err(error) if error.status() < 500 => {}
                Err(error) => return Err(error),
            }
        } else if percent < shares.changed + shares.cancelled {
            shop.cancel(order_no).await?;
            cancelled += 1;
        }
    }
    Ok((changed, cancelled))
}
