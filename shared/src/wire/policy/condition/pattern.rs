//! Patterns of `matches` and `glob` to automata, at load and within bounds: no pattern is compiled where calls are decided.

use std::collections::BTreeMap;

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use crate::engine::condition::{ACCEPT, Automaton, MAX_TRANSITIONS, REJECT};

/// The most bytes of a pattern.
const MAX_PATTERN_BYTES: usize = 512;

/// Memory for building an automaton.
const MAX_BUILD_BYTES: usize = 1 << 19;

/// What is wrong with a pattern, and what to do.
pub(super) type Refused = (String, Option<String>);

/// The automaton of a regular expression that is found anywhere in a text, as RE2 does for CEL.
pub(super) fn regex(pattern: &str) -> Result<Automaton, Refused> {
    build(&ascii_classes(pattern)?)
}

/// The automaton of a glob for a whole text: `*` is any run without `/`, `**` any run, `?` one character but `/`.
pub(super) fn glob(pattern: &str) -> Result<Automaton, Refused> {
    let mut regex = String::from(r"\A(?:");
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '*' if letters.next_if_eq(&'*').is_some() => regex.push_str("(?s-u:.)*"),
            '*' => regex.push_str("(?-u:[^/])*"),
            '?' => regex.push_str("[^/]"),
            '[' | ']' | '{' | '}' | '\\' => {
                let help = "a glob has `*`, `**` and `?` only; use `matches` for more";
                return Err((format!("`{letter}` is not supported in a glob"), Some(help.to_owned())));
            }
            letter if letter.is_ascii_punctuation() => regex.extend(['\\', letter]),
            letter => regex.push(letter),
        }
    }
    regex.push_str(r")\z");
    build(&regex)
}

/// `\d`, `\w`, `\s` and `\b` mean ASCII in CEL; here they would mean all of Unicode.
fn ascii_classes(pattern: &str) -> Result<String, Refused> {
    let mut regex = String::with_capacity(pattern.len());
    let mut in_class = 0_usize;
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let Some(escaped) = (letter == '\\').then(|| letters.next()).flatten() else {
            match letter {
                '[' => in_class = in_class.saturating_add(1),
                ']' => in_class = in_class.saturating_sub(1),
                _ => {}
            }
            regex.push(letter);
            continue;
        };
        let set = match escaped {
            'd' | 'D' => "0-9",
            'w' | 'W' => "0-9A-Za-z_",
            's' | 'S' => r"\t\n\f\r ",
            'b' | 'B' if in_class == 0 => {
                regex.push_str(if escaped == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
                continue;
            }
            'p' | 'P' | 'C' | 'Q' | 'E' => {
                let help = "write the characters, like `[a-z0-9]`";
                return Err((format!("`\\{escaped}` is not supported in a pattern"), Some(help.to_owned())));
            }
            _ => {
                regex.extend(['\\', escaped]);
                continue;
            }
        };
        let (open, negated) = (in_class > 0, escaped.is_ascii_uppercase());
        regex.push_str(&match (open, negated) {
            (true, false) => set.to_owned(),
            (_, true) => format!("[^{set}]"),
            (false, false) => format!("[{set}]"),
        });
    }
    Ok(regex)
}

fn build(regex: &str) -> Result<Automaton, Refused> {
    let too_large = || {
        let message = "the pattern needs too large a table".to_owned();
        (message, Some("repeat less, or use `startsWith`, `endsWith` and `in`".to_owned()))
    };
    if regex.len() > MAX_PATTERN_BYTES {
        let message = format!("the pattern has more than {MAX_PATTERN_BYTES} bytes");
        return Err((message, Some("use `startsWith`, `endsWith`, `contains` and `in`".to_owned())));
    }
    let config = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        .minimize(false)
        .determinize_size_limit(Some(MAX_BUILD_BYTES))
        .dfa_size_limit(Some(MAX_BUILD_BYTES));
    let dfa = dense::Builder::new()
        .configure(config)
        .syntax(syntax::Config::new().utf8(false).nest_limit(32))
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_BUILD_BYTES)))
        .build(regex)
        .map_err(|error| if error.is_size_limit_exceeded() { too_large() } else { faulty(&error) })?;
    table(&dfa).ok_or_else(too_large)
}

/// The reader's reason, which is the last line of its report.
fn faulty(error: &dyn std::error::Error) -> Refused {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let source = deepest.to_string();
    let line = source.lines().next_back().unwrap_or_default();
    if line.contains("size limit") || line.contains("exceed") {
        return ("the pattern needs too large a table".to_owned(), Some("repeat less".to_owned()));
    }
    let reason = line.strip_prefix("error: ").unwrap_or("it is not a regular expression");
    (format!("the pattern cannot be read: {reason}"), None)
}

