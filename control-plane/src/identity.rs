//! Who calls the control plane: users by tokens of the configured issuer ([`UserTokens`]), filters by credentials that the
//! control plane signed itself ([`FilterCredentials`]). Called by `http`'s extractors and, to mint, by the command line.
//! A token is believed in no part before its signature holds, and no error ever repeats any of it.

mod claims;
mod credential;
mod dev;
mod jwks;

pub use claims::{TokenError, UserClaims};
pub use credential::{FILTER_AUDIENCE, FILTER_ISSUER, FilterClaims, FilterCredentials};
pub use dev::{DEV_AUDIENCE, DEV_CLAIMS, DEV_ISSUER, mint_dev_token, mint_dev_token_with};
pub use jwks::{JwksError, JwksSource, KeySet, KeySource};

use grantmesh_shared::time::Timestamp;

/// Verifies access tokens of users.
#[derive(Debug)]
pub struct UserTokens {
    issuer: String,
    audience: String,
    keys: KeySource,
}

impl UserTokens {
    /// Tokens of `issuer` for `audience`, signed by one of `keys`.
    #[must_use]
    pub const fn new(issuer: String, audience: String, keys: KeySource) -> Self {
        Self { issuer, audience, keys }
    }

    /// The issuer whose users and groups are known here.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Checks a token.
    ///
    /// # Errors
    /// If it was not signed by the issuer, is not for us, is not of now, or lacks what it must say.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<UserClaims, TokenError> {
        let header = claims::header(token)?;
        let keys = self.keys.with(&header, now).await;
        let raw = claims::verified(token, &header, &keys)?;
        claims::user(raw, &self.issuer, &self.audience, now)
    }
}

#[cfg(test)]
mod tests;
