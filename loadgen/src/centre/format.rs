//! The centre's checks of the data sections that lead to C34 and C17 (`spec/cafis.md` 4.5).

use codec::cafis::mti::Mti;
use codec::cafis::section::{SectionKind, sections};

use super::checks::SectionVerdict;

const SECTION_10_LEN: usize = 47;
const SEND_CLASS_AT: usize = 11;
const INDICATOR_AT: usize = 43;

/// Whether the sections of a request go together. Nearly every request says that nothing is added to its business
/// section, and then there is nothing to look for.
#[inline]
pub fn verdict(mti: Mti, data: &[u8]) -> SectionVerdict {
    let business = matches!(
        mti,
        Mti::AUTH_REQUEST | Mti::SALE_REQUEST | Mti::BUSINESS_CANCEL_REQUEST
    );
    if business && data.get(SECTION_10_LEN + 97) != Some(&b'@') {
        return SectionVerdict::Forbidden;
    }
    match data.get(INDICATOR_AT) {
        Some(b'2' | b'3') => extended(mti, data),
        _ => SectionVerdict::Good,
    }
}

fn extended(mti: Mti, data: &[u8]) -> SectionVerdict {
    let send_class = data.get(SEND_CLASS_AT).copied();
    let card_class = data.get(SECTION_10_LEN + 1).copied();
    let chip = matches!(card_class, Some(b'5' | b'6'));
    let mut seen = Seen::default();
    for (kind, section) in sections(mti, data) {
        match kind {
            SectionKind::S9_6_1 => seen.security_code = true,
            SectionKind::S9_7_1 => {
                seen.online = true;
                let ic_data = section.len() > 119;
                // Entry mode behind id and AID, then kind and encoding in front of the length.
                let bad_mode = chip && !matches!(section.get(36..38), Some(b"05" | b"07"));
                if bad_mode
                    || section.get(109) != Some(&b'B')
                    || chip && ic_data && send_class == Some(b'1')
                {
                    return SectionVerdict::Forbidden;
                }
                let content = section.get(117..section.len() - 2).unwrap_or(&[]);
                if section.get(110) == Some(&b'1') && !content.iter().all(|&byte| is_base64(byte)) {
                    return SectionVerdict::BadEncoding;
                }
            }
            SectionKind::S9_7_4 => seen.notice = true,
            SectionKind::S9_1_2 => seen.secure = true,
            SectionKind::S9_1_3 => seen.secure_more = true,
            SectionKind::Unparsed => return SectionVerdict::Forbidden,
            _ => {}
        }
    }
    let forbidden = seen.security_code && chip
        || seen.online && seen.notice
        || seen.notice && send_class != Some(b'4')
        || seen.secure_more && !seen.secure;
    if forbidden {
        SectionVerdict::Forbidden
    } else {
        SectionVerdict::Good
    }
}

#[derive(Default)]
struct Seen {
    security_code: bool,
    online: bool,
    notice: bool,
    secure: bool,
    secure_more: bool,
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorisation(card_class: u8, indicator: u8, more: &[u8]) -> Vec<u8> {
        let mut data = b"   000000002       123459900000100123991130000@".to_vec();
        data[INDICATOR_AT] = indicator;
        let mut card = [b' '; 98];
        card[0] = b'2';
        card[1] = card_class;
        card[97] = b'@';
        data.extend_from_slice(&card);
        data.extend_from_slice(more);
        data
    }

    /// A security code does not go with a chip, 9-1-3 not without 9-1-2, and a business section must be there.
    #[test]
    fn forbidden_combinations_are_found() {
        let code = b"060101123400000000000000000000@";
        assert_eq!(code.len(), 31);
        let security = [&code[..29], b"@"].concat();
        let check = |data: &[u8]| verdict(Mti::AUTH_REQUEST, data);
        assert_eq!(check(&authorisation(b'1', b'0', b"")), SectionVerdict::Good);
        assert_eq!(
            check(&authorisation(b'1', b'2', &security)),
            SectionVerdict::Good
        );
        assert_eq!(
            check(&authorisation(b'5', b'2', &security)),
            SectionVerdict::Forbidden
        );
        let mut lonely = b"0103".to_vec();
        lonely.resize(137, b'0');
        lonely.push(b'@');
        assert_eq!(
            check(&authorisation(b'1', b'2', &lonely)),
            SectionVerdict::Forbidden
        );
        assert_eq!(
            check(&authorisation(b'1', b'0', b"")[..100]),
            SectionVerdict::Forbidden
        );
    }

    /// What is said to be Base64 and is not gives its own verdict.
    #[test]
    fn a_wrong_encoding_is_found() {
        let mut online = b"0701".to_vec();
        online.resize(36, b'0');
        online.extend_from_slice(b"90");
        online.resize(109, b'0');
        online.extend_from_slice(b"B1  0004AB*=0@");
        assert_eq!(online.len(), 123);
        let data = authorisation(b'1', b'2', &online);
        assert_eq!(
            verdict(Mti::AUTH_REQUEST, &data),
            SectionVerdict::BadEncoding
        );
    }
}
