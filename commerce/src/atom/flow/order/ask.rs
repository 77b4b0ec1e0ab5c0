//! What a merchant may order: the body of create-order, read and checked field by field.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::super::{FieldError, FlowError, FlowSettings};

/// Items of one order at most.
pub const ITEMS_MAX: usize = 20;
/// Characters of the longest reference, user id and product.
const TEXT_CHARS_MAX: usize = 64;
/// Characters of the longest product name at Atom.
const PRODUCT_CHARS_MAX: usize = 50;
/// Characters of the longest e-mail that Atom takes.
const EMAIL_CHARS_MAX: usize = 100;
/// Digits of a mobile number.
const MOBILE_DIGITS: std::ops::RangeInclusive<usize> = 6..=20;
/// Characters of the longest return page.
const URL_CHARS_MAX: usize = 500;

/// One product of an order.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Item {
    /// The product's name at Atom.
    pub product: String,
    /// Its share, in minor units.
    pub amount: i64,
}

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderAsk {
    /// The merchant's own number of the order.
    pub merchant_order_ref: String,
    /// The merchant's own number of the customer.
    pub user_id: Option<String>,
    /// Minor units.
    pub amount: i64,
    /// ISO code.
    pub currency: String,
    /// The customer's e-mail.
    pub email: String,
    /// The customer's mobile number, digits.
    pub mobile: String,
    /// The products; two and more make a split order.
    pub items: Vec<Item>,
    /// Where the customer goes when all is done.
    pub return_page: Option<String>,
}

impl OrderAsk {
    /// Reads a body.
    ///
    /// # Errors
    /// Every field that breaks a rule is named, once; then the range of the amount and the currency are looked at.
    pub fn read(
        body: &[u8],
        settings: &FlowSettings,
        merchant_id: &str,
    ) -> Result<OrderAsk, FlowError> {
        let mut reader = Reader::new(body)?;
        let ask = OrderAsk {
            merchant_order_ref: reader.text("merchant_order_ref", TEXT_CHARS_MAX),
            user_id: reader.optional_text("user_id", TEXT_CHARS_MAX),
            amount: reader.integer("amount"),
            currency: reader.text("currency", 5),
            email: String::new(),
            mobile: String::new(),
            items: Vec::new(),
            return_page: reader.optional_text("return_page", URL_CHARS_MAX),
        };
        let (email, mobile) = reader.customer();
        let items = reader.items();
        reader.no_more();
        let ask = OrderAsk {
            email,
            mobile,
            items,
            ..ask
        };
        let sum: i64 = ask.items.iter().map(|item| item.amount).sum();
        if !ask.items.is_empty() && sum != ask.amount && reader.bad.is_empty() {
            reader.bad(
                "items",
                format!("the amounts add up to {sum}, not to amount"),
            );
        }
        if let Some(page) = &ask.return_page {
            let origins = settings
                .merchants
                .get(merchant_id)
                .map(|merchant| &merchant.return_origins);
            if !is_permitted(page, origins.map_or(&[], Vec::as_slice)) {
                reader.bad(
                    "return_page",
                    "must be a page of one of the merchant's registered origins",
                );
            }
        }
        reader.done()?;
        if !(settings.amount_min..=settings.amount_max).contains(&ask.amount) {
            return Err(FlowError::AmountOutOfRange {
                min: settings.amount_min,
                max: settings.amount_max,
            });
        }
        if !settings.currencies.contains(&ask.currency) {
            return Err(FlowError::CurrencyNotSupported {
                supported: settings.currencies.clone(),
            });
        }
        Ok(ask)
    }

    /// Digest of what is ordered, to know the same order again.
    pub fn digest(&self) -> String {
        let content = json!([
            self.merchant_order_ref,
            self.user_id,
            self.amount,
            self.currency,
            self.email,
            self.mobile,
            self.items,
            self.return_page
        ]);
        hex::encode(Sha256::digest(content.to_string()))
    }
}