/// The states that can be reached, numbered anew; whatever is matched for good or for bad becomes one state.
fn table(dfa: &dense::DFA<Vec<u32>>) -> Option<Automaton> {
    let classes: Vec<u8> = (0..=u8::MAX).map(|byte| dfa.byte_classes().get(byte)).collect();
    let width = usize::from(*classes.iter().max()?).checked_add(1)?;
    let samples: Vec<u8> = (0..width)
        .filter_map(|class| classes.iter().position(|own| usize::from(*own) == class))
        .filter_map(|byte| u8::try_from(byte).ok())
        .collect();
    let mut numbers: BTreeMap<StateID, u16> = BTreeMap::new();
    let mut order: Vec<StateID> = Vec::new();
    let mut number = |state: StateID, order: &mut Vec<StateID>| -> Option<u16> {
        if dfa.is_match_state(state) {
            return Some(ACCEPT);
        }
        if dfa.is_dead_state(state) || dfa.is_quit_state(state) {
            return Some(REJECT);
        }
        if let Some(known) = numbers.get(&state) {
            return Some(*known);
        }
        let new = u16::try_from(order.len().checked_add(2)?).ok()?;
        numbers.insert(state, new);
        order.push(state);
        Some(new)
    };
    let start = dfa.start_state_forward(&Input::new("").anchored(Anchored::No)).ok()?;
    let start = number(start, &mut order)?;
    let (mut next, mut at_end) = (Vec::new(), Vec::new());
    let mut row = 0;
    while let Some(state) = order.get(row).copied() {
        for sample in &samples {
            next.push(number(dfa.next_state(state, *sample), &mut order)?);
        }
        if next.len() > MAX_TRANSITIONS {
            return None;
        }
        at_end.push(dfa.is_match_state(dfa.next_eoi_state(state)));
        row = row.checked_add(1)?;
    }
    Automaton::new(classes, next, at_end, start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_anywhere_unless_it_says_where() {
        let found = |pattern: &str, text: &str| regex(pattern).unwrap().accepts(text);
        assert!(found("b+", "abbc") && !found("^b+", "abbc") && found("c$", "abbc") && !found("^$", "a"));
        assert!(found("^INC-[0-9]{4,8}$", "INC-1234") && !found("^INC-[0-9]{4,8}$", "INC-123"));
        assert!(found("", "") && found("(?i)straße", "STRASSE oder STRAßE"));
        assert!(found("^.$", "é") && !found(r"^\d$", "٣") && found(r"^\w+$", "a_1") && !found(r"^\w$", "é"));
        assert!(found(r"^[\d-]+$", "1-2") && found(r"\bb\b", "a b c") && !found(r"\bb\b", "abc"));
        assert!(found(r"^[^\D]$", "7") && found("a|^b$", "b") && found(r"^\S+$", "ab") && !found(r"^\S+$", "a b"));
    }

    #[test]
    fn a_glob_is_for_the_whole_text() {
        let is = |pattern: &str, text: &str| glob(pattern).unwrap().accepts(text);
        assert!(is("*.example.com", "a.example.com") && !is("*.example.com", "a.example.com.evil"));
        assert!(!is("*.example.com", "a/b.example.com") && is("**.example.com", "a/b.example.com"));
        assert!(is("/v1/*/refunds", "/v1/a/refunds") && !is("/v1/*/refunds", "/v1/a/b/refunds"));
        assert!(
            is("a?c", "aéc")
                && !is("a?c", "a/c")
                && is("", "")
                && !is("", "a")
                && is("a.c", "a.c")
                && !is("a.c", "abc")
        );
        assert!(is("*a*a*a*a*a*a*a*", &"a".repeat(64)) && !is("*a*b", &"a".repeat(4_096)));
        assert!(glob("[a-z]").is_err() && glob("{a,b}").is_err());
    }

    #[test]
    fn what_is_slow_for_others_is_a_small_table_here() {
        let automaton = regex(&"(x+x+)+y".repeat(40)).unwrap();
        assert!(!automaton.accepts(&"x".repeat(100_000)));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the bound on time is what is tested")]
    fn large_or_faulty_patterns_are_refused_soon() {
        let begin = std::time::Instant::now();
        let hostile = [
            "(a|b)*a(a|b){12}".to_owned(),
            "((a{100}){100}){100}".to_owned(),
            "(".repeat(200),
            ".{1000}".to_owned(),
            r"\p{Greek}".to_owned(),
            "(a*)*".repeat(60) + &"[a-z]{30}".repeat(20),
        ];
        for pattern in hostile {
            assert!(regex(&pattern).is_err(), "{pattern}");
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(5), "{:?}", begin.elapsed());
    }
}
