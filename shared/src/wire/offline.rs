//! Offline break-glass: a token signed beforehand, which a filter honours only while it does not hear from the control
//! plane. Only the form is here; the control plane signs, the filter verifies and decides.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::{Deserialize, Serialize};

use super::signature::Signature;
use super::table::UserItem;
use crate::id::GrantId;
use crate::time::Timestamp;

/// The header that carries a token. A filter takes it from every call that goes on.
pub const OFFLINE_HEADER: &str = "x-grantmesh-break-glass";

/// The longest token, in characters.
pub const MAX_TOKEN: usize = 8 * 1024;

/// What is signed begins with this, so that no answer passes for a token and no token for an answer.
const CONTEXT: &[u8] = b"grantmesh offline break-glass v1\0";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfflineToken {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// The grant that it is as good as. There is none by that id until the control plane hears of its use.
    pub grant: GrantId,
    /// Whose it is.
    pub user: UserItem,
    /// The service.
    pub service: String,
    /// The break-glass right by which it was given.
    pub right: String,
    /// The actions that it is for, on whatever resource.
    pub actions: Vec<String>,
    /// First moment at which it allows.
    pub starts_at: Timestamp,
    /// First moment at which it no longer allows.
    pub expires_at: Timestamp,
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no token of `grantmesh offline-token issue`")]
pub struct NoToken;

impl OfflineToken {
    /// The JSON that is signed and carried.
    ///
    /// # Errors
    /// Never in practice: every token has a JSON form.
    pub fn payload(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The bytes to sign for a payload.
    #[must_use]
    pub fn signed_bytes(payload: &[u8]) -> Vec<u8> {
        [CONTEXT, payload].concat()
    }

    /// The text of a token: payload and signature.
    #[must_use]
    pub fn text(payload: &[u8], signature: &Signature) -> String {
        format!("{}.{signature}", Base64UrlUnpadded::encode_string(payload))
    }

    /// Takes a text apart: the payload, of which nothing is to be believed before its signature is verified, and that.
    ///
    /// # Errors
    /// If the text has another form.
    pub fn parts(text: &[u8]) -> Result<(Vec<u8>, Signature), NoToken> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= MAX_TOKEN).ok_or(NoToken)?;
        let (payload, signature) = text.split_once('.').ok_or(NoToken)?;
        let signature = Signature::parse(signature.as_bytes()).ok_or(NoToken)?;
        Ok((Base64UrlUnpadded::decode_vec(payload).map_err(|_| NoToken)?, signature))
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// If it is not understood in every part.
    pub fn read(payload: &[u8]) -> Result<Self, NoToken> {
        let token: Self = super::read::from_bytes(payload).map_err(|_| NoToken)?;
        (token.v == super::PROTOCOL_VERSION).then_some(token).ok_or(NoToken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::signature::KeyId;
    use super::*;

    #[test]
    fn a_token_reads_back_and_nothing_else_does() {
        let token = OfflineToken {
            v: super::super::PROTOCOL_VERSION,
            grant: "grant_00000000000000000000000001".parse().unwrap(),
            user: UserItem { issuer: "https://id.example".to_owned(), subject: "ann".to_owned() },
            service: "payments".to_owned(),
            right: "on-call".to_owned(),
            actions: vec!["refund.create".to_owned()],
            starts_at: Timestamp::from_millis(1),
            expires_at: Timestamp::from_millis(2),
        };
        let payload = token.payload().unwrap();
        let signature = Signature { key: KeyId::of(&[7; 32]), bytes: [1; 64] };
        let text = OfflineToken::text(&payload, &signature);
        assert_eq!(OfflineToken::parts(text.as_bytes()), Ok((payload.clone(), signature)));
        assert_eq!(OfflineToken::read(&payload), Ok(token.clone()));
        let newer = OfflineToken { v: 200, ..token }.payload().unwrap();
        assert_eq!(OfflineToken::read(&newer), Err(NoToken));
        let more = String::from_utf8(payload).unwrap().replacen('{', "{\"uses\":1,", 1);
        assert_eq!(OfflineToken::read(more.as_bytes()), Err(NoToken), "what it says more might limit it");
        let long = format!("{}.{signature}", "A".repeat(MAX_TOKEN));
        let (padded, bare) = (text.replacen('.', "=.", 1), text.replacen('.', "", 1));
        for text in ["", ".", "AA.BB", &long, &padded, &bare] {
            assert_eq!(OfflineToken::parts(text.as_bytes()), Err(NoToken), "{text:.40}");
        }
        assert_eq!(OfflineToken::parts(b"\xff.\xff"), Err(NoToken));
    }
}
