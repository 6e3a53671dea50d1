//! Characters that do not show as what they are, and texts without them.

/// Whether a reader does not see a character as what it is: control characters, line and paragraph separators, what sets the
/// direction of writing, and whatever Unicode lets be shown as nothing at all (`Default_Ignorable_Code_Point` and the marks of
/// annotations), for in it two texts differ that look alike, and one can stand within another unseen.
#[must_use]
pub fn misleads(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// So many letters of what somebody sent, to be repeated to them, without those that mislead.
#[must_use]
pub fn shortened(text: &str, most: usize) -> String {
    text.chars().filter(|letter| !misleads(*letter)).take(most).collect()
}

/// A text with every letter that misleads written as its code, for those who read it.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for letter in text.chars() {
        if misleads(letter) { seen.extend(letter.escape_unicode()) } else { seen.push(letter) }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_misleads() {
        for seen in "az09 .-_/:@+éÄß漢仮한हि\u{301}👩🔧\u{3000}\u{a0}".chars() {
            assert!(!misleads(seen), "{:?}", seen.escape_unicode());
        }
        let unseen = "\u{0}\n\u{7f}\u{85}\u{ad}\u{34f}\u{61c}\u{115f}\u{17b4}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{2028}\u{202e}\u{2060}\u{2063}\u{2067}\u{206a}\u{3164}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{1bca0}\u{1d173}\u{e0001}\u{e0041}\u{e01ef}";
        for unseen in unseen.chars() {
            assert!(misleads(unseen), "{:?}", unseen.escape_unicode());
        }
    }

    #[test]
    fn texts_are_repeated_without_it_or_with_its_code() {
        assert_eq!(shortened("a\u{202e}b\u{e0041}c\nd", 3), "abc");
        assert_eq!(visible("a\u{202e}b\u{200d}é"), "a\\u{202e}b\\u{200d}é");
    }
}