/// Whether the page lies on one of the origins. The origin is compared as a whole, so `https://shop.example.evil.example`
/// is none of `https://shop.example`.
fn is_permitted(page: &str, origins: &[String]) -> bool {
    let Ok(page) = Url::parse(page) else {
        return false;
    };
    let plain =
        page.username().is_empty() && page.password().is_none() && page.fragment().is_none();
    let origin = page.origin().ascii_serialization();
    plain && origins.contains(&origin)
}

struct Reader {
    fields: Map<String, Value>,
    bad: Vec<FieldError>,
}

impl Reader {
    fn new(body: &[u8]) -> Result<Reader, FlowError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Reader {
                fields,
                bad: Vec::new(),
            }),
            _ => Err(FlowError::field("body", "must be a JSON object")),
        }
    }

    fn bad(&mut self, field: &str, reason: impl Into<String>) {
        self.bad.push(FieldError {
            field: field.to_owned(),
            reason: reason.into(),
        });
    }

    fn text(&mut self, field: &str, chars_max: usize) -> String {
        let value = self.fields.remove(field);
        match value.as_ref().and_then(|value| plain(value, chars_max)) {
            Some(text) => text,
            None => {
                self.bad(
                    field,
                    format!("must be a text of 1 to {chars_max} printable characters"),
                );
                String::new()
            }
        }
    }

    fn optional_text(&mut self, field: &str, chars_max: usize) -> Option<String> {
        match self.fields.get(field) {
            None => None,
            Some(Value::Null) => {
                self.fields.remove(field);
                None
            }
            Some(_) => Some(self.text(field, chars_max)),
        }
    }

    fn integer(&mut self, field: &str) -> i64 {
        match self.fields.remove(field).and_then(|value| value.as_i64()) {
            Some(number) => number,
            None => {
                self.bad(field, "must be a whole number of minor units");
                0
            }
        }
    }

    fn customer(&mut self) -> (String, String) {
        let Some(Value::Object(fields)) = self.fields.remove("customer") else {
            self.bad("customer", "must be an object of email and mobile");
            return Default::default();
        };
        let mut inner = Reader {
            fields,
            bad: Vec::new(),
        };
        let email = inner.text("email", EMAIL_CHARS_MAX);
        let mobile = inner.text("mobile", *MOBILE_DIGITS.end());
        if inner.bad.is_empty() && !is_email(&email) {
            inner.bad("email", "must have the form of an e-mail address");
        }
        let digits =
            mobile.bytes().all(|b| b.is_ascii_digit()) && MOBILE_DIGITS.contains(&mobile.len());
        if !digits && !inner.bad.iter().any(|bad| bad.field == "mobile") {
            inner.bad("mobile", "must be 6 to 20 digits");
        }
        inner.no_more();
        self.bad.extend(inner.bad.into_iter().map(|bad| FieldError {
            field: format!("customer.{}", bad.field),
            reason: bad.reason,
        }));
        (email, mobile)
    }

    fn items(&mut self) -> Vec<Item> {
        let items = match self.fields.remove("items") {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) if items.len() <= ITEMS_MAX => items,
            Some(_) => {
                self.bad(
                    "items",
                    format!("must be a list of at most {ITEMS_MAX} items"),
                );
                return Vec::new();
            }
        };
        let mut read: Vec<Item> = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let fields = item.as_object().filter(|fields| fields.len() == 2);
            let product =
                fields.and_then(|fields| plain(fields.get("product")?, PRODUCT_CHARS_MAX));
            let amount = fields.and_then(|fields| fields.get("amount")?.as_i64());
            // No item is larger than the largest amount of the interface, so their sum stays far inside an i64.
            let amount = amount.filter(|amount| (1..=99_999_999_999_999).contains(amount));
            match (product, amount) {
                (Some(product), _) if read.iter().any(|item| item.product == product) => {
                    self.bad(&format!("items[{at}]"), "names a product a second time");
                }
                (Some(product), Some(amount)) => read.push(Item { product, amount }),
                _ => self.bad(
                    &format!("items[{at}]"),
                    "must be an object of product and a positive amount",
                ),
            }
        }
        read
    }

    fn no_more(&mut self) {
        for field in std::mem::take(&mut self.fields).keys() {
            self.bad(field, "is no field of this request");
        }
    }

    fn done(self) -> Result<(), FlowError> {
        if self.bad.is_empty() {
            Ok(())
        } else {
            Err(FlowError::Validation { fields: self.bad })
        }
    }
}

