//! The agency's limits, checked before anything is sent (`spec/frex.md` 6.7).
//!
//! The limits are those of the public sister service, applied to the letter: a character counts as one full-width character
//! whatever its width, and the goods must come to the billed amount exactly. The same functions serve checkout, so that an
//! order which would be refused here is refused there, with the field's name.

use super::items::{Buyer, Delivery, Detail, Registration, TaxRateSummary};
use crate::frex::key;

/// Most items in one request that the agency accepts.
pub const ITEMS_AGENCY_MAX: usize = 1_000;
/// Digits of the agency's transaction and buyer numbers.
pub const NP_ID_DIGITS: usize = 11;
/// Longest acceptance number we take.
pub const ACCEPT_NO_CHARS_MAX: usize = 40;
/// Longest name of a person.
pub const NAME_CHARS_MAX: usize = 21;
/// Longest reading of a name.
pub const READING_CHARS_MAX: usize = 25;
/// Longest name of a company.
pub const COMPANY_CHARS_MAX: usize = 30;
/// Longest name of a department.
pub const DEPARTMENT_CHARS_MAX: usize = 30;
/// Longest address.
pub const ADDRESS_CHARS_MAX: usize = 55;
/// Longest mail address.
pub const EMAIL_CHARS_MAX: usize = 100;
/// Digits of a postal code.
pub const ZIP_DIGITS: usize = 7;
/// Fewest and most digits of a telephone number.
pub const TEL_DIGITS: (usize, usize) = (10, 11);
/// Largest amount in yen: nine digits, far above any bill and far below overflow.
pub const AMOUNT_MAX: i64 = 999_999_999;
/// Most lines of an order.
pub const DETAILS_MAX: usize = 200;
/// Longest description of a line.
pub const DETAIL_CHARS_MAX: usize = 100;

/// Which limit an item breaks; each names the field as the shop and the agency call it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A required field is empty.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A text is too long.
    #[error("{field} has {chars} characters, at most {chars_max} are allowed")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length in characters.
        chars: usize,
        /// The limit.
        chars_max: usize,
    },
    /// A text does not have the form the field needs.
    #[error("{field} must be {form}")]
    Form {
        /// The field.
        field: &'static str,
        /// What it must be.
        form: &'static str,
    },
    /// The amount is outside 1 to 999,999,999 yen.
    #[error("billedAmount is {amount} yen, it must be 1 to 999,999,999")]
    Amount {
        /// The amount.
        amount: i64,
    },
    /// The goods do not come to the billed amount.
    #[error("{what} come to {sum} yen, billedAmount is {amount}")]
    Sum {
        /// Which sum.
        what: &'static str,
        /// What they come to.
        sum: i64,
        /// The billed amount.
        amount: i64,
    },
    /// Lines and sums of one tax rate do not belong together.
    #[error("the lines of tax rate {rate} do not come to the sum given for it, tax included")]
    TaxRate {
        /// The rate in per cent.
        rate: i64,
    },
    /// The same key twice in one batch.
    #[error("the key {key} stands twice in one batch")]
    KeyTwice {
        /// The key.
        key: String,
    },
}

/// Whether a text is one of the agency's transaction numbers.
#[must_use]
pub fn is_np_transaction_id(text: &str) -> bool {
    text.len() == NP_ID_DIGITS && is_digits(text)
}

/// A registration: order number, amount, goods, buyer, delivery.
///
/// # Errors
/// The first limit it breaks.
pub fn registration(item: &Registration) -> Result<(), LimitError> {
    shop_transaction_id(&item.shop_transaction_id)?;
    goods(
        item.billed_amount,
        &item.transaction_details,
        &item.tax_rate_summaries,
    )?;
    buyer(&item.buyer)?;
    delivery(&item.delivery_info)
}

/// An order number.
///
/// # Errors
/// It is empty, too long or holds other characters.
pub fn shop_transaction_id(text: &str) -> Result<(), LimitError> {
    if key::is_order_no(text) {
        Ok(())
    } else {
        Err(LimitError::Form {
            field: "shopTransactionId",
            form: "1 to 40 letters, digits, '-' or '_'",
        })
    }
}

