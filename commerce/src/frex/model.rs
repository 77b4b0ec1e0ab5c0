//! The words and rows of the tables (`spec/frex.md` 2.2), and how a row is read.
//!
//! A word that the code does not know is [`Corrupt`], never a guess.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::agency::items::{Detail, TaxRateSummary};
use super::key::{RequestKey, RequestType};

/// A field of a table holds what the code never writes.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the field {field} of {of} holds '{value}', which no version writes; restore the row from a backup"
)]
pub struct Corrupt {
    /// The field.
    pub field: &'static str,
    /// The row's key.
    pub of: String,
    /// What it holds.
    pub value: String,
}

/// Declares an enum whose variants are words in the tables.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in tables and answers.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value of a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}
pub(crate) use words;

words! {
    /// `tblOrder.strState`. `DEL` is final.
    StrState {
        /// The order stands.
        Reg = "REG",
        /// The order is cancelled or refused.
        Del = "DEL",
    }
}

words! {
    /// `tblOrder.strOrderState`.
    OrderStage {
        /// Taken.
        Accept = "ACCEPT",
        /// Delivered (trigger `order_end`) or billed.
        OrderEnd = "ORDEREND",
    }
}

words! {
    /// `tblOrder.strMoneyInput`.
    MoneyInput {
        /// Not approved.
        SbPayment = "SBPAYMENT",
        /// Approved: goods may be released.
        TempPayment = "TEMPPAYMENT",
        /// Billed.
        Payment = "PAYMENT",
    }
}

words! {
    /// `FrexStateInfo.regState`.
    RegState {
        /// Being registered.
        Standby = "STANDBY",
        /// Registered: the transaction number is known.
        Complete = "COMPLETE",
        /// Refused; an operator corrects it or the order is cancelled.
        Error = "ERROR",
    }
}

words! {
    /// `FrexStateInfo.resultState`: what is in progress, and the lock of the order.
    ResultState {
        /// A registration.
        Order = "ORDER",
        /// A change.
        Update = "UPDATE",
        /// A cancel.
        Delete = "DELETE",
        /// A billing.
        Billing = "BILLING",
        /// Nothing: a mutation may start.
        Complete = "COMPLETE",
        /// Closed, for ever.
        Cancel = "CANCEL",
    }
}

words! {
    /// `FrexStateInfo.authorizeState`.
    AuthorizeState {
        /// Not screened.
        None = "NONE",
        /// Held.
        Delay = "DELAY",
        /// Approved.
        Complete = "COMPLETE",
        /// Refused.
        Ng = "NG",
    }
}

words! {
    /// `FrexStateInfo.billingState`.
    BillingState {
        /// Not asked for.
        None = "NONE",
        /// Asked for.
        Standby = "STANDBY",
        /// Billed.
        Complete = "COMPLETE",
        /// Refused; an operator decides.
        Error = "ERROR",
    }
}

words! {
    /// `FrexStateInfo.closeReason`.
    CloseReason {
        /// Refused by screening.
        FrexNg = "FREX_NG",
        /// Cancelled at the agency.
        Customer = "CUSTOMER",
        /// Cancelled before anything was sent.
        BeforeSend = "BEFORE_SEND",
        /// Cancelled after the registration was refused.
        RegError = "REG_ERROR",
        /// The agency refused the cancel, and an operator settled it outside.
        SettledOutside = "SETTLED_OUTSIDE",
    }
}

words! {
    /// `FrexRequest.state` (`spec/frex.md` 3.2).
    RequestState {
        /// To be sent, or to be asked again.
        Standby = "STANDBY",
        /// Durable mark before a mutating call.
        Sending = "SENDING",
        /// It may have been executed; a look-up decides.
        Unknown = "UNKNOWN",
        /// Accepted (mutation) or answered (read).
        Complete = "COMPLETE",
        /// Refused, or given up for an operator.
        Error = "ERROR",
        /// The reason for it went away before it was sent.
        Skipped = "SKIPPED",
    }
}

/// The pay type of orders that belong to this worker.
pub const PAY_TYPE: &str = "TELEGRAM_FREX_REQUEST";

/// The lines of an order and their sums by tax rate.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Goods {
    /// The lines.
    pub transaction_details: Vec<Detail>,
    /// Their sums.
    pub tax_rate_summaries: Vec<TaxRateSummary>,
}

/// A row of `frex_order`: the columns of `tblOrder` that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Number, also the agency's `shopTransactionId`.
    pub order_no: String,
    /// The member company.
    pub joiner_id: String,
    /// Whether it stands.
    pub state: StrState,
    /// Taken or ended.
    pub stage: OrderStage,
    /// Where the money stands.
    pub money: MoneyInput,
    /// Pay type.
    pub pay_type: String,
    /// What the order is worth now, in yen.
    pub amount: i64,
    /// [`Goods`] as JSON.
    pub goods: String,
    /// Day of the order in Japan, `YYYY-MM-DD`.
    pub order_date: String,
    /// When the shop marked delivery, 0 = not.
    pub order_end_at: i64,
    /// Keyed digest of what the order was placed with.
    pub content_digest: String,
    /// When it was placed.
    pub created_at: i64,
    /// Counts every change of the row.
    pub version: i64,
}

