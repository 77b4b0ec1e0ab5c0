//! The event block: two digits of code and 255 bytes of text in Shift_JIS, filled with spaces
//! (spec/fexics.md 3, 11 #9). The wording is ours; applications branch on the code.

use client::{DroppedTelegram, Event};
use encoding_rs::SHIFT_JIS;

/// Bytes of the code.
const CODE_LEN: usize = 2;
/// Bytes of the text.
const TEXT_LEN: usize = 255;
/// Bytes of an event block.
pub(crate) const BLOCK_LEN: usize = CODE_LEN + TEXT_LEN;

/// Code and text of every event.
const TEXTS: [(u16, &str); 8] = [
    (41, "センター間セッションがすべて接続されました"),
    (42, "センター間セッションの一部が切断されました"),
    (43, "センター間セッションがすべて切断されました"),
    (44, "サインオンしました"),
    (45, "サインオフしました"),
    (48, "形式の正しくない電文を受信しました"),
    (49, "CARDNETからの電文を破棄しました"),
    (50, "CAFISからの電文を破棄しました"),
];

/// The block of an event.
pub(crate) fn block(event: &Event) -> [u8; BLOCK_LEN] {
    let text = TEXTS.iter().find(|(code, _)| *code == event.code);
    let mut text = text
        .map_or("センターの状態が変わりました", |(_, text)| {
            text
        })
        .to_owned();
    if let Some(dropped) = &event.dropped {
        append_dropped(dropped, &mut text);
    }
    let (encoded, _, _) = SHIFT_JIS.encode(&text);
    let mut out = [b' '; BLOCK_LEN];
    out[..CODE_LEN].copy_from_slice(&two_digits(event.code));
    let len = encoded.len().min(TEXT_LEN);
    out[CODE_LEN..CODE_LEN + len].copy_from_slice(&encoded[..len]);
    out
}

/// One line `label="value"` for each field of the telegram that was discarded.
fn append_dropped(dropped: &DroppedTelegram, text: &mut String) {
    let (date, rest) = dropped.key.split_at(6);
    let (terminal, sequence) = rest.split_at(13);
    let fields: [(&str, &[u8]); 6] = [
        ("電文種別", &dropped.mti),
        ("被仕向会社コード", &dropped.issuer),
        ("仕向処理通番", &dropped.sequence),
        ("端末識別番号", terminal),
        ("端末処理通番", sequence),
        ("処理年月日", date),
    ];
    for (label, value) in fields {
        text.push('\n');
        text.push_str(label);
        text.push_str("=\"");
        // Fields of a malformed telegram may hold anything; its text must not break the block's lines.
        text.extend(value.iter().map(|byte| match byte {
            b' '..=b'~' if *byte != b'"' => char::from(*byte),
            _ => '?',
        }));
        text.push('"');
    }
}

fn two_digits(code: u16) -> [u8; 2] {
    let digit = |n: u16| b'0' + (n % 10) as u8;
    [digit(code / 10), digit(code)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text fits its place, code first, spaces behind; code 50 names the telegram line by line.
    #[test]
    fn blocks_have_their_width_and_lines() {
        for (code, text) in TEXTS {
            let dropped = None;
            let bytes = block(&Event { code, dropped });
            assert_eq!(bytes[..2], *code.to_string().as_bytes());
            let (decoded, _, wrong) = SHIFT_JIS.decode(&bytes[2..]);
            assert!(!wrong);
            assert_eq!(decoded.trim_end_matches(' '), text);
        }
        let dropped = DroppedTelegram {
            mti: *b"3520",
            issuer: *b"9x990010000",
            sequence: *b"000100",
            key: *b"260401990019900000100001",
        };
        let bytes = block(&Event {
            code: 50,
            dropped: Some(dropped),
        });
        let (decoded, _, _) = SHIFT_JIS.decode(&bytes);
        let lines: Vec<&str> = decoded.trim_end_matches(' ').lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "電文種別=\"3520\"",
                "被仕向会社コード=\"9x990010000\"",
                "仕向処理通番=\"000100\"",
                "端末識別番号=\"9900199000001\"",
                "端末処理通番=\"00001\"",
                "処理年月日=\"260401\"",
            ]
        );
    }
}
