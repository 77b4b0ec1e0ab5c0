//! The shop's side: orders placed, changed, ended and cancelled, under the conflict rules of `spec/frex.md` 8.
//!
//! Each function is one transaction that has taken the order's row, so it cannot slip between a step's select and its write:
//! of an edit and the beginning of a billing one wins, never both.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::agency::Buyer;
use super::agency::limits::{self, LimitError};
use super::agency::settings::Protocol;
use super::alert::{self, AlertKind};
use super::error::FrexError;
use super::key::{self, RequestType};
use super::model::{
    BillingState, Goods, MoneyInput, Order, OrderStage, PAY_TYPE, Pair, RegState, Request,
    RequestState, ResultState, StrState,
};
use super::news;
use super::settings::{BillingTrigger, WorkerSettings};
use super::steps::payload::{self, UserInfo};
use super::tables;
use super::vault::Vault;
use crate::clock::{self, Clock};
use crate::points::Points;
use crate::store::{Store, Tx};

/// Crash points before and after the commit of every function of the shop's side and of operators.
pub const SHOP_POINTS: [&str; 2] = ["frex.shop.write", "frex.shop.written"];

/// The shop's side. Clones are handles on the same one.
#[derive(Clone)]
pub struct Shop {
    /// The database.
    pub store: Store,
    /// Seals buyer data.
    pub vault: Arc<Vault>,
    /// Time.
    pub clock: Clock,
    /// Settings.
    pub settings: Arc<WorkerSettings>,
    /// The agency's interface: what an order must have, and what operators decide in its place.
    pub protocol: Protocol,
    /// Crash points.
    pub points: Points,
}

/// An order as the checkout places it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// Number: 1 to 40 letters, digits, '-' or '_', unique for ever.
    pub order_no: String,
    /// The member company.
    pub joiner_id: String,
    /// Yen, tax included.
    pub amount: i64,
    /// Lines and their sums by tax rate.
    pub goods: Goods,
    /// Buyer and delivery.
    pub user: UserInfo,
}

/// What became of a placed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Whether it is new; else the same order was there before.
    pub created: bool,
    /// Its version.
    pub version: i64,
}

/// What became of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It is closed already, here and at the agency.
    Closed,
    /// It will be, or the agency will refuse.
    Cancelling,
}

/// Why the shop's wish is refused.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// The member company may not use the method.
    #[error(
        "the member company '{joiner_id}' may not use deferred payment; set UseFrex for it first"
    )]
    NotEnabled {
        /// The company.
        joiner_id: String,
    },
    /// The order number cannot be used.
    #[error("the order number must be 1 to 40 letters, digits, '-' or '_'")]
    OrderNo,
    /// The data breaks a limit of the agency.
    #[error(transparent)]
    Limits(#[from] LimitError),
    /// There is another order under the number.
    #[error("order {order_no} exists with other content; use a new number")]
    OtherContent {
        /// The number.
        order_no: String,
    },
    /// There is no such order.
    #[error("there is no order {order_no}")]
    NotFound {
        /// The number.
        order_no: String,
    },
    /// The order was changed meanwhile.
    #[error("order {order_no} has version {version}, not the one given; read it again")]
    Version {
        /// The number.
        order_no: String,
        /// The present version.
        version: i64,
    },
    /// Billing has begun.
    #[error("billing of order {order_no} has begun; write a credit note outside")]
    BillingStarted {
        /// The number.
        order_no: String,
    },
    /// The order is cancelled or refused.
    #[error("order {order_no} is closed; place a new one")]
    Closed {
        /// The number.
        order_no: String,
    },
    /// The agency has the buyer data.
    #[error(
        "buyer data of order {order_no} is at the agency; cancel the order and place a new one"
    )]
    BuyerSent {
        /// The number.
        order_no: String,
    },
    /// The shop does not end orders with this billing trigger, or not yet.
    #[error("order {order_no} cannot be ended: {why}")]
    NotEndable {
        /// The number.
        order_no: String,
        /// Why.
        why: &'static str,
    },
    /// A failure of ours.
    #[error(transparent)]
    Frex(#[from] FrexError),
}

impl ShopError {
    /// The code in answers.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotEnabled { .. } => "frex_not_enabled",
            Self::OrderNo | Self::Limits(_) => "data_limits",
            Self::OtherContent { .. } => "order_exists",
            Self::NotFound { .. } => "not_found",
            Self::Version { .. } => "version_mismatch",
            Self::BillingStarted { .. } => "billing_started",
            Self::Closed { .. } => "closed",
            Self::BuyerSent { .. } => "buyer_sent",
            Self::NotEndable { .. } => "not_endable",
            Self::Frex(_) => "internal",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotEnabled { .. } => 403,
            Self::OrderNo | Self::Limits(_) => 422,
            Self::NotFound { .. } => 404,
            Self::Version { .. } => 412,
            Self::OtherContent { .. }
            | Self::BillingStarted { .. }
            | Self::Closed { .. }
            | Self::BuyerSent { .. }
            | Self::NotEndable { .. } => 409,
            Self::Frex(_) => 500,
        }
    }
}

