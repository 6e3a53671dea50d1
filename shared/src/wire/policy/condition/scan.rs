//! What is checked before the parser sees a condition: its length, and how deep it could possibly nest, so that no text
//! can make the parser recurse far. Also puts the macros out of the parser's way, which would expand them.

use super::ConditionFault;

/// The most bytes of a condition.
pub const MAX_SOURCE_BYTES: usize = 4_096;

/// The deepest that the parser is let go. An estimate from above; the tree itself is held to less.
const MAX_ESTIMATED_DEPTH: usize = 96;

/// Macros of CEL. The parser would expand the lower-case ones; written like this it leaves them as calls.
const MACROS: [(&str, &str); 7] = [
    ("has", "Has"),
    ("all", "All"),
    ("exists", "Exists"),
    ("exists_one", "Exists_one"),
    ("existsOne", "ExistsOne"),
    ("map", "Map"),
    ("filter", "Filter"),
];

/// The name that was written for a call that the parser gave.
pub(super) fn written(call: &str) -> &str {
    MACROS.iter().find(|(_, kept)| *kept == call).map_or(call, |(written, _)| written)
}

/// How deep one pair of brackets is already.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// Operators that may hang below each other.
    chain: usize,
    /// `?` that nest to the right.
    choices: usize,
}

struct Scanner<'s> {
    source: &'s str,
    at: usize,
    levels: Vec<Level>,
    /// Levels that were left, summed up: what all open levels hold.
    depth: usize,
    /// Whether what stands before can be called, indexed or subtracted from.
    value: bool,
    parsed: String,
}

/// Checks a text and gives what the parser is to read: of the same length, so that places stay what they are.
pub(super) fn scan(source: &str) -> Result<String, ConditionFault> {
    if source.len() > MAX_SOURCE_BYTES {
        let message = format!("the condition has {} bytes, over {MAX_SOURCE_BYTES}", source.len());
        return Err(ConditionFault::new(0, 0, message).with_help("split it into several bindings or rules"));
    }
    if source.trim().is_empty() {
        return Err(ConditionFault::new(0, 0, "the condition is empty").with_help("leave it out if there is none"));
    }
    let levels = vec![Level::default()];
    let mut scanner = Scanner { source, at: 0, levels, depth: 0, value: false, parsed: String::new() };
    while let Some(letter) = scanner.rest().chars().next() {
        scanner.step(letter)?;
    }
    Ok(scanner.parsed)
}

