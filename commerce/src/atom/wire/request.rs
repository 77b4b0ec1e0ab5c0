//! Writes the requests (`spec/atom.md` 7.1, 7.5 to 7.7) as JSON text, signed where the interface signs.
//!
//! The limits of the interface are checked here, before anything leaves: a request that breaks one is a
//! [`RequestError`] that names the field. The text holds the password and is wiped when it is dropped.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::amount::{
    AUTH_INTEGER_DIGITS_MAX, AmountStyle, AuthAmountStyle, INTEGER_DIGITS_MAX, fits, text,
};
use super::json::{self, Writer};
use super::messages::{
    AuthRequest, ProductLine, RefundRequest, RefundStatusRequest, StatusRequest,
};
use super::sign::SignedFields;
use crate::secret::Secret;

/// Which form a status query has (`status_api`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusApi {
    /// With head details, password and a signature of six parts.
    #[default]
    TxnVerification,
    /// The short form, with a signature of four parts that no public sample confirms.
    V2,
}

/// How the password stands in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PasswordEncoding {
    /// As it is.
    #[default]
    Plain,
    /// In Base64, which protects nothing.
    Base64,
}

/// The switches of the message forms (`spec/atom.md` 19). The defaults are what public samples show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// The amount in AUTH: a text or a number.
    pub auth_amount_style: AuthAmountStyle,
    /// The amount in status and refund requests: always two decimals, or as few as needed.
    pub amount_style: AmountStyle,
    /// The form of a status query.
    pub status_api: StatusApi,
    /// The password in a status query.
    pub status_password_encoding: PasswordEncoding,
    /// The password in a refund.
    pub refund_password_encoding: PasswordEncoding,
    /// Puts the attempt's id first, so that two messages differ in their first blocks in spite of the fixed IV.
    pub vary_prefix: bool,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches {
            auth_amount_style: AuthAmountStyle::String,
            amount_style: AmountStyle::Fixed2,
            status_api: StatusApi::TxnVerification,
            status_password_encoding: PasswordEncoding::Plain,
            refund_password_encoding: PasswordEncoding::Plain,
            vary_prefix: false,
        }
    }
}

/// Who we are at Atom, and how we write: what all requests have in common.
pub struct RequestWriter {
    /// Our merchant number, digits.
    pub merch_id: String,
    /// The password.
    pub password: Secret,
    /// The key of request signatures.
    pub hash_key: Secret,
    /// The product of orders that name none.
    pub product: String,
    /// The switches.
    pub switches: Switches,
}

/// A limit of the interface that a request breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// Empty, too long, or not in its form.
    #[error("{field} is not {wanted}")]
    Field {
        /// The field's path in the message.
        field: &'static str,
        /// What it has to be.
        wanted: &'static str,
    },
    /// The lines of an order or of a refund do not make its amount.
    #[error("the product lines add up to {sum}, not to the amount {amount}")]
    Sum {
        /// What the lines add up to, in minor units.
        sum: i64,
        /// The amount, in minor units.
        amount: i64,
    },
}

impl RequestWriter {
    /// AUTH (7.1).
    pub fn auth(&self, request: &AuthRequest) -> Result<Zeroizing<String>, RequestError> {
        check_auth(request)?;
        let mut w = Writer::new();
        w.object("payInstrument", |w| {
            let head = |w: &mut Writer| {
                w.object("headDetails", |w| {
                    w.text("version", "OTSv1.1");
                    w.text("api", "AUTH");
                    w.text("platform", "FLASH");
                });
            };
            self.head_and_merchant(w, head, |w| self.auth_merchant(w, request));
            w.object("payDetails", |w| self.auth_pay(w, request));
            w.object("custDetails", |w| {
                w.text("custEmail", &request.cust_email);
                w.text("custMobile", &request.cust_mobile);
            });
            w.object("extras", |w| {
                w.text("udf1", &request.order_id);
                for empty in ["udf2", "udf3", "udf4", "udf5"] {
                    w.text(empty, "");
                }
            });
            if let Some(channel) = request.sub_channel {
                w.object("payModeSpecificData", |w| {
                    w.text("subChannel", channel.code())
                });
            }
        });
        Ok(w.finish())
    }