impl From<crate::store::StoreError> for ShopError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Frex(error.into())
    }
}

impl From<sqlx::Error> for ShopError {
    fn from(error: sqlx::Error) -> Self {
        Self::Frex(error.into())
    }
}

/// Where an order stands for the shop: the columns of the table in section 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Situation {
    /// Nothing was sent.
    NothingSent,
    /// The registration is on its way.
    Registering,
    /// The registration was refused.
    RegRefused,
    /// Registered, nothing in progress, not billed.
    Open,
    /// A change is on its way.
    Changing,
    /// A billing is on its way.
    Billing,
    /// Billed, or the agency refused to bill.
    Billed,
    /// Cancelled, being cancelled, or refused.
    Closed,
}

/// What the shop may do in a situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It may.
    Allowed,
    /// 409 `billing_started`.
    BillingStarted,
    /// 409 `closed`.
    Closed,
    /// 409 `buyer_sent`.
    BuyerSent,
    /// Nothing to do.
    NoEffect,
}

/// Section 8: situation, change of the amount, cancel, change of buyer data.
pub const RULES: [(Situation, Rule, Rule, Rule); 8] = [
    (
        Situation::NothingSent,
        Rule::Allowed,
        Rule::Allowed,
        Rule::Allowed,
    ),
    (
        Situation::Registering,
        Rule::Allowed,
        Rule::Allowed,
        Rule::BuyerSent,
    ),
    (
        Situation::RegRefused,
        Rule::Allowed,
        Rule::Allowed,
        Rule::Allowed,
    ),
    (
        Situation::Open,
        Rule::Allowed,
        Rule::Allowed,
        Rule::BuyerSent,
    ),
    (
        Situation::Changing,
        Rule::Allowed,
        Rule::Allowed,
        Rule::BuyerSent,
    ),
    (
        Situation::Billing,
        Rule::BillingStarted,
        Rule::Allowed,
        Rule::BuyerSent,
    ),
    (
        Situation::Billed,
        Rule::BillingStarted,
        Rule::Allowed,
        Rule::BuyerSent,
    ),
    (
        Situation::Closed,
        Rule::Closed,
        Rule::NoEffect,
        Rule::Closed,
    ),
];

/// Where an order stands. `registration` is its latest ORDER_REG request.
#[must_use]
pub fn situation(pair: &Pair, registration: Option<&Request>) -> Situation {
    if pair.order.state == StrState::Del {
        return Situation::Closed;
    }
    let Some(info) = &pair.info else {
        return Situation::NothingSent;
    };
    match (info.result, info.reg, info.billing) {
        (ResultState::Cancel | ResultState::Delete, ..) => Situation::Closed,
        (ResultState::Order, RegState::Error, _) if registration.is_none_or(|row| !row.unclear) => {
            Situation::RegRefused
        }
        (ResultState::Order, ..) => {
            let unsent = registration.is_some_and(|row| {
                row.state == RequestState::Standby && row.payload_digest.is_empty()
            });
            if unsent {
                Situation::NothingSent
            } else {
                Situation::Registering
            }
        }
        (ResultState::Update, ..) => Situation::Changing,
        (ResultState::Billing, ..) => Situation::Billing,
        (ResultState::Complete, _, BillingState::None) => Situation::Open,
        (ResultState::Complete, ..) => Situation::Billed,
    }
}

fn rules(situation: Situation) -> (Rule, Rule, Rule) {
    let row = RULES.iter().find(|row| row.0 == situation);
    row.map(|row| (row.1, row.2, row.3))
        .expect("each situation has its row")
}

fn held_to(rule: Rule, order_no: &str) -> Result<(), ShopError> {
    let order_no = order_no.to_owned();
    match rule {
        Rule::Allowed | Rule::NoEffect => Ok(()),
        Rule::BillingStarted => Err(ShopError::BillingStarted { order_no }),
        Rule::Closed => Err(ShopError::Closed { order_no }),
        Rule::BuyerSent => Err(ShopError::BuyerSent { order_no }),
    }
}

impl Shop {
    /// Places an order, with its buyer data, in one transaction. The same order once more is no second one.
    ///
    /// # Errors
    /// See [`ShopError`].
    pub async fn place_order(&self, new: &NewOrder) -> Result<Placed, ShopError> {
        if !key::is_order_no(&new.order_no) {
            return Err(ShopError::OrderNo);
        }
        limits::goods(
            new.amount,
            &new.goods.transaction_details,
            &new.goods.tax_rate_summaries,
        )?;
        self.buyer_fits(&new.user.buyer)?;
        limits::delivery(&new.user.delivery)?;
        let content = zeroize::Zeroizing::new(
            serde_json::to_vec(new).expect("texts and numbers are representable in JSON"),
        );
        loop {
            if let Some(placed) = self.place_once(new, &content).await? {
                return Ok(placed);
            }
        }
    }

