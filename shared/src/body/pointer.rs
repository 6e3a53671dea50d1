//! A JSON pointer (RFC 6901), cut into its tokens.

use std::borrow::Cow;

/// A pointer's tokens, unescaped.
#[derive(Debug)]
pub(super) struct Pointer<'p>(Vec<Cow<'p, str>>);

impl<'p> Pointer<'p> {
    /// Policies hold only pointers; of anything else this is the pointer that its pieces are.
    pub(super) fn new(text: &'p str) -> Self {
        let unescaped = |token: &'p str| {
            if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
        };
        Self(text.split('/').skip(1).map(unescaped).collect())
    }

    /// The token that leads on from so many levels down.
    pub(super) fn token(&self, level: usize) -> Option<&str> {
        self.0.get(level).map(|token| &**token)
    }
}

/// A token as the place in an array that it is.
pub(super) fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with('0');
    let digits = (1..=9).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_digit());
    if plain && digits { token.parse().ok() } else { None }
}