    /// The transaction-status query, in the configured form (7.5).
    pub fn status(&self, request: &StatusRequest) -> Result<Zeroizing<String>, RequestError> {
        check_merch_txn_id(&request.merch_txn_id)?;
        let day = check_ist(&request.merch_txn_date_ist)?;
        check_amount("payDetails.amount", request.amount, INTEGER_DIGITS_MAX)?;
        check_text("payDetails.txnCurrency", &request.currency, 5)?;
        if let Some(atom_txn_id) = &request.atom_txn_id {
            check_number("payDetails.atomTxnId", atom_txn_id)?;
        }
        let amount = text(request.amount, self.switches.amount_style);
        let fields = self.signed(&request.merch_txn_id, &amount, &request.currency);
        let full = self.switches.status_api == StatusApi::TxnVerification;
        let signature = if full {
            fields.status(&self.hash_key)
        } else {
            fields.status_v2(&self.hash_key)
        };
        let mut w = Writer::new();
        w.object("payInstrument", |w| {
            let head = |w: &mut Writer| {
                if full {
                    head(w, "TXNVERIFICATION", "OTS");
                }
            };
            self.head_and_merchant(w, head, |w| {
                self.merchant(
                    w,
                    &request.merch_txn_id,
                    |w| {
                        if full {
                            w.text(
                                "password",
                                &self.encoded(self.switches.status_password_encoding),
                            );
                        }
                    },
                    |w| w.text("merchTxnDate", day),
                );
            });
            w.object("payDetails", |w| {
                w.number("amount", &amount);
                w.text("txnCurrency", &request.currency);
                w.text("signature", &signature);
                if let Some(atom_txn_id) = request.atom_txn_id.as_ref().filter(|_| full) {
                    w.number("atomTxnId", atom_txn_id);
                }
            });
        });
        Ok(w.finish())
    }

    /// The refund (7.6). The lines' sum is sent as the total.
    pub fn refund(&self, request: &RefundRequest) -> Result<Zeroizing<String>, RequestError> {
        check_refund(request)?;
        let style = self.switches.amount_style;
        let total = text(request.total(), style);
        let signature = self
            .signed(&request.merch_txn_id, &total, &request.currency)
            .refund(&self.hash_key);
        let mut w = Writer::new();
        w.object("payInstrument", |w| {
            self.head_and_merchant(
                w,
                |w| head(w, "REFUNDINIT", "OTS"),
                |w| {
                    self.merchant(
                        w,
                        &request.merch_txn_id,
                        |w| {
                            w.text(
                                "password",
                                &self.encoded(self.switches.refund_password_encoding),
                            );
                        },
                        |_| (),
                    );
                },
            );
            w.object("payDetails", |w| {
                w.number("atomTxnId", &request.atom_txn_id);
                w.text("signature", &signature);
                w.objects("prodDetails", &request.lines, |w, line| {
                    w.text("prodName", self.product(&line.product));
                    w.text("prodRefundId", &line.prod_refund_id);
                    w.number("prodRefundAmount", &text(line.amount, style));
                });
                w.text("txnCurrency", &request.currency);
                w.number("totalRefundAmount", &total);
            });
        });
        Ok(w.finish())
    }

    /// The refund-status query (7.7). It is not signed, and its password always travels in Base64.
    pub fn refund_status(
        &self,
        request: &RefundStatusRequest,
    ) -> Result<Zeroizing<String>, RequestError> {
        check_number("payDetails.atomTxnId", &request.atom_txn_id)?;
        let configured = [self.product.clone()];
        let products = match request.products.as_slice() {
            [] => &configured,
            named => named,
        };
        let mut w = Writer::new();
        w.object("payInstrument", |w| {
            head(w, "REFUNDSTATUS", "OTS_ARS");
            w.object("merchDetails", |w| {
                w.number("merchId", &self.merch_id);
                w.text("password", &self.encoded(PasswordEncoding::Base64));
            });
            w.object("payDetails", |w| {
                w.number("atomTxnId", &request.atom_txn_id);
                w.objects("prodDetails", products, |w, name| {
                    w.text("prodName", self.product(name));
                });
            });
        });
        Ok(w.finish())
    }