    /// Places an order unless its number is there; `None` if it came there meanwhile.
    async fn place_once(
        &self,
        new: &NewOrder,
        content: &[u8],
    ) -> Result<Option<Placed>, ShopError> {
        let mut tx = self.store.begin().await?;
        if let Some(pair) = tables::pairs(&mut tx, &[&new.order_no])
            .await?
            .remove(&new.order_no)
        {
            if self.vault.matches(content, &pair.order.content_digest) {
                return Ok(Some(Placed {
                    created: false,
                    version: pair.order.version,
                }));
            }
            return Err(ShopError::OtherContent {
                order_no: new.order_no.clone(),
            });
        }
        let enabled: Option<i64> =
            sqlx::query_scalar("SELECT use_frex FROM frex_joiner WHERE joiner_id = $1")
                .bind(new.joiner_id.as_str())
                .fetch_optional(tx.conn())
                .await?;
        if enabled != Some(1) {
            return Err(ShopError::NotEnabled {
                joiner_id: new.joiner_id.clone(),
            });
        }
        let now = self.clock.now_ms();
        let order = Order {
            order_no: new.order_no.clone(),
            joiner_id: new.joiner_id.clone(),
            state: StrState::Reg,
            stage: OrderStage::Accept,
            money: MoneyInput::SbPayment,
            pay_type: PAY_TYPE.to_owned(),
            amount: new.amount,
            goods: goods_text(&new.goods),
            order_date: clock::jst_date(now),
            order_end_at: 0,
            content_digest: self.vault.digest(content),
            created_at: now,
            version: 1,
        };
        match tables::insert_order(tx.conn(), &order).await {
            // Placed by somebody else since it was looked for: it is compared like any that was there before.
            Err(FrexError::Store(error)) if error.is_duplicate() => return Ok(None),
            other => other?,
        }
        let sealed = payload::seal_user_info(&self.vault, &new.order_no, &new.user);
        tables::insert_buyer(tx.conn(), &new.order_no, &sealed, now).await?;
        self.commit(tx).await?;
        Ok(Some(Placed {
            created: true,
            version: 1,
        }))
    }

    /// Changes what the order is worth. Zero cancels it. Returns the new version.
    ///
    /// # Errors
    /// See [`ShopError`].
    pub async fn change_amount(
        &self,
        order_no: &str,
        version: i64,
        amount: i64,
        goods: &Goods,
    ) -> Result<i64, ShopError> {
        if amount != 0 {
            limits::goods(
                amount,
                &goods.transaction_details,
                &goods.tax_rate_summaries,
            )?;
        }
        let (mut tx, pair, registration) = self.taken(order_no).await?;
        version_is(&pair.order, version)?;
        let (change, cancel, _) = rules(situation(&pair, registration.as_ref()));
        match cancel {
            // A total of zero is a cancel, and is held to what a cancel may do; a cancelled order has no total to change.
            Rule::Allowed if amount == 0 => {}
            _ => held_to(change, order_no)?,
        }
        let mut order = pair.order.clone();
        if amount == 0 {
            order.state = StrState::Del;
        } else {
            order.amount = amount;
            order.goods = goods_text(goods);
        }
        let written = tables::save_order(tx.conn(), &order).await?;
        if order.state == StrState::Del {
            tables::cancelled(tx.conn(), order_no, self.clock.now_ms()).await?;
        }
        if pair.info.is_none() {
            self.corrected(&mut tx, order_no, None).await?;
        }
        log::info!(
            "frex: order {order_no}: amount {} -> {amount}, strState {}, by the shop",
            pair.order.amount,
            order.state
        );
        self.commit(tx).await?;
        Ok(written.version)
    }

    /// Changes buyer data that is not at the agency. Returns the order's version.
    ///
    /// # Errors
    /// See [`ShopError`].
    pub async fn change_buyer(
        &self,
        order_no: &str,
        version: i64,
        user: &UserInfo,
    ) -> Result<i64, ShopError> {
        self.buyer_fits(&user.buyer)?;
        limits::delivery(&user.delivery)?;
        let (mut tx, pair, registration) = self.taken(order_no).await?;
        version_is(&pair.order, version)?;
        held_to(rules(situation(&pair, registration.as_ref())).2, order_no)?;
        let written = tables::save_order(tx.conn(), &pair.order).await?;
        let sealed = payload::seal_user_info(&self.vault, order_no, user);
        self.corrected(&mut tx, order_no, Some(&sealed)).await?;
        self.commit(tx).await?;
        Ok(written.version)
    }