/// A row of `frex_state_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateInfo {
    /// The order.
    pub order_no: String,
    /// The agency's transaction number, empty = none.
    pub np: String,
    /// Latest acceptance number, for display.
    pub accept_no: String,
    /// Registration.
    pub reg: RegState,
    /// What is in progress.
    pub result: ResultState,
    /// Screening.
    pub authorize: AuthorizeState,
    /// Billing.
    pub billing: BillingState,
    /// What the agency last confirmed, in yen.
    pub billed_amount: i64,
    /// Amount of the last refused change.
    pub rejected_amount: Option<i64>,
    /// The agency refused the cancel.
    pub delete_rejected: bool,
    /// Why it is closed, empty = it is not.
    pub close_reason: Option<CloseReason>,
    /// When the order was placed; gives the order of work.
    pub created_at: i64,
    /// When it was registered.
    pub reg_at: i64,
    /// When it was approved.
    pub authorized_at: i64,
    /// When it was billed.
    pub billed_at: i64,
    /// When it was closed.
    pub closed_at: i64,
    /// Counts every change of the row.
    pub version: i64,
}

/// A row of `frex_request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Key of the row; ascends with time.
    pub id: String,
    /// `orderNo:type:seq`.
    pub key: RequestKey,
    /// State.
    pub state: RequestState,
    /// Amount frozen when it was first sent; 0 = none.
    pub amount: i64,
    /// Sealed content without personal fields; empty until first sent.
    pub safe_info: String,
    /// SHA-256 of the bytes sent, hex; empty until first sent.
    pub payload_digest: String,
    /// The agency's answer, masked.
    pub response: String,
    /// Acceptance number.
    pub accept_no: String,
    /// The key under which it was accepted, if that is another request's; empty = its own.
    pub accept_key: String,
    /// How often it really left.
    pub attempt_count: i64,
    /// Tries since the last success: gives the delay.
    pub tries: i64,
    /// Look-ups in a row, after the quiet time, that found nothing.
    pub misses: i64,
    /// How often our own code failed on it.
    pub faults: i64,
    /// It ended without anybody knowing whether it was executed.
    pub unclear: bool,
    /// When it last left.
    pub sent_at: i64,
    /// When it is due.
    pub next_attempt_at: i64,
    /// What last went wrong.
    pub last_error: String,
    /// When it was written.
    pub created_at: i64,
    /// When it ended.
    pub done_at: i64,
}

/// An order with its state, if the worker has begun with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The order.
    pub order: Order,
    /// Its state.
    pub info: Option<StateInfo>,
}

/// What can go wrong while a row is read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A word nobody wrote.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

fn word<T>(
    row: &AnyRow,
    field: &'static str,
    of: &str,
    read: fn(&str) -> Option<T>,
) -> Result<T, ReadError> {
    let value: String = row.try_get(field)?;
    read(&value).ok_or_else(|| {
        Corrupt {
            field,
            of: of.to_owned(),
            value,
        }
        .into()
    })
}

impl Order {
    /// Columns, in a select that names the table `o`.
    pub const COLUMNS: &'static str = "o.order_no, o.joiner_id, o.str_state, o.str_order_state, o.str_money_input, o.str_pay_type, \
        o.order_complete_amount, o.goods, o.order_date, o.order_end_at, o.content_digest, o.created_at AS placed_at, o.version AS order_version";

    /// Reads a row selected with [`Self::COLUMNS`].
    pub fn read(row: &AnyRow) -> Result<Self, ReadError> {
        let order_no: String = row.try_get("order_no")?;
        Ok(Self {
            state: word(row, "str_state", &order_no, StrState::from_word)?,
            stage: word(row, "str_order_state", &order_no, OrderStage::from_word)?,
            money: word(row, "str_money_input", &order_no, MoneyInput::from_word)?,
            joiner_id: row.try_get("joiner_id")?,
            pay_type: row.try_get("str_pay_type")?,
            amount: row.try_get("order_complete_amount")?,
            goods: row.try_get("goods")?,
            order_date: row.try_get("order_date")?,
            order_end_at: row.try_get("order_end_at")?,
            content_digest: row.try_get("content_digest")?,
            created_at: row.try_get("placed_at")?,
            version: row.try_get("order_version")?,
            order_no,
        })
    }
}

impl StateInfo {
    /// Columns, in a select that names the table `s`. `order_no` is taken from the order's columns.
    pub const COLUMNS: &'static str = "s.np_transaction_id, s.accept_no, s.reg_state, s.result_state, s.authorize_state, s.billing_state, \
        s.billed_amount, s.rejected_amount, s.delete_rejected, s.close_reason, s.created_at, s.reg_at, s.authorized_at, s.billed_at, \
        s.closed_at, s.version";