impl<'s> Scanner<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// Takes so many bytes as they are.
    fn take(&mut self, bytes: usize) -> &'s str {
        let taken = self.rest().get(..bytes).unwrap_or_default();
        self.parsed.push_str(taken);
        self.at = self.at.saturating_add(taken.len());
        taken
    }

    fn step(&mut self, letter: char) -> Result<(), ConditionFault> {
        let rest = self.rest();
        match letter {
            ' ' | '\t' | '\r' | '\n' | '\u{b}' | '\u{c}' => drop(self.take(1)),
            '"' | '\'' => self.text(0, letter),
            '/' if rest.starts_with("//") => drop(self.take(rest.find('\n').unwrap_or(rest.len()))),
            '(' | '[' | '{' => {
                self.deeper(usize::from(self.value))?;
                self.levels.push(Level::default());
                self.deeper(1)?;
                self.value = false;
                self.take(1);
            }
            ')' | ']' | '}' => {
                self.close();
                self.take(1);
            }
            ',' => {
                self.reset(true);
                self.take(1);
            }
            '&' | '|' | '?' | ':' => self.logic(rest)?,
            letter if letter.is_ascii_alphanumeric() || letter == '_' => self.word(rest)?,
            '`' => {
                let help = "write the name in brackets and quotes, like `request.headers[\"x-ticket\"]`";
                return Err(ConditionFault::new(self.at, 1, "names in backquotes are not supported").with_help(help));
            }
            letter if !letter.is_ascii() || letter.is_ascii_control() => {
                let message = format!("`{}` may stand only in a text or a comment", letter.escape_debug());
                return Err(ConditionFault::new(self.at, letter.len_utf8(), message));
            }
            _ => {
                self.deeper(1)?;
                self.value = false;
                let two = ["==", "!=", "<=", ">="].into_iter().any(|operator| rest.starts_with(operator));
                self.take(if two { 2 } else { 1 });
            }
        }
        Ok(())
    }

    /// Something that may put what comes next below what was before.
    fn deeper(&mut self, by: usize) -> Result<(), ConditionFault> {
        if let Some(level) = self.levels.last_mut() {
            level.chain = level.chain.saturating_add(by);
        }
        self.depth = self.depth.saturating_add(by);
        if self.depth > MAX_ESTIMATED_DEPTH {
            let help = "put parts of it in several bindings or rules, or write fewer operators in a row";
            return Err(ConditionFault::new(self.at, 1, "the condition is nested too deeply").with_help(help));
        }
        Ok(())
    }

    /// A new operand of the level: nothing hangs below what was before.
    fn reset(&mut self, choices: bool) {
        if let Some(level) = self.levels.last_mut() {
            self.depth = self.depth.saturating_sub(level.chain);
            level.chain = 0;
            if choices {
                self.depth = self.depth.saturating_sub(level.choices);
                level.choices = 0;
            }
        }
        self.value = false;
    }

    fn close(&mut self) {
        self.reset(true);
        if self.levels.len() > 1 {
            self.levels.pop();
        }
        self.value = true;
    }

    fn logic(&mut self, rest: &str) -> Result<(), ConditionFault> {
        self.reset(false);
        if rest.starts_with('?') {
            if let Some(level) = self.levels.last_mut() {
                level.choices = level.choices.saturating_add(1);
            }
            self.depth = self.depth.saturating_add(1);
            self.deeper(0)?;
        }
        let two = rest.starts_with("&&") || rest.starts_with("||");
        self.take(if two { 2 } else { 1 });
        Ok(())
    }

    /// A name, a number, or the prefix of a text.
    fn word(&mut self, rest: &str) -> Result<(), ConditionFault> {
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let word = rest.get(..length).unwrap_or_default();
        let behind = rest.get(length..).unwrap_or_default();
        let prefix = ["r", "b", "rb", "br"].into_iter().any(|prefix| word.eq_ignore_ascii_case(prefix));
        if let (true, Some(quote)) = (prefix, behind.chars().next().filter(|letter| matches!(letter, '"' | '\''))) {
            self.text(length, quote);
            return Ok(());
        }
        let operator = word == "in";
        self.deeper(usize::from(operator))?;
        self.value = !operator;
        let called = behind.trim_start().starts_with('(');
        match MACROS.into_iter().find(|(written, kept)| called && (*written == word || *kept == word)) {
            Some((written, kept)) if word == kept => {
                let help = format!("did you mean `{written}`?");
                Err(ConditionFault::new(self.at, length, format!("`{word}` is not a function here")).with_help(help))
            }
            Some((_, kept)) => {
                self.parsed.push_str(kept);
                self.at = self.at.saturating_add(length);
                Ok(())
            }
            None => {
                self.take(length);
                Ok(())
            }
        }
    }

    /// A text with `prefix` bytes before its quote; one without an end goes to the end, and the parser says so.
    fn text(&mut self, prefix: usize, quote: char) {
        let raw = self.rest().get(..prefix).unwrap_or_default().contains(['r', 'R']);
        self.take(prefix);
        let rest = self.rest();
        let single = String::from(quote);
        let triple = single.repeat(3);
        let end = if rest.starts_with(&triple) { triple } else { single };
        let mut length = end.len();
        let mut escaped = false;
        while let Some(letter) = rest.get(length..).and_then(|rest| rest.chars().next()) {
            let ends = !escaped && rest.get(length..).is_some_and(|rest| rest.starts_with(&end));
            length = length.saturating_add(if ends { end.len() } else { letter.len_utf8() });
            if ends {
                break;
            }
            escaped = !raw && letter == '\\' && !escaped;
        }
        self.take(length);
        self.value = true;
    }
}