    /// Cancels: `DEL`, for ever. What is at the agency follows.
    ///
    /// # Errors
    /// There is no such order, or a failure of ours.
    pub async fn cancel(&self, order_no: &str) -> Result<Cancelled, ShopError> {
        let (mut tx, pair, registration) = self.taken(order_no).await?;
        let closed = pair
            .info
            .as_ref()
            .is_none_or(|info| info.result == ResultState::Cancel);
        if rules(situation(&pair, registration.as_ref())).1 == Rule::NoEffect {
            return Ok(if closed {
                Cancelled::Closed
            } else {
                Cancelled::Cancelling
            });
        }
        let now = self.clock.now_ms();
        let mut after = pair.clone();
        after.order.state = StrState::Del;
        tables::save_order(tx.conn(), &after.order).await?;
        tables::cancelled(tx.conn(), order_no, now).await?;
        news::tell(&mut tx, &self.settings, &pair, &after, now).await?;
        log::info!("frex: order {order_no}: strState REG -> DEL, by the shop");
        self.commit(tx).await?;
        Ok(if closed {
            Cancelled::Closed
        } else {
            Cancelled::Cancelling
        })
    }

    /// Marks the order as ended (delivered): what the trigger `order_end` waits for. Once more changes nothing.
    ///
    /// # Errors
    /// See [`ShopError`].
    pub async fn complete_order(&self, order_no: &str) -> Result<i64, ShopError> {
        let (mut tx, pair, registration) = self.taken(order_no).await?;
        let refuse = |why| {
            Err(ShopError::NotEndable {
                order_no: order_no.to_owned(),
                why,
            })
        };
        if self.settings.billing_trigger != BillingTrigger::OrderEnd {
            return refuse(
                "bills are asked for as soon as an order is approved, whatever the shop marks",
            );
        }
        held_to(
            if situation(&pair, registration.as_ref()) == Situation::Closed {
                Rule::Closed
            } else {
                Rule::Allowed
            },
            order_no,
        )?;
        if pair.order.stage == OrderStage::OrderEnd {
            return Ok(pair.order.version);
        }
        if pair.order.money != MoneyInput::TempPayment {
            return refuse("it is not approved; goods are released from the approval on");
        }
        let order = Order {
            stage: OrderStage::OrderEnd,
            order_end_at: self.clock.now_ms(),
            ..pair.order.clone()
        };
        let written = tables::save_order(tx.conn(), &order).await?;
        log::info!("frex: order {order_no}: strOrderState ACCEPT -> ORDEREND, by the shop");
        self.commit(tx).await?;
        Ok(written.version)
    }

    /// Holds a buyer against the limits of the agency and its interface.
    fn buyer_fits(&self, buyer: &Buyer) -> Result<(), LimitError> {
        if self.protocol.needs_buyer_number() && buyer.np_buyer_id.is_empty() {
            return Err(LimitError::Form {
                field: "buyer.npBuyerId",
                form: "given: the agency's interface knows buyers by its own number of 11 digits only",
            });
        }
        limits::buyer(buyer)
    }

    /// Takes an order's row, and reads its state and latest registration.
    pub(super) async fn taken(
        &self,
        order_no: &str,
    ) -> Result<(Tx, Pair, Option<Request>), ShopError> {
        let mut tx = self.store.begin().await?;
        let pair = tables::pairs(&mut tx, &[order_no]).await?.remove(order_no);
        let pair = pair.ok_or_else(|| ShopError::NotFound {
            order_no: order_no.to_owned(),
        })?;
        let registration = tables::latest(tx.conn(), &[order_no], RequestType::OrderReg)
            .await?
            .remove(order_no);
        Ok((tx, pair, registration))
    }

    async fn corrected(
        &self,
        tx: &mut Tx,
        order_no: &str,
        sealed: Option<&str>,
    ) -> Result<(), ShopError> {
        let now = self.clock.now_ms();
        tables::save_buyer(tx.conn(), order_no, sealed, true, now).await?;
        alert::resolve(
            tx.conn(),
            AlertKind::BuyerDataInvalid,
            order_no,
            "shop",
            now,
        )
        .await?;
        Ok(())
    }

    pub(super) async fn commit(&self, tx: Tx) -> Result<(), FrexError> {
        self.points.reach(SHOP_POINTS[0]).await;
        tx.commit().await?;
        self.points.reach(SHOP_POINTS[1]).await;
        Ok(())
    }
}

fn version_is(order: &Order, version: i64) -> Result<(), ShopError> {
    if order.version == version {
        return Ok(());
    }
    Err(ShopError::Version {
        order_no: order.order_no.clone(),
        version: order.version,
    })
}

fn goods_text(goods: &Goods) -> String {
    serde_json::to_string(goods).expect("texts and numbers are representable in JSON")
}
