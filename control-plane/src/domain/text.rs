//! Text that people write for other people: justifications, reasons, messages. Checked once, then trusted.

use std::fmt;

use grantmesh_shared::text::misleads;
pub use grantmesh_shared::text::shortened;

use crate::redact::has_secret;

/// The most characters.
pub const MAX_TEXT_CHARS: usize = 2_000;

/// A text of 1 to [`MAX_TEXT_CHARS`] characters that shows on a screen as what it is: no control characters, nothing that
/// turns or hides what stands around it or is shown as nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Text(Box<str>);

/// Why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space.
    #[error("the {what} is empty\nsay in a sentence why")]
    Empty {
        /// Which text.
        what: &'static str,
    },
    /// Too many characters.
    #[error("the {what} has {chars} characters, more than {MAX_TEXT_CHARS}\nshorten it, or link to the long form")]
    Long {
        /// Which text.
        what: &'static str,
        /// How many.
        chars: usize,
    },
    /// Something that only a secret looks like.
    #[error("the {what} has what looks like a token or key in it\ntake it out, and change it: others may have seen it")]
    Secret {
        /// Which text.
        what: &'static str,
    },
    /// A character that does not show as what it is.
    #[error(
        "the {what} has the character `U+{code:04X}`, which a reader would not see as it is\nwrite it as plain text in one line"
    )]
    Character {
        /// Which text.
        what: &'static str,
        /// The character.
        code: u32,
    },
}

impl Text {
    /// Checks a text that somebody wrote; `what` names it in the error. White space around it is dropped.
    ///
    /// # Errors
    /// If it is empty, too long, has characters that mislead or what looks like a secret.
    pub fn new(text: &str, what: &'static str) -> Result<Self, TextError> {
        if has_secret(text) {
            return Err(TextError::Secret { what });
        }
        Self::checked(text, what, misleads)
    }

    /// Checks a text that was taken before, perhaps with what is taken no more: that is still there.
    ///
    /// # Errors
    /// If it is empty, too long or has characters that no text was ever taken with.
    pub fn kept(text: &str, what: &'static str) -> Result<Self, TextError> {
        Self::checked(text, what, turns)
    }

    fn checked(text: &str, what: &'static str, is_bad: impl Fn(char) -> bool) -> Result<Self, TextError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TextError::Empty { what });
        }
        let chars = text.chars().count();
        if chars > MAX_TEXT_CHARS {
            return Err(TextError::Long { what, chars });
        }
        if let Some(bad) = text.chars().find(|letter| is_bad(*letter)) {
            return Err(TextError::Character { what, code: u32::from(bad) });
        }
        Ok(Self(text.into()))
    }

    /// Checks a text that may be left out: blank is none.
    ///
    /// # Errors
    /// If it is too long, has characters that mislead or what looks like a secret.
    pub fn optional(text: Option<&str>, what: &'static str) -> Result<Option<Self>, TextError> {
        text.filter(|text| !text.trim().is_empty()).map(|text| Self::new(text, what)).transpose()
    }

    /// A text of ours, which nobody else can have written.
    pub(super) fn of_ours(text: &'static str) -> Self {
        Self(text.into())
    }

    /// Checks a text that was taken before, and may have been left out.
    ///
    /// # Errors
    /// If it is too long or has characters that no text was ever taken with.
    pub fn optional_kept(text: Option<&str>, what: &'static str) -> Result<Option<Self>, TextError> {
        text.filter(|text| !text.trim().is_empty()).map(|text| Self::kept(text, what)).transpose()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What no text was ever taken with: control characters, line and paragraph separators, and most that sets the direction of
/// writing.
fn turns(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_sentences_pass_and_others_are_refused() {
        for fine in ["ticket PAY-7: refund for acc-42", "Rückerstattung — 返金", "👩🔧 fixes it"] {
            assert_eq!(Text::new(&format!(" {fine} "), "reason").unwrap().as_str(), fine);
        }
        assert!(matches!(Text::new(" \n ", "reason"), Err(TextError::Empty { .. })));
        assert!(matches!(Text::new(&"x".repeat(2_001), "reason"), Err(TextError::Long { chars: 2_001, .. })));
        assert!(Text::new(&"é".repeat(2_000), "reason").is_ok());
        for bad in ["a\u{7}b", "a\nb", "a\u{202e}b", "a\u{2067}b", "a\u{85}b"] {
            assert!(matches!(Text::new(bad, "reason"), Err(TextError::Character { .. })), "{bad:?}");
            assert!(matches!(Text::kept(bad, "reason"), Err(TextError::Character { .. })), "{bad:?}");
        }
        for unseen in ["👩\u{200d}🔧", "a\u{2060}b", "a\u{ad}b", "a\u{e0041}b", "a\u{3164}b", "⚠\u{fe0f}"] {
            assert!(matches!(Text::new(unseen, "reason"), Err(TextError::Character { .. })), "{unseen:?}");
            assert!(Text::kept(unseen, "reason").is_ok(), "{unseen:?}: what was taken before is still there");
        }
        assert_eq!(Text::optional(Some("  "), "reason"), Ok(None));
        let token = "see eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
        assert_eq!(Text::new(token, "reason"), Err(TextError::Secret { what: "reason" }));
        assert!(Text::kept(token, "reason").is_ok(), "what was taken before is still there");
    }
}