/// An amount.
///
/// # Errors
/// It is outside the limits.
pub fn amount(amount: i64) -> Result<(), LimitError> {
    if (1..=AMOUNT_MAX).contains(&amount) {
        Ok(())
    } else {
        Err(LimitError::Amount { amount })
    }
}

/// Amount, lines and sums by tax rate, which must agree.
///
/// The tax of a rate is rounded once for the whole bill; in which direction is the shop's choice, so that a sum is accepted
/// if it is less than one yen from the exact one.
///
/// # Errors
/// The first limit they break.
pub fn goods(
    billed_amount: i64,
    details: &[Detail],
    summaries: &[TaxRateSummary],
) -> Result<(), LimitError> {
    amount(billed_amount)?;
    if details.is_empty() {
        return Err(LimitError::Missing {
            field: "transactionDetails",
        });
    }
    if details.len() > DETAILS_MAX {
        return Err(LimitError::Form {
            field: "transactionDetails",
            form: "at most 200 lines",
        });
    }
    let mut rates: Vec<(i64, i64)> = Vec::new();
    for line in details {
        let (rate, net) = line_of(line)?;
        match rates.iter_mut().find(|row| row.0 == rate) {
            Some(row) => row.1 += net,
            None => rates.push((rate, net)),
        }
    }
    for summary in summaries {
        let bounded = is_bounded(summary.total_amount);
        let net = rates.iter().position(|row| row.0 == summary.tax_rate);
        let Some(at) = net.filter(|_| bounded) else {
            return Err(LimitError::TaxRate {
                rate: summary.tax_rate,
            });
        };
        let (rate, net) = rates.swap_remove(at);
        if (net * (100 + rate) - summary.total_amount * 100).abs() >= 100 {
            return Err(LimitError::TaxRate { rate });
        }
    }
    if let Some(&(rate, _)) = rates.first() {
        return Err(LimitError::TaxRate { rate });
    }
    let sum = summaries.iter().map(|summary| summary.total_amount).sum();
    if sum == billed_amount {
        Ok(())
    } else {
        Err(LimitError::Sum {
            what: "taxRateSummaries",
            sum,
            amount: billed_amount,
        })
    }
}

/// The tax rate of a line, and its price without tax.
fn line_of(line: &Detail) -> Result<(i64, i64), LimitError> {
    text("detail", &line.detail, DETAIL_CHARS_MAX)?;
    let digits = line.billed_tax_kind.strip_prefix('T').unwrap_or_default();
    if digits.len() != 2 || !is_digits(digits) {
        return Err(LimitError::Form {
            field: "billedTaxKind",
            form: "T and two digits, such as T10",
        });
    }
    // Two digits always parse.
    let rate = digits.parse().unwrap_or_default();
    if !is_bounded(line.price) || !(1..=AMOUNT_MAX).contains(&line.quantity) {
        return Err(LimitError::Form {
            field: "transactionDetails",
            form: "priced within 999,999,999 yen, with a quantity from 1 to 999,999,999",
        });
    }
    let net = line.price.checked_mul(line.quantity);
    // 200 lines of what passes here fit, their tax included.
    let net = net.filter(|net| is_bounded(*net));
    let net = net.ok_or(LimitError::Form {
        field: "transactionDetails",
        form: "at most 999,999,999 yen a line",
    })?;
    Ok((rate, net))
}

/// Whether a price or a sum, which may be a discount, is within what we reckon with.
fn is_bounded(yen: i64) -> bool {
    (-AMOUNT_MAX..=AMOUNT_MAX).contains(&yen)
}

