//! Signatures of webhooks in the form of Standard Webhooks: HMAC-SHA256 over id, time and body.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// How long a secret is, in bytes.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that an endpoint shares, `whsec_` and its bytes in base64.
#[derive(Clone)]
pub struct Secret {
    text: String,
    key: hmac::Key,
}

/// Why a text is no secret. It is not in the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret of webhooks is `whsec_` and 24 to 64 bytes in base64\nmake one with `printf 'whsec_%s\\n' \"$(openssl rand -base64 32)\"`"
)]
pub struct SecretError;

impl Secret {
    /// Reads a secret.
    ///
    /// # Errors
    /// If it has another form.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let bytes =
            text.strip_prefix("whsec_").and_then(|rest| BASE64_STANDARD.decode(rest).ok()).ok_or(SecretError)?;
        if !BYTES.contains(&bytes.len()) {
            return Err(SecretError);
        }
        Ok(Self { text: text.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// The secret as it is written, to have it taken out of everything.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The header `webhook-signature`: one signature by each secret.
pub(super) fn signatures(secrets: &[Secret], id: &str, seconds: i64, body: &str) -> String {
    let signed = format!("{id}.{seconds}.{body}");
    let one = |secret: &Secret| format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&secret.key, signed.as_bytes())));
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        // The example of the specification.
        let body = r#"{"test": 2432232314}"#;
        let secret = Secret::parse(SECRET).unwrap();
        let signed = signatures(std::slice::from_ref(&secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let twice = signatures(&[secret.clone(), secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(twice, format!("{signed} {signed}"));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::parse(SECRET).unwrap()), "Secret");
        let short = format!("whsec_{}", BASE64_STANDARD.encode([1; 23]));
        let long = format!("whsec_{}", BASE64_STANDARD.encode([1; 65]));
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!", &short, &long] {
            assert_eq!(Secret::parse(text).err(), Some(SecretError), "{text}");
        }
    }
}
