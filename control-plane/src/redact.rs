//! The one redactor before every sink: log lines, notifications, problem documents, what filters say of calls before it
//! is an entry of the audit log, what the command line tells of a failure. It takes out what is known to be a secret, and
//! what is written as only secrets are. What people write for others is refused for the same reasons, and so never kept.

use std::borrow::Cow;
use std::io;
use std::sync::{LazyLock, PoisonError, RwLock};

use regex::{Captures, Regex, RegexSet};
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

/// What stands in place of a secret.
const GONE: &str = "[redacted]";

/// The shortest text that is taken out because it is known: a shorter one stands in too many words.
const SHORTEST: usize = 6;

/// Secrets that nothing but a secret looks like.
const CERTAIN: [&str; 10] = [
    // JSON Web Tokens: `{"` in base64 begins them; and the beginning of one that was cut off.
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,3}",
    r"\beyJ[A-Za-z0-9_-]{24,}",
    r"\bwhsec_[A-Za-z0-9+/=]{16,}",
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----(?s:.*?-----END [A-Z ]{0,32}PRIVATE KEY-----|.*)",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bglpat-[A-Za-z0-9_-]{20,}",
    r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    r"\b[sr]k_live_[A-Za-z0-9]{16,}",
];

/// What tells by what stands before it that a secret follows; that part stays.
const TOLD: [&str; 3] = [
    r"(?i)\b(?P<before>(?:bearer|basic) +)[A-Za-z0-9._~+/=-]{12,}",
    r"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@]{0,128}:)[^\s/@]{1,256}(?P<after>@)",
    r#"(?i)(?P<before>\b(?:password|passwd|secret|(?:access_|id_|refresh_)?token|api_?key)=)[^\s&"',;]{4,}"#,
];

static ANY: LazyLock<Option<RegexSet>> = LazyLock::new(|| RegexSet::new(CERTAIN.iter().chain(&TOLD)).ok());
static EACH: LazyLock<Vec<Regex>> =
    LazyLock::new(|| CERTAIN.iter().chain(&TOLD).filter_map(|pattern| Regex::new(pattern).ok()).collect());
static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Has a text taken out from now on, wherever it stands.
pub fn keep_secret(secret: &str) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    if secret.len() >= SHORTEST && !known.iter().any(|text| text == secret) {
        known.push(secret.to_owned());
    }
}

/// A text without secrets: the text itself if there is none in it.
#[must_use]
pub fn redacted(text: &str) -> Cow<'_, str> {
    if !has_secret(text) {
        return Cow::Borrowed(text);
    }
    let mut text = Cow::Borrowed(text);
    for secret in KNOWN.read().unwrap_or_else(PoisonError::into_inner).iter() {
        if text.contains(secret.as_str()) {
            text = Cow::Owned(text.replace(secret.as_str(), GONE));
        }
    }
    for pattern in EACH.iter() {
        let replaced = pattern.replace_all(&text, |found: &Captures<'_>| {
            let part = |name| found.name(name).map_or("", |part| part.as_str());
            format!("{}{GONE}{}", part("before"), part("after"))
        });
        if let Cow::Owned(replaced) = replaced {
            text = Cow::Owned(replaced);
        }
    }
    text
}

/// Whether a text has something that the redactor would take out, so that it is better not taken at all.
#[must_use]
pub fn has_secret(text: &str) -> bool {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    // Without the set, were there none, each would be looked for.
    ANY.as_ref().is_none_or(|patterns| patterns.is_match(text)) || known.iter().any(|secret| text.contains(secret))
}

/// Takes secrets out of every text of some JSON, which stays what it is otherwise. Tells whether there was one.
pub fn redact_json(value: &mut Value) -> bool {
    match value {
        Value::String(text) => {
            let Cow::Owned(clean) = redacted(text) else { return false };
            *text = clean;
            true
        }
        // Each of them, whatever is found in the first.
        Value::Array(items) => items.iter_mut().fold(false, |found, item| redact_json(item) | found),
        Value::Object(fields) => fields.values_mut().fold(false, |found, item| redact_json(item) | found),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Writes log lines without secrets. The log hands over whole lines.
#[derive(Debug, Clone, Copy)]
pub struct Redacted<W>(pub W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Redacted<W> {
    type Writer = RedactedLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactedLine(self.0.make_writer())
    }
}

/// Writes one line without secrets.
#[derive(Debug)]
pub struct RedactedLine<W>(W);

impl<W: io::Write> io::Write for RedactedLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0.write_all(redacted(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";

    #[test]
    fn what_looks_like_a_secret_is_taken_out_and_the_rest_stays() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----";
        let cases = [
            (format!("token {JWT} came"), "token [redacted] came"),
            (format!("Authorization: Bearer {JWT}"), "Authorization: Bearer [redacted]"),
            ("bearer abcdefghijklmnop".to_owned(), "bearer [redacted]"),
            ("postgres://bob:hunter2@db/x failed".to_owned(), "postgres://bob:[redacted]@db/x failed"),
            ("https://db/x?password=hunter2&a=1".to_owned(), "https://db/x?password=[redacted]&a=1"),
            ("key whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw.".to_owned(), "key [redacted]."),
            (format!("see {key} there"), "see [redacted] there"),
            ("AKIAIOSFODNN7EXAMPLE".to_owned(), "[redacted]"),
        ];
        for (text, expected) in cases {
            assert_eq!(redacted(&text), expected);
        }
        for plain in
            ["the bearer of this is fine", "https://host:8443/path", "token expired", "a@b: password reset", "eyJ"]
        {
            assert_eq!(redacted(plain), plain);
            assert!(!has_secret(plain), "{plain}");
        }
        for secret in [&format!("please, with {JWT}"), "the password=hunter2 works", "ftp://bob:hunter2@host"] {
            assert!(has_secret(secret), "{secret}");
        }
    }

    #[test]
    fn json_stays_json() {
        let begun = "-----BEGIN PRIVATE KEY-----\nMHcCAQ";
        let mut value = serde_json::json!({ "path": format!("/a/{JWT}"), "list": [begun, 1, null], "plain": true });
        assert!(redact_json(&mut value));
        let clean = serde_json::json!({ "path": "/a/[redacted]", "list": [GONE, 1, null], "plain": true });
        assert_eq!(value, clean);
        assert!(!redact_json(&mut value), "there is nothing more to take out");
    }

    #[test]
    fn what_is_known_is_taken_out_wherever_it_stands() {
        keep_secret("correct horse battery");
        keep_secret("ab");
        assert_eq!(redacted("a correct horse battery b, ab"), "a [redacted] b, ab");
        let mut written = Vec::new();
        io::Write::write_all(&mut RedactedLine(&mut written), b"x correct horse battery \xff\n").unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "x [redacted] \u{fffd}\n");
    }
}