/// The buyer.
///
/// # Errors
/// The first limit it breaks.
pub fn buyer(buyer: &Buyer) -> Result<(), LimitError> {
    let number = &buyer.np_buyer_id;
    if !number.is_empty() && !is_np_transaction_id(number) {
        return Err(LimitError::Form {
            field: "buyer.npBuyerId",
            form: "11 digits",
        });
    }
    text("buyer.companyName", &buyer.company_name, COMPANY_CHARS_MAX)?;
    optional("buyer.department", &buyer.department, DEPARTMENT_CHARS_MAX)?;
    text("buyer.customerName", &buyer.customer_name, NAME_CHARS_MAX)?;
    optional(
        "buyer.customerNameKana",
        &buyer.customer_name_kana,
        READING_CHARS_MAX,
    )?;
    zip("buyer.zipCode", &buyer.zip_code)?;
    text("buyer.address", &buyer.address, ADDRESS_CHARS_MAX)?;
    tel("buyer.telNo", &buyer.tel_no)?;
    text("buyer.email", &buyer.email, EMAIL_CHARS_MAX)?;
    let form = LimitError::Form {
        field: "buyer.email",
        form: "a mail address",
    };
    match buyer.email.split_once('@') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() && !host.contains('@') => Ok(()),
        _ => Err(form),
    }
}

/// Where the goods go.
///
/// # Errors
/// The first limit it breaks.
pub fn delivery(delivery: &Delivery) -> Result<(), LimitError> {
    optional(
        "deliveryInfo.companyName",
        &delivery.company_name,
        COMPANY_CHARS_MAX,
    )?;
    optional(
        "deliveryInfo.department",
        &delivery.department,
        DEPARTMENT_CHARS_MAX,
    )?;
    text(
        "deliveryInfo.customerName",
        &delivery.customer_name,
        NAME_CHARS_MAX,
    )?;
    zip("deliveryInfo.zipCode", &delivery.zip_code)?;
    text("deliveryInfo.address", &delivery.address, ADDRESS_CHARS_MAX)?;
    tel("deliveryInfo.telNo", &delivery.tel_no)
}

fn text(field: &'static str, text: &str, chars_max: usize) -> Result<(), LimitError> {
    if text.trim().is_empty() {
        return Err(LimitError::Missing { field });
    }
    optional(field, text, chars_max)
}

fn optional(field: &'static str, text: &str, chars_max: usize) -> Result<(), LimitError> {
    let chars = text.chars().count();
    if chars > chars_max {
        return Err(LimitError::TooLong {
            field,
            chars,
            chars_max,
        });
    }
    if text.chars().any(char::is_control) {
        return Err(LimitError::Form {
            field,
            form: "one line of text without control characters",
        });
    }
    Ok(())
}

fn zip(field: &'static str, text: &str) -> Result<(), LimitError> {
    if text.len() == ZIP_DIGITS && is_digits(text) {
        Ok(())
    } else {
        Err(LimitError::Form {
            field,
            form: "7 digits",
        })
    }
}

