//! As much of HTTP as a task needs to ask a program on this machine something in JSON.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::Failure;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// `http://HOST:PORT` of this machine.
    pub base: &'a str,
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// What follows the port.
    pub path: &'a str,
    /// An API key.
    pub key: Option<&'a str>,
    /// An idempotency key.
    pub once: Option<&'a str>,
    /// The version that is expected (`If-Match`).
    pub version: Option<&'a str>,
    /// The body.
    pub body: Option<&'a Value>,
}

/// Makes a call; gives the status and the body as text.
///
/// # Errors
/// Nobody answers there.
pub fn text(call: Call<'_>) -> Result<(u16, String), Failure> {
    let fail =
        |error: std::io::Error| format!("{} {}{}: {error}", call.method, call.base, call.path);
    let address = call.base.strip_prefix("http://").unwrap_or(call.base);
    let mut stream = TcpStream::connect(address).map_err(fail)?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(fail)?;
    // In this version the answer comes in one piece and ends with the connection.
    let mut head = format!(
        "{} {} HTTP/1.0\r\nHost: {address}\r\n",
        call.method, call.path
    );
    if let Some(key) = call.key {
        head += &format!("Authorization: Bearer {key}\r\n");
    }
    if let Some(once) = call.once {
        head += &format!("Idempotency-Key: {once}\r\n");
    }
    if let Some(version) = call.version {
        head += &format!("If-Match: {version}\r\n");
    }
    let body = call.body.map(Value::to_string).unwrap_or_default();
    if call.body.is_some() {
        head += &format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
    }
    stream
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .map_err(fail)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(fail)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(format!(
            "{} {}{}: no answer in HTTP",
            call.method, call.base, call.path
        )),
    }
}

/// Makes a call whose answer is JSON, and must have one of these statuses.
///
/// # Errors
/// Nobody answers, or otherwise; the sentence has what was answered.
pub fn json(call: Call<'_>, good: &[u16]) -> Result<Value, Failure> {
    let (status, body) = text(call)?;
    if good.contains(&status) {
        Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
    } else {
        Err(format!(
            "{} {} was answered by {status}: {body}",
            call.method, call.path
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A call carries its keys and its body, and the answer's status and body come back; another status is a failure that shows
    /// them.
    #[test]
    fn a_call_and_its_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a call");
            let mut heard = Vec::new();
            while !heard.ends_with(b"{\"a\":1}") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("more");
                heard.push(byte[0]);
            }
            stream
                .write_all(b"HTTP/1.0 201 Created\r\nX: y\r\n\r\n{\"b\":2}")
                .expect("written");
            String::from_utf8(heard).expect("text")
        });
        let body = serde_json::json!({ "a": 1 });
        let call = Call {
            base: &base,
            method: "POST",
            path: "/x",
            key: Some("k"),
            once: Some("o"),
            version: Some("\"3\""),
            body: Some(&body),
        };
        let failure = json(call, &[200]).expect_err("it was 201");
        assert!(
            failure.contains("201") && failure.contains("{\"b\":2}"),
            "{failure}"
        );
        let heard = server.join().expect("it served");
        assert!(heard.contains("Authorization: Bearer k\r\n"), "{heard}");
        assert!(heard.contains("Idempotency-Key: o\r\n"), "{heard}");
        assert!(heard.contains("If-Match: \"3\"\r\n"), "{heard}");
    }
}