/// A text without control characters, which no database and no gateway has to understand.
fn plain(value: &Value, chars_max: usize) -> Option<String> {
    let text = value.as_str()?;
    let fits = (1..=chars_max).contains(&text.chars().count());
    (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.rsplit_once('@') else {
        return false;
    };
    let clean =
        |part: &str| !part.is_empty() && !part.contains([' ', '@', ',', ';', '<', '>', '"']);
    clean(name)
        && clean(host)
        && host.contains('.')
        && !host.starts_with('.')
        && !host.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::super::super::MerchantSettings;
    use super::*;

    fn settings() -> FlowSettings {
        let merchant = MerchantSettings {
            return_origins: vec!["https://shop.example".to_owned()],
            ..MerchantSettings::default()
        };
        FlowSettings {
            merchants: [("shop".to_owned(), merchant)].into(),
            ..FlowSettings::default()
        }
    }

    fn good() -> Value {
        json!({"merchant_order_ref": "SHOP-1001", "user_id": "u_77", "amount": 10000, "currency": "INR",
            "customer": {"email": "buyer@example.com", "mobile": "9000000000"},
            "items": [{"product": "NSE", "amount": 10000}], "return_page": "https://shop.example/thanks"})
    }

    fn read(body: &Value) -> Result<OrderAsk, FlowError> {
        OrderAsk::read(body.to_string().as_bytes(), &settings(), "shop")
    }

    /// The example of section 15.1 is read, and the same order has the same digest.
    #[test]
    fn the_example() {
        let ask = read(&good()).expect("a good order");
        assert_eq!((ask.amount, ask.items.len()), (10_000, 1));
        assert_eq!(ask.digest(), read(&good()).expect("a good order").digest());
    }

    /// Each fault names its field.
    #[test]
    fn each_fault_is_named() {
        let faults: &[(&str, Value)] = &[
            ("merchant_order_ref", json!("")),
            ("merchant_order_ref", json!("a\u{0}b")),
            ("amount", json!(100.5)),
            ("amount", json!("10000")),
            ("customer", json!(null)),
            (
                "customer.email",
                json!({"email": "nobody", "mobile": "9000000000"}),
            ),
            (
                "customer.mobile",
                json!({"email": "a@b.example", "mobile": "+91"}),
            ),
            (
                "customer.card",
                json!({"email": "a@b.example", "mobile": "9000000000", "card": "x"}),
            ),
            ("items", json!([{"product": "NSE", "amount": 9999}])),
            ("items[0]", json!([{"product": "NSE", "amount": 0}])),
            (
                "items[1]",
                json!([{"product": "NSE", "amount": 1}, {"product": "NSE", "amount": 9999}]),
            ),
            ("return_page", json!("https://shop.example.evil.example/")),
            ("return_page", json!("https://shop.example@evil.example/")),
            ("return_page", json!("javascript:alert(1)")),
            ("surprise", json!(1)),
        ];
        for (field, value) in faults {
            let mut body = good();
            body[field.split(['.', '[']).next().expect("a field")] = value.clone();
            let error = read(&body).expect_err(field);
            let FlowError::Validation { fields } = &error else {
                panic!("{field}: {error}")
            };
            assert_eq!(fields.len(), 1, "{field}: {error}");
            assert_eq!(fields[0].field, *field, "{error}");
        }
        assert_eq!(
            OrderAsk::read(b"[]", &settings(), "shop")
                .expect_err("no object")
                .status(),
            400
        );
    }

    /// Amounts out of range and other currencies have codes of their own.
    #[test]
    fn range_and_currency() {
        for amount in [0, -5, 99, 100_000_001] {
            let mut body = good();
            body["amount"] = json!(amount);
            body["items"] = json!([]);
            assert_eq!(
                read(&body).expect_err("refused").code(),
                "amount_out_of_range"
            );
        }
        let mut body = good();
        body["currency"] = json!("USD");
        assert_eq!(
            read(&body).expect_err("refused").code(),
            "currency_not_supported"
        );
    }
}
