//! Requests of the applications, with the values that must never reach the disk.

use codec::cafis::mti::Mti;

/// The PIN of every request.
pub const PIN: &[u8; 4] = b"Z9Q7";
/// The security code of every request that has one.
pub const SECURITY_CODE: &[u8; 4] = b"W8XJ";
/// The discretionary data of every card.
pub const DISCRETIONARY: &[u8; 8] = b"QXDDQXDD";
/// The sub code and company of the issuer.
pub const ISSUER: [u8; 11] = *b"TEST9000000";

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Business {
    /// 3110, at times with a security code.
    Authorisation,
    /// 3210.
    Sale,
    /// 3510 592: the centre answers itself.
    Test,
    /// 4910: the centre answers itself.
    Counters,
}

impl Business {
    /// Message type of the request.
    #[must_use]
    pub fn mti(self) -> Mti {
        match self {
            Business::Authorisation => Mti::AUTH_REQUEST,
            Business::Sale => Mti::SALE_REQUEST,
            Business::Test => Mti::OTHER_REQUEST,
            Business::Counters => Mti::COUNTER_ENQUIRY,
        }
    }

    /// Whether the centre answers it itself.
    #[must_use]
    pub fn turnaround(self) -> bool {
        matches!(self, Business::Test | Business::Counters)
    }
}

/// The transaction key of the n-th request: date 6, terminal id 13, terminal sequence 5.
#[must_use]
pub fn key(number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..6].copy_from_slice(b"991130");
    key[6..19].copy_from_slice(format!("{:013}", number / 99_999).as_bytes());
    key[19..].copy_from_slice(format!("{:05}", number % 99_999 + 1).as_bytes());
    key
}

/// The data part of a request.
#[must_use]
pub fn data(business: Business, key: &[u8; 24], amount: u64, security: bool) -> Vec<u8> {
    let extra = if security { '2' } else { '0' };
    let (date, terminal, sequence) = (&key[..6], &key[6..19], &key[19..]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut data = format!(
        "   000000002       {}{}{}{extra}00@",
        text(terminal),
        text(sequence),
        text(date)
    )
    .into_bytes();
    let card = format!(
        "21{:<69}{}0000990{amount:08}0000500@",
        format!("4111111111111111=9912101{}", text(DISCRETIONARY)),
        text(PIN)
    );
    match business {
        Business::Authorisation => data.extend_from_slice(card.as_bytes()),
        Business::Sale => {
            data.extend_from_slice(card.as_bytes());
            data.extend_from_slice(b"10@");
        }
        Business::Test => data.extend_from_slice(b"592@"),
        Business::Counters => {}
    }
    if security && business == Business::Authorisation {
        data.extend_from_slice(
            format!("060111{}0      000000000000@", text(SECURITY_CODE)).as_bytes(),
        );
    }
    data
}
