//! The functions and methods of conditions, and their literals that become constants: networks, times, zones, patterns.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};

use super::judging::Style;
use super::lower::{Lowered, Lowering, Result, pooled};
use super::{ConditionFault, scan, zones};
use crate::engine::condition::{Network, Op, Part, Type};
use crate::time::Timestamp;

/// The parts of a date, as CEL names them, in the order of [`Part::ALL`].
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

/// The milliseconds of a unit of CEL's durations; those below a millisecond count none.
const UNITS: [(&str, i128); 6] = [
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
];

fn literal(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// A duration as CEL writes it, in milliseconds: `1h30m`, `-1.5h`, `250ms`. Nothing finer than a millisecond.
fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if rest == "0" {
        return Some(0);
    }
    let mut nanos: i128 = 0;
    loop {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, behind) = rest.split_at_checked(digits)?;
        let (unit, size) = UNITS.into_iter().find(|(unit, _)| behind.starts_with(unit))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || number.ends_with('.') || fraction.contains('.') || number.len() > 18 {
            return None;
        }
        let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let part = digits.checked_mul(size)?;
        if part.checked_rem(scale)? != 0 {
            return None;
        }
        nanos = nanos.checked_add(part.checked_div(scale)?)?;
        rest = behind.get(unit.len()..)?;
        if rest.is_empty() {
            break;
        }
    }
    if nanos.checked_rem(1_000_000)? != 0 {
        return None;
    }
    let millis = i64::try_from(nanos.checked_div(1_000_000)?).ok().filter(|millis| *millis <= 315_576_000_000_000)?;
    Some(if negative { millis.checked_neg()? } else { millis })
}

/// A point in time, without anything finer than a millisecond.
fn timestamp(text: &str) -> Option<i64> {
    let at: Timestamp = text.parse().ok()?;
    let fraction = text.split_once('.').map(|(_, rest)| rest.trim_end_matches(|letter: char| !letter.is_ascii_digit()));
    let digits = fraction.map_or("", |rest| rest.split(['+', '-', 'Z', 'z']).next().unwrap_or_default());
    digits.bytes().skip(3).all(|digit| digit == b'0').then(|| at.millis())
}

