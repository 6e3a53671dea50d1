//! The smallest parts of a file of cases: words of a line, callers, times, expectations.

use super::{Caller, CallingUser, Expected, Word};
use crate::time::Timestamp;
use crate::wire::policy::parse::meant;

/// A fault without its place: what is wrong, and what to do.
pub(super) type Wrong = (String, Option<String>);

pub(super) fn wrong(message: impl Into<String>, help: impl Into<String>) -> Wrong {
    (message.into(), Some(help.into()))
}

/// A text of the file as a fault shows it.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(64).collect();
    format!("`{}`", short.escape_debug())
}

/// The first word of a text, and what follows it.
pub(super) fn word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once([' ', '\t']).map_or((text, ""), |(first, rest)| (first, rest.trim_start()))
}

pub(super) fn time(text: &str) -> Result<Timestamp, Wrong> {
    text.parse().map_err(|_| wrong(format!("{} is not a time", shown(text)), "write it like `2026-03-01T12:00:00Z`"))
}

/// `NAME[GROUP,...]`, `foreign:NAME[...]`, `workload:ID`, a user `+workload:ID`, or `nobody`.
pub(super) fn caller(text: &str) -> Result<Caller, Wrong> {
    const HELP: &str =
        "write `NAME[GROUP,...]`, `workload:spiffe://DOMAIN/PATH`, `NAME[...]+workload:...`, or `nobody`";
    let text = text.trim();
    let bad = || wrong(format!("{} is not a caller", shown(text)), HELP);
    if text == "nobody" {
        return Ok(Caller::default());
    }
    let (user, workload) = match text.strip_prefix("workload:") {
        Some(id) => (None, Some(id)),
        None => match text.split_once("+workload:") {
            Some((user, id)) => (Some(user.trim_end()), Some(id)),
            None => (Some(text), None),
        },
    };
    if let Some(id) = workload {
        id.parse::<crate::engine::Workload>().map_err(|error| wrong(first_line(&error.to_string()), HELP))?;
    }
    let mut caller = Caller { workload: workload.map(str::to_owned), ..Caller::default() };
    let Some(user) = user else { return Ok(caller) };
    let (name, groups) = match user.split_once('[') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(']').ok_or_else(bad)?)),
        None => (user, None),
    };
    let (foreign, name) = name.strip_prefix("foreign:").map_or((false, name), |name| (true, name));
    let name = name.strip_prefix("user:").unwrap_or(name);
    if name.is_empty() || name.len() > 256 || name == "nobody" || name.chars().any(char::is_control) {
        return Err(bad());
    }
    let groups = groups.unwrap_or_default().split(',').map(str::trim).filter(|group| !group.is_empty());
    caller.groups = groups.map(str::to_owned).collect();
    caller.user = Some(CallingUser { name: name.to_owned(), foreign });
    Ok(caller)
}

/// `DECISION` or `DECISION: REASON...`, for `allow` with what allowed it and `masked FIELD...`.
pub(super) fn expected(text: &str) -> Result<Expected, Wrong> {
    let text = text.trim();
    let (word, rest) = text.split_once(':').unwrap_or((text, ""));
    let decision = Word::parse(word).ok_or_else(|| {
        wrong(format!("{} is not a decision", shown(word)), meant(word, &["allow", "ask", "deny", "ambiguous"]))
    })?;
    let mut because: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
    let mut masked = Vec::new();
    if decision == Word::Allow {
        if let Some(at) = because.iter().position(|word| word == "masked") {
            masked = because.split_off(at);
            masked.remove(0);
            masked.sort_unstable();
            if masked.is_empty() {
                return Err(wrong("`masked` names no field", "name the masked fields, or leave the word out"));
            }
        }
        let fine = match because.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => masked.is_empty(),
            ["unmatched"] => true,
            ["role" | "grant", _] => true,
            _ => false,
        };
        if !fine {
            let help = "write `allow: role BINDING`, `allow: grant ID` or `allow: unmatched`, then `masked FIELD...`";
            return Err(wrong(format!("{} does not say what allows", shown(rest)), help));
        }
    }
    Ok(Expected { text: text.to_owned(), decision, because, masked })
}

/// The first line of an error of the engine.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
