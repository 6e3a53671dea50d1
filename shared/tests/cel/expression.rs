//! Random conditions: well typed, over every kind of fact, operator and function that conditions and CEL have in common.

use crate::dice::Dice;

/// How deep expressions are at most; ours may be 48 deep.
const DEPTH: usize = 5;

pub(crate) const TEXTS: [&str; 7] = ["", "a", "b", "ab", "GET", "ann", "héé"];
const PATTERNS: [&str; 5] = ["^a", "b$", "^(GET|POST)$", "a.*b", "é+"];
const SPANS: [&str; 7] = ["0s", "1s", "90m", "1h30m", "-1.5h", "250ms", "87600h"];
/// In UTC: see the differences that are meant.
pub(crate) const TIMES: [&str; 6] = [
    "1970-01-01T00:00:00Z",
    "2026-03-01T12:00:00Z",
    "2026-03-29T00:59:59.999Z",
    "2026-03-29T01:00:00Z",
    "2028-02-29T23:30:00Z",
    "2025-12-31T23:59:59.5Z",
];
const ZONES: [&str; 6] = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "+01:00", "-05:30"];
const PARTS: [&str; 10] = [
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "getDayOfWeek",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfYear",
];
const COMPARE: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

/// Facts that are texts; the members of maps may be missing.
pub(crate) const TEXT_FACTS: [&str; 8] = [
    "request.method",
    "request.host",
    "request.headers.ticket",
    "request.query.dry",
    "request.body.note",
    "principal.user",
    "principal.claims.team",
    "source.country",
];
pub(crate) const NUMBER_FACTS: [&str; 2] = ["principal.claims.level", "request.body.amount"];
pub(crate) const BOOL_FACTS: [&str; 3] = ["principal.claims.contractor", "request.body.urgent", "signals.incident"];
pub(crate) const LIST_FACTS: [&str; 2] = ["principal.groups", "principal.claims.teams"];

/// A text literal.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

pub(crate) struct Writer<'d> {
    pub(crate) dice: &'d mut Dice,
    /// Elements that are gone through, with whether they are texts.
    elements: Vec<(String, bool)>,
}