    /// The characters of a refund's total, as [`RequestWriter::refund`] sends them.
    pub fn refund_amount_text(&self, request: &RefundRequest) -> String {
        text(request.total(), self.switches.amount_style)
    }

    /// The constant head first, as the samples have it, or the varying part first.
    fn head_and_merchant(
        &self,
        w: &mut Writer,
        head: impl FnOnce(&mut Writer),
        merchant: impl FnOnce(&mut Writer),
    ) {
        if self.switches.vary_prefix {
            w.object("merchDetails", merchant);
            head(w);
        } else {
            head(w);
            w.object("merchDetails", merchant);
        }
    }

    /// Merchant number and attempt, with `between` and `after` where the samples have password and date.
    fn merchant(
        &self,
        w: &mut Writer,
        merch_txn_id: &str,
        between: impl FnOnce(&mut Writer),
        after: impl FnOnce(&mut Writer),
    ) {
        if self.switches.vary_prefix {
            w.text("merchTxnId", merch_txn_id);
        }
        w.number("merchId", &self.merch_id);
        between(w);
        if !self.switches.vary_prefix {
            w.text("merchTxnId", merch_txn_id);
        }
        after(w);
    }

    fn auth_merchant(&self, w: &mut Writer, request: &AuthRequest) {
        if self.switches.vary_prefix {
            w.text("merchTxnId", &request.merch_txn_id);
        }
        // Only AUTH has the merchant number as a text.
        w.text("merchId", &self.merch_id);
        w.text("userId", "");
        w.text("password", self.password.expose());
        if !self.switches.vary_prefix {
            w.text("merchTxnId", &request.merch_txn_id);
        }
        w.text("merchTxnDate", &request.merch_txn_date_ist);
    }

    fn auth_pay(&self, w: &mut Writer, request: &AuthRequest) {
        let amount = |w: &mut Writer, name: &str, minor: i64| {
            let literal = text(minor, AmountStyle::Fixed2);
            match self.switches.auth_amount_style {
                AuthAmountStyle::String => w.text(name, &literal),
                AuthAmountStyle::Number => w.number(name, &literal),
            }
        };
        amount(w, "amount", request.amount);
        if request.products.is_empty() {
            w.text("product", &self.product);
        } else {
            w.objects("prodDetails", &request.products, |w, line: &ProductLine| {
                w.text("prodName", &line.name);
                amount(w, "prodAmount", line.amount);
            });
        }
        w.text("txnCurrency", &request.currency);
        if let Some(account) = &request.cust_acc_no {
            w.text("custAccNo", account);
        }
        if let Some(code) = &request.client_code {
            w.text("clientCode", code);
        }
    }

    fn signed<'a>(
        &'a self,
        merch_txn_id: &'a str,
        amount: &'a str,
        currency: &'a str,
    ) -> SignedFields<'a> {
        SignedFields {
            merch_id: &self.merch_id,
            password: &self.password,
            merch_txn_id,
            amount,
            currency,
        }
    }

    fn encoded(&self, encoding: PasswordEncoding) -> Zeroizing<String> {
        Zeroizing::new(match encoding {
            PasswordEncoding::Plain => self.password.expose().to_owned(),
            PasswordEncoding::Base64 => BASE64.encode(self.password.expose()),
        })
    }

    fn product<'a>(&'a self, named: &'a str) -> &'a str {
        if named.is_empty() {
            &self.product
        } else {
            named
        }
    }
}

/// The names of the fields of a request, without their values.
pub fn member_names(plain: &str) -> String {
    json::member_names(plain)
}

fn head(w: &mut Writer, api: &str, source: &str) {
    w.object("headDetails", |w| {
        w.text("api", api);
        w.text("source", source);
    });
}