fn tel(field: &'static str, text: &str) -> Result<(), LimitError> {
    if (TEL_DIGITS.0..=TEL_DIGITS.1).contains(&text.len()) && is_digits(text) {
        Ok(())
    } else {
        Err(LimitError::Form {
            field,
            form: "10 or 11 digits",
        })
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    /// The sample order passes; every field one step beyond its limit is refused with the field's name.
    #[test]
    fn each_limit_is_named() {
        type Change = fn(&mut Registration);
        assert_eq!(registration(&samples::registration("F-1", 11_000)), Ok(()));
        let fits: [Change; 4] = [
            |item| item.buyer.customer_name = "字".repeat(21),
            |item| item.buyer.customer_name_kana = "ア".repeat(25),
            |item| item.buyer.address = "字".repeat(55),
            |item| item.buyer.np_buyer_id = "12345678901".into(),
        ];
        for change in fits {
            let mut item = samples::registration("F-1", 11_000);
            change(&mut item);
            assert_eq!(registration(&item), Ok(()));
        }
        let breaks: [(&str, Change); 15] = [
            ("shopTransactionId", |item| {
                item.shop_transaction_id = "F".repeat(41);
            }),
            ("buyer.npBuyerId", |item| {
                item.buyer.np_buyer_id = "1".into()
            }),
            ("buyer.companyName", |item| {
                item.buyer.company_name = "字".repeat(31);
            }),
            ("buyer.companyName is missing", |item| {
                item.buyer.company_name = " ".into();
            }),
            ("buyer.department", |item| {
                item.buyer.department = "字".repeat(31);
            }),
            ("buyer.customerName", |item| {
                item.buyer.customer_name = "字".repeat(22);
            }),
            ("buyer.customerNameKana", |item| {
                item.buyer.customer_name_kana = "ア".repeat(26);
            }),
            ("buyer.zipCode", |item| {
                item.buyer.zip_code = "100-001".into();
            }),
            ("buyer.address", |item| {
                item.buyer.address = "字".repeat(56);
            }),
            ("buyer.telNo", |item| item.buyer.tel_no = "03-000".into()),
            ("buyer.email", |item| item.buyer.email = "nobody".into()),
            ("buyer.email", |item| {
                item.buyer.email = format!("{}@example.com", "a".repeat(90));
            }),
            ("deliveryInfo.zipCode", |item| {
                item.delivery_info.zip_code = String::new();
            }),
            ("deliveryInfo.customerName is missing", |item| {
                item.delivery_info.customer_name = String::new();
            }),
            ("control characters", |item| {
                item.delivery_info.address = "a\nb".into();
            }),
        ];
        for (name, change) in breaks {
            let mut item = samples::registration("F-1", 11_000);
            change(&mut item);
            let message = registration(&item).unwrap_err().to_string();
            assert!(message.contains(name), "{name}: {message}");
        }
    }

    /// Goods must come to the billed amount: equal sums only, tax rounded either way, no rate without its counterpart.
    #[test]
    fn goods_must_come_to_the_amount() {
        let line = |price, quantity, kind: &str| Detail {
            detail: "x".into(),
            price,
            quantity,
            billed_tax_kind: kind.into(),
        };
        let sum = |tax_rate, total_amount| TaxRateSummary {
            tax_rate,
            total_amount,
        };
        let both = [line(105, 3, "T10"), line(50, 1, "T08")];
        for (ten, eight) in [(346, 54), (347, 54)] {
            assert_eq!(
                goods(ten + eight, &both, &[sum(10, ten), sum(8, eight)]),
                Ok(())
            );
        }
        let wrong = |amount, lines: &[Detail], sums: &[TaxRateSummary]| {
            goods(amount, lines, sums).unwrap_err()
        };
        let rate = |rate| LimitError::TaxRate { rate };
        assert_eq!(wrong(402, &both, &[sum(10, 348), sum(8, 54)]), rate(10));
        assert_eq!(wrong(347, &both, &[sum(10, 347)]), rate(8));
        assert_eq!(wrong(401, &both[..1], &[sum(10, 347), sum(8, 54)]), rate(8));
        let sums = [sum(10, 347), sum(8, 54)];
        assert!(matches!(wrong(400, &both, &sums), LimitError::Sum { .. }));
        assert!(matches!(wrong(0, &both, &sums), LimitError::Amount { .. }));
        assert!(matches!(wrong(1, &[], &sums), LimitError::Missing { .. }));
        let big = [line(AMOUNT_MAX, AMOUNT_MAX, "T10")];
        assert!(matches!(wrong(1, &big, &sums), LimitError::Form { .. }));
        let kind = [line(1, 1, "10")];
        assert!(matches!(wrong(1, &kind, &sums), LimitError::Form { .. }));
    }

    /// The least number there is has no absolute value; it is refused like any other that is too far from zero.
    #[test]
    fn the_least_number_is_out_of_bounds() {
        for extreme in [i64::MIN, -AMOUNT_MAX - 1, i64::MAX] {
            let line = |price, quantity| Detail {
                detail: "x".into(),
                price,
                quantity,
                billed_tax_kind: "T10".into(),
            };
            let sum = |total_amount| TaxRateSummary {
                tax_rate: 10,
                total_amount,
            };
            let form = |lines: &[Detail]| goods(1, lines, &[sum(1)]).unwrap_err();
            assert!(matches!(form(&[line(extreme, 1)]), LimitError::Form { .. }));
            assert!(matches!(form(&[line(1, extreme)]), LimitError::Form { .. }));
            let rate = goods(1, &[line(1, 1)], &[sum(extreme)]);
            assert_eq!(rate, Err(LimitError::TaxRate { rate: 10 }));
        }
    }
}
