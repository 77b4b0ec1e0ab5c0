//! Invented items for the tests of this module.

use time::macros::date;

use super::items::{Buyer, Delivery, Detail, Registration, TaxRateSummary};
use crate::frex::key::{RequestKey, RequestType};

/// One line without tax and its sum with 10 % tax; `amount` must be a multiple of 11.
pub fn goods(amount: i64) -> (Vec<Detail>, Vec<TaxRateSummary>) {
    let detail = Detail {
        detail: "Flyer printing A4".into(),
        price: amount / 11 * 10,
        quantity: 1,
        billed_tax_kind: "T10".into(),
    };
    let summary = TaxRateSummary {
        tax_rate: 10,
        total_amount: amount,
    };
    (vec![detail], vec![summary])
}

/// A registration that keeps every limit.
pub fn registration(order_no: &str, amount: i64) -> Registration {
    let (transaction_details, tax_rate_summaries) = goods(amount);
    Registration {
        request_key: RequestKey::new(order_no, RequestType::OrderReg, 0),
        shop_transaction_id: order_no.into(),
        shop_order_date: date!(2025 - 01 - 15),
        billed_amount: amount,
        transaction_details,
        tax_rate_summaries,
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
        delivery_info: Delivery {
            company_name: "Example KK".into(),
            department: String::new(),
            customer_name: "Sample Buyer".into(),
            zip_code: "1000001".into(),
            address: "Tokyo Chiyoda 1-1".into(),
            tel_no: "0300000000".into(),
        },
    }
}