impl<'s> Lowering<'s, '_> {
    /// A function, or a method of its target.
    pub(super) fn function(&mut self, expr: &'s IdedExpr, call: &'s CallExpr) -> Result<Lowered> {
        let written = scan::written(&call.func_name);
        let target = call.target.as_deref();
        match (target, written, call.args.as_slice()) {
            (None, "has", [arg]) => self.has(expr, arg),
            (None, "size", [arg]) | (Some(arg), "size", []) => {
                let arg = self.expr(arg)?;
                self.apply(expr, Op::Size, written, &[arg])
            }
            (None, "cidr", [_]) => {
                let help = "ask it for an address: `cidr(\"10.0.0.0/8\").containsIP(source.address)`";
                Err(self.fault(expr, "a network is not a value by itself").with_help(help))
            }
            (None, "ip", [arg]) => self.address(arg),
            (None, "duration", [arg]) => {
                let help = "write it like `duration(\"15m\")`, `\"1h30m\"` or `\"250ms\"`";
                let span = literal(arg).and_then(duration);
                let span = span.ok_or_else(|| self.not_fixed(arg, "duration", help))?;
                let at = pooled(&mut self.pool.ints, span);
                Ok(self.write(Op::Span, [at, 0, 0], Type::Span))
            }
            (None, "timestamp", [arg]) => {
                let help = "write it like `timestamp(\"2026-03-01T12:00:00Z\")`, to the millisecond";
                let time = literal(arg).and_then(timestamp);
                let time = time.ok_or_else(|| self.not_fixed(arg, "timestamp", help))?;
                let at = pooled(&mut self.pool.ints, time);
                Ok(self.write(Op::Time, [at, 0, 0], Type::Time))
            }
            (Some(text), "startsWith", [part]) => self.affix(expr, Op::StartsWith, written, text, part),
            (Some(text), "endsWith", [part]) => self.affix(expr, Op::EndsWith, written, text, part),
            (Some(text), "contains", [part]) => self.affix(expr, Op::Contains, written, text, part),
            (Some(text), "matches", [regex]) | (None, "matches", [text, regex]) => {
                self.pattern(expr, written, text, regex, Style::Regex)
            }
            (Some(text), "glob", [glob]) => self.pattern(expr, written, text, glob, Style::Glob),
            (Some(network), "containsIP", [address]) => self.within(network, address),
            (Some(list), "all", args) => self.each(expr, Op::All, list, args),
            (Some(list), "exists", args) => self.each(expr, Op::Exists, list, args),
            (Some(time), part, args) if PARTS.contains(&part) => self.calendar(expr, part, time, args),
            (_, known, _) if super::types::FUNCTIONS.contains(&known) => {
                let form = match known {
                    "has" => "has(principal.user)",
                    "size" => "size(principal.groups)",
                    "cidr" | "containsIP" => "cidr(\"10.0.0.0/8\").containsIP(source.address)",
                    "ip" => "ip(\"10.0.0.1\")",
                    "duration" => "duration(\"15m\")",
                    "timestamp" => "timestamp(\"2026-03-01T12:00:00Z\")",
                    "all" | "exists" => "principal.groups.exists(g, g == \"support\")",
                    "startsWith" | "endsWith" | "contains" => "request.path.startsWith(\"/v1/\")",
                    "matches" => "request.path.matches(\"^/v[0-9]+/\")",
                    "glob" => "request.host.glob(\"*.example.com\")",
                    _ => "request.time.getHours(\"Europe/Berlin\")",
                };
                Err(self.fault(expr, format!("`{known}` is not used like this")).with_help(format!("write `{form}`")))
            }
            _ => Err(self.unknown(expr, call)),
        }
    }

    /// A text that is no constant of the kind, or no fixed text at all.
    fn not_fixed(&self, arg: &IdedExpr, what: &str, help: &str) -> ConditionFault {
        let message = match literal(arg) {
            Some(text) => {
                format!("`{}` is not {} {what}", text.escape_debug(), if what == "address" { "an" } else { "a" })
            }
            None => format!("what `{what}` is made of must be fixed"),
        };
        self.fault(arg, message).with_help(help)
    }

    fn affix(
        &mut self,
        expr: &IdedExpr,
        op: Op,
        written: &str,
        text: &'s IdedExpr,
        part: &'s IdedExpr,
    ) -> Result<Lowered> {
        let (text, part) = (self.expr(text)?, self.expr(part)?);
        self.apply(expr, op, written, &[text, part])
    }

    fn address(&mut self, arg: &IdedExpr) -> Result<Lowered> {
        let help = "write it like `ip(\"10.0.0.1\")`";
        let address = literal(arg).and_then(|text| text.parse().ok());
        let address = address.ok_or_else(|| self.not_fixed(arg, "address", help))?;
        let at = pooled(&mut self.pool.addresses, address);
        Ok(self.write(Op::Address, [at, 0, 0], Type::Address))
    }

    fn within(&mut self, network: &'s IdedExpr, address: &'s IdedExpr) -> Result<Lowered> {
        let help = "write `cidr(\"10.0.0.0/8\").containsIP(source.address)`";
        let text = match &network.expr {
            Expr::Call(call) if call.func_name == "cidr" && call.target.is_none() => match call.args.as_slice() {
                [arg] => literal(arg),
                _ => None,
            },
            _ => None,
        };
        let text = text.ok_or_else(|| self.fault(network, "a network must be a fixed text").with_help(help))?;
        let network = text.parse::<Network>().map_err(|error| {
            let text = error.to_string();
            let (message, help) = text.split_once('\n').unwrap_or((&text, help));
            self.fault(network, message).with_help(help)
        })?;
        let given = if literal(address).is_some() { self.address(address)? } else { self.expr(address)? };
        if given.kind != Type::Address {
            let message = format!("{} is not an address", super::types::a(given.kind));
            return Err(self.fault(address, message).with_help(help));
        }
        let at = pooled(&mut self.pool.networks, network);
        Ok(self.write(Op::Within, [at, given.at, 0], Type::Bool))
    }

    fn pattern(
        &mut self,
        expr: &IdedExpr,
        written: &str,
        text: &'s IdedExpr,
        arg: &IdedExpr,
        style: Style,
    ) -> Result<Lowered> {
        let Some(source) = literal(arg) else {
            let help = "it is compiled when the policy is applied: write a text in quotes";
            return Err(self.fault(arg, format!("the pattern of `{written}` must be fixed")).with_help(help));
        };
        let automaton = self.patterns.table(style, source).map_err(|(message, help)| {
            let fault = self.fault(arg, message);
            match help {
                Some(help) => fault.with_help(help),
                None => fault,
            }
        })?;
        let text = self.expr(text)?;
        if text.kind != Type::Text {
            let kind = super::types::a(text.kind);
            return Err(self.fault(expr, format!("`{written}` does not take {kind}")));
        }
        let at = pooled(&mut self.pool.automata, automaton);
        Ok(self.write(Op::Matches, [at, text.at, 0], Type::Bool))
    }

    fn calendar(&mut self, expr: &IdedExpr, part: &str, time: &'s IdedExpr, args: &[IdedExpr]) -> Result<Lowered> {
        let zone = match args {
            [] => zones::zone("UTC"),
            [arg] => match literal(arg) {
                Some(name) => zones::zone(name),
                None => Err(("the time zone must be fixed".to_owned(), "write a text in quotes".to_owned())),
            },
            [..] => Err((format!("`{part}` takes one time zone"), "write `getHours(\"Europe/Berlin\")`".to_owned())),
        };
        let zone = zone.map_err(|(message, help)| self.fault(args.first().unwrap_or(expr), message).with_help(help))?;
        let time_at = self.expr(time)?;
        if time_at.kind != Type::Time {
            let kind = super::types::a(time_at.kind);
            let help = "parts of a date are those of a timestamp, like `request.time`";
            return Err(self.fault(time, format!("`{part}` does not take {kind}")).with_help(help));
        }
        let number = PARTS.iter().position(|known| *known == part).and_then(|at| u16::try_from(at).ok());
        let number = number.filter(|number| Part::of(*number).is_some()).unwrap_or_default();
        let at = pooled(&mut self.pool.zones, zone);
        Ok(self.write(Op::Calendar, [number, at, time_at.at], Type::Int))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_cel_to_the_millisecond() {
        for (text, millis) in [("15m", 900_000), ("1h30m", 5_400_000), ("-1.5h", -5_400_000), ("250ms", 250), ("0", 0)]
        {
            assert_eq!(duration(text), Some(millis), "{text}");
        }
        for text in [
            "",
            "15",
            "1d",
            "1us",
            "1.0001s",
            "h",
            "1..5h",
            "1h ",
            " 1h",
            "9999999999999999999h",
            "100000000h",
            "--1h",
            "+1h",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn timestamps_are_to_the_millisecond() {
        assert_eq!(timestamp("1970-01-01T00:00:01.5Z"), Some(1_500));
        assert_eq!(timestamp("1970-01-01T01:00:00.250000+01:00"), Some(250));
        assert_eq!(timestamp("1970-01-01T00:00:00.0001Z"), None);
    }
}