    /// A new row of an order: (STANDBY, ORDER, NONE, NONE).
    #[must_use]
    pub fn new(order: &Order) -> Self {
        Self {
            order_no: order.order_no.clone(),
            np: String::new(),
            accept_no: String::new(),
            reg: RegState::Standby,
            result: ResultState::Order,
            authorize: AuthorizeState::None,
            billing: BillingState::None,
            billed_amount: 0,
            rejected_amount: None,
            delete_rejected: false,
            close_reason: None,
            created_at: order.created_at,
            reg_at: 0,
            authorized_at: 0,
            billed_at: 0,
            closed_at: 0,
            version: 1,
        }
    }

    /// Reads the state out of a left join; none if the order has no state.
    pub fn read(row: &AnyRow, order_no: &str) -> Result<Option<Self>, ReadError> {
        let Some(np) = row.try_get::<Option<String>, _>("np_transaction_id")? else {
            return Ok(None);
        };
        let close_reason: String = row.try_get("close_reason")?;
        let delete_rejected: i64 = row.try_get("delete_rejected")?;
        Ok(Some(Self {
            order_no: order_no.to_owned(),
            reg: word(row, "reg_state", order_no, RegState::from_word)?,
            result: word(row, "result_state", order_no, ResultState::from_word)?,
            authorize: word(row, "authorize_state", order_no, AuthorizeState::from_word)?,
            billing: word(row, "billing_state", order_no, BillingState::from_word)?,
            close_reason: if close_reason.is_empty() {
                None
            } else {
                Some(word(row, "close_reason", order_no, CloseReason::from_word)?)
            },
            // Rows of the old table write '0' for "none".
            np: if np == "0" { String::new() } else { np },
            accept_no: row.try_get("accept_no")?,
            billed_amount: row.try_get("billed_amount")?,
            rejected_amount: row.try_get("rejected_amount")?,
            delete_rejected: delete_rejected != 0,
            created_at: row.try_get("created_at")?,
            reg_at: row.try_get("reg_at")?,
            authorized_at: row.try_get("authorized_at")?,
            billed_at: row.try_get("billed_at")?,
            closed_at: row.try_get("closed_at")?,
            version: row.try_get("version")?,
        }))
    }

    /// Whether the agency's number is known.
    #[must_use]
    pub fn np_set(&self) -> bool {
        !self.np.is_empty()
    }
}

impl Request {
    /// Columns, in a select that names the table `r`.
    pub const COLUMNS: &'static str = "r.id, r.request_key, r.state, r.amount, r.safe_info, r.payload_digest, r.response, r.accept_no, \
        r.accept_key, r.attempt_count, r.tries, r.misses, r.faults, r.unclear, r.sent_at, r.next_attempt_at, r.last_error, r.created_at, r.done_at";

    /// A row to be sent, due at once.
    #[must_use]
    pub fn new(id: String, key: RequestKey, now: i64) -> Self {
        Self {
            id,
            key,
            state: RequestState::Standby,
            amount: 0,
            safe_info: String::new(),
            payload_digest: String::new(),
            response: String::new(),
            accept_no: String::new(),
            accept_key: String::new(),
            attempt_count: 0,
            tries: 0,
            misses: 0,
            faults: 0,
            unclear: false,
            sent_at: 0,
            next_attempt_at: now,
            last_error: String::new(),
            created_at: now,
            done_at: 0,
        }
    }

    /// Reads a row selected with [`Self::COLUMNS`].
    pub fn read(row: &AnyRow) -> Result<Self, ReadError> {
        let text: String = row.try_get("request_key")?;
        let Ok(key) = text.parse::<RequestKey>() else {
            return Err(Corrupt {
                field: "request_key",
                of: "frex_request".into(),
                value: text,
            }
            .into());
        };
        let unclear: i64 = row.try_get("unclear")?;
        Ok(Self {
            state: word(row, "state", &text, RequestState::from_word)?,
            id: row.try_get("id")?,
            key,
            amount: row.try_get("amount")?,
            safe_info: row.try_get("safe_info")?,
            payload_digest: row.try_get("payload_digest")?,
            response: row.try_get("response")?,
            accept_no: row.try_get("accept_no")?,
            accept_key: row.try_get("accept_key")?,
            attempt_count: row.try_get("attempt_count")?,
            tries: row.try_get("tries")?,
            misses: row.try_get("misses")?,
            faults: row.try_get("faults")?,
            unclear: unclear != 0,
            sent_at: row.try_get("sent_at")?,
            next_attempt_at: row.try_get("next_attempt_at")?,
            last_error: row.try_get("last_error")?,
            created_at: row.try_get("created_at")?,
            done_at: row.try_get("done_at")?,
        })
    }

    /// The kind of the request.
    #[must_use]
    pub fn kind(&self) -> RequestType {
        self.key.kind
    }
}