fn check_auth(request: &AuthRequest) -> Result<(), RequestError> {
    check_merch_txn_id(&request.merch_txn_id)?;
    check_ist(&request.merch_txn_date_ist)?;
    check_amount("payDetails.amount", request.amount, AUTH_INTEGER_DIGITS_MAX)?;
    check_text("payDetails.txnCurrency", &request.currency, 5)?;
    check_text("custDetails.custEmail", &request.cust_email, 100)?;
    let mobile = &request.cust_mobile;
    if mobile.is_empty() || mobile.len() > 20 || !mobile.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RequestError::Field {
            field: "custDetails.custMobile",
            wanted: "1 to 20 digits",
        });
    }
    check_text("extras.udf1", &request.order_id, 45)?;
    if let Some(account) = &request.cust_acc_no {
        check_text("payDetails.custAccNo", account, 45)?;
    }
    for line in &request.products {
        check_text("payDetails.prodDetails.prodName", &line.name, 50)?;
        check_amount(
            "payDetails.prodDetails.prodAmount",
            line.amount,
            AUTH_INTEGER_DIGITS_MAX,
        )?;
    }
    let sum = request.products.iter().map(|line| line.amount).sum();
    if !request.products.is_empty() && sum != request.amount {
        return Err(RequestError::Sum {
            sum,
            amount: request.amount,
        });
    }
    Ok(())
}

fn check_refund(request: &RefundRequest) -> Result<(), RequestError> {
    check_merch_txn_id(&request.merch_txn_id)?;
    check_number("payDetails.atomTxnId", &request.atom_txn_id)?;
    check_text("payDetails.txnCurrency", &request.currency, 5)?;
    if request.lines.is_empty() {
        return Err(RequestError::Field {
            field: "payDetails.prodDetails",
            wanted: "at least one line",
        });
    }
    for line in &request.lines {
        check_text(
            "payDetails.prodDetails.prodRefundId",
            &line.prod_refund_id,
            50,
        )?;
        check_amount(
            "payDetails.prodDetails.prodRefundAmount",
            line.amount,
            INTEGER_DIGITS_MAX,
        )?;
    }
    // Atom answers by this id, so two lines of one id could not be told apart.
    let ids = request.lines.iter().map(|line| &line.prod_refund_id);
    if ids.collect::<BTreeSet<_>>().len() != request.lines.len() {
        return Err(RequestError::Field {
            field: "payDetails.prodDetails.prodRefundId",
            wanted: "different in every line",
        });
    }
    check_amount(
        "payDetails.totalRefundAmount",
        request.total(),
        INTEGER_DIGITS_MAX,
    )
}

/// The form keeps a signature's fields apart: a letter first, then capitals and digits only.
fn check_merch_txn_id(id: &str) -> Result<(), RequestError> {
    let mut bytes = id.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_uppercase());
    let plain = bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if starts && plain && id.len() <= 32 {
        return Ok(());
    }
    Err(RequestError::Field {
        field: "merchDetails.merchTxnId",
        wanted: "a capital letter and up to 31 capitals and digits",
    })
}

/// Returns the day of `YYYY-MM-DD hh:mm:ss`.
fn check_ist(date: &str) -> Result<&str, RequestError> {
    let shape = b"0000-00-00 00:00:00";
    let fits = date.len() == shape.len()
        && date.bytes().zip(shape).all(|(b, form)| match form {
            b'0' => b.is_ascii_digit(),
            mark => b == *mark,
        });
    if fits {
        return Ok(&date[..10]);
    }
    Err(RequestError::Field {
        field: "merchDetails.merchTxnDate",
        wanted: "a time YYYY-MM-DD hh:mm:ss",
    })
}

fn check_amount(field: &'static str, minor: i64, digits_max: usize) -> Result<(), RequestError> {
    if minor > 0 && fits(minor, digits_max) {
        return Ok(());
    }
    Err(RequestError::Field {
        field,
        wanted: "an amount above zero within the digits of the interface",
    })
}

/// The number goes into JSON as it is, so it must be one: no leading zero.
fn check_number(field: &'static str, digits: &str) -> Result<(), RequestError> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    if plain && !digits.is_empty() && digits.len() <= 14 && !digits.starts_with('0') {
        return Ok(());
    }
    Err(RequestError::Field {
        field,
        wanted: "a number of 1 to 14 digits",
    })
}

fn check_text(field: &'static str, value: &str, chars_max: usize) -> Result<(), RequestError> {
    if !value.is_empty() && value.chars().count() <= chars_max {
        return Ok(());
    }
    let wanted = match chars_max {
        5 => "a text of 1 to 5 characters",
        45 => "a text of 1 to 45 characters",
        50 => "a text of 1 to 50 characters",
        _ => "a text of 1 to 100 characters",
    };
    Err(RequestError::Field { field, wanted })
}