impl Writer<'_> {
    /// A whole condition.
    pub(crate) fn condition(dice: &mut Dice) -> String {
        Writer { dice, elements: Vec::new() }.boolean(DEPTH)
    }

    fn both(&mut self, operator: &str, write: fn(&mut Self, usize) -> String, deep: usize) -> String {
        format!("({} {operator} {})", write(self, deep), write(self, deep))
    }

    fn boolean(&mut self, deep: usize) -> String {
        let Some(less) = deep.checked_sub(1) else {
            return match self.dice.below(3) {
                0 => self.dice.pick(&["true", "false"]).to_owned(),
                1 => self.has(),
                _ => self.dice.pick(&BOOL_FACTS).to_owned(),
            };
        };
        let compare = self.dice.pick(&COMPARE);
        match self.dice.below(17) {
            0 | 1 => self.both("&&", Self::boolean, less),
            2 | 3 => self.both("||", Self::boolean, less),
            4 => format!("!{}", self.boolean(less)),
            5 => format!("({} ? {} : {})", self.boolean(less), self.boolean(less), self.boolean(less)),
            6 => self.both(compare, Self::text, less.min(1)),
            7 => self.both(compare, Self::whole, less),
            8 => self.both(compare, Self::number, less.min(1)),
            9 => self.both(compare, Self::time, less),
            10 => self.both(compare, Self::span, less),
            11 => self.has(),
            12 => {
                let method = self.dice.pick(&["startsWith", "endsWith", "contains"]);
                format!("{}.{method}({})", self.text(1), self.text(1))
            }
            13 => format!("{}.matches({})", self.text(1), quoted(self.dice.pick(&PATTERNS))),
            14 => self.member(less),
            15 if self.elements.len() < 2 => self.each(less),
            _ => self.boolean(0),
        }
    }

    fn has(&mut self) -> String {
        let members = [&TEXT_FACTS[1..], &NUMBER_FACTS, &BOOL_FACTS[..2], &LIST_FACTS[1..]].concat();
        let fact = self.dice.pick(&members);
        let (map, name) = fact.rsplit_once('.').unwrap();
        if matches!(map, "request.headers" | "request.query" | "principal.claims" | "request.body")
            && self.dice.chance(40)
        {
            return format!("({} in {map})", quoted(name));
        }
        format!("has({fact})")
    }

    fn member(&mut self, deep: usize) -> String {
        match self.dice.below(3) {
            0 => {
                let numbers = self.dice.many(1, 4, |dice| dice.below(5).to_string());
                format!("({} in [{}])", self.whole(deep), numbers.join(", "))
            }
            1 => format!("({} in {})", self.text(1), self.dice.pick(&LIST_FACTS)),
            _ => format!("({} in {})", self.text(1), self.texts()),
        }
    }

    fn texts(&mut self) -> String {
        let mut texts = self.dice.some(&TEXTS[..4]);
        texts.push(self.dice.pick(&TEXTS));
        format!("[{}]", texts.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
    }

    fn each(&mut self, deep: usize) -> String {
        let (list, is_text) = match self.dice.below(4) {
            0 => (format!("[{}]", self.dice.many(1, 4, |dice| dice.below(5).to_string()).join(", ")), false),
            1 => (self.texts(), true),
            _ => (self.dice.pick(&LIST_FACTS).to_owned(), true),
        };
        let name = format!("e{}", self.elements.len());
        self.elements.push((name.clone(), is_text));
        let method = self.dice.pick(&["all", "exists"]);
        let body = self.boolean(deep);
        self.elements.pop();
        format!("{list}.{method}({name}, {body})")
    }

    fn element(&mut self, text: bool) -> Option<String> {
        let fitting: Vec<String> =
            self.elements.iter().filter(|(_, is_text)| *is_text == text).map(|(name, _)| name.clone()).collect();
        (!fitting.is_empty() && self.dice.chance(50)).then(|| fitting[self.dice.below(fitting.len())].clone())
    }

    fn text(&mut self, deep: usize) -> String {
        if let Some(element) = self.element(true) {
            return element;
        }
        match self.dice.below(if deep > 0 { 7 } else { 5 }) {
            0 | 1 => quoted(self.dice.pick(&TEXTS)),
            2..=4 => self.dice.pick(&TEXT_FACTS).to_owned(),
            5 => format!("{}[{}]", self.dice.pick(&LIST_FACTS), self.dice.below(3)),
            _ => format!("({} ? {} : {})", self.boolean(0), self.text(0), self.text(0)),
        }
    }

    fn whole(&mut self, deep: usize) -> String {
        if let Some(element) = self.element(false) {
            return element;
        }
        let Some(less) = deep.checked_sub(1) else {
            return self.dice.pick(&["0", "1", "2", "3", "-1", "7", "9223372036854775807"]).to_owned();
        };
        match self.dice.below(9) {
            0..=3 => {
                let operator = self.dice.pick(&["+", "-", "*", "/", "%"]);
                self.both(operator, Self::whole, less)
            }
            4 => format!("-({})", self.whole(less)),
            5 => format!("size({})", self.text(0)),
            6 => format!("{}.size()", self.dice.pick(&LIST_FACTS)),
            7 => {
                let zone = self.dice.pick(&ZONES);
                let zone = if self.dice.chance(30) { String::new() } else { quoted(zone) };
                format!("{}.{}({zone})", self.time(1), self.dice.pick(&PARTS))
            }
            _ => self.whole(0),
        }
    }

    fn number(&mut self, deep: usize) -> String {
        match self.dice.below(if deep > 0 { 5 } else { 4 }) {
            0 => self.dice.pick(&["0.0", "1.5", "2.0", "-0.5", "100.25", "1e3"]).to_owned(),
            4 => format!("({} ? {} : {})", self.boolean(0), self.number(0), self.number(0)),
            _ => self.dice.pick(&NUMBER_FACTS).to_owned(),
        }
    }

    fn time(&mut self, deep: usize) -> String {
        let Some(less) = deep.checked_sub(1) else {
            return match self.dice.below(3) {
                0 => "request.time".to_owned(),
                1 => "principal.auth_time".to_owned(),
                _ => format!("timestamp({})", quoted(self.dice.pick(&TIMES))),
            };
        };
        match self.dice.below(5) {
            0 => format!("({} + {})", self.time(less), self.span(less)),
            1 => format!("({} - {})", self.time(less), self.span(less)),
            2 => format!("({} + {})", self.span(less), self.time(less)),
            _ => self.time(0),
        }
    }

    fn span(&mut self, deep: usize) -> String {
        let Some(less) = deep.checked_sub(1) else {
            return format!("duration({})", quoted(self.dice.pick(&SPANS)));
        };
        match self.dice.below(5) {
            0 => format!("({} + {})", self.span(less), self.span(less)),
            1 => format!("({} - {})", self.span(less), self.span(less)),
            2 => format!("({} - {})", self.time(less), self.time(less)),
            _ => self.span(0),
        }
    }
}
