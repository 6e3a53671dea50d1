//! What a request says for itself: its justification and its ticket, as the rule wants them.

use grantmesh_shared::engine::Deciding;

use super::text::{Text, TextError};

/// The longest ticket.
pub const MAX_TICKET_CHARS: usize = 128;

/// Why the words of a request are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsRefused {
    /// A justification that is none.
    #[error(transparent)]
    Justification(TextError),
    /// A justification that is too short.
    #[error("the justification has {chars} characters, and the rule `{rule}` wants at least {least}\nsay more of why")]
    Short {
        /// How many it has.
        chars: usize,
        /// How many it must have.
        least: u32,
        /// The rule.
        rule: String,
    },
    /// A justification without what must be in it.
    #[error("the justification has nothing that fits `{pattern}`, which the rule `{rule}` wants\nadd it")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The rule.
        rule: String,
    },
    /// No ticket where there must be one.
    #[error(
        "the rule `{rule}` wants a ticket, and the request names none\nadd it as `ticket`, `--ticket` on the command line"
    )]
    NoTicket {
        /// The rule.
        rule: String,
    },
    /// A ticket that is none.
    #[error(transparent)]
    Ticket(TextError),
    /// A ticket that is too long.
    #[error("the ticket has {chars} characters, more than {MAX_TICKET_CHARS}\nwrite its number or its short address")]
    LongTicket {
        /// How many it has.
        chars: usize,
    },
    /// A ticket that does not fit.
    #[error(
        "the ticket `{ticket}` does not fit `{pattern}`, as the rule `{rule}` wants it\nwrite the number as it stands in your ticket system"
    )]
    TicketPattern {
        /// The ticket.
        ticket: String,
        /// The pattern.
        pattern: String,
        /// The rule.
        rule: String,
    },
}

/// Checks what a request says for itself against a rule.
///
/// # Errors
/// If it is not what the rule wants.
pub(super) fn words(
    (rule, deciding): (&str, &Deciding),
    justification: &str,
    ticket: Option<&str>,
) -> Result<(Text, Option<Text>), WordsRefused> {
    let justification = Text::new(justification, "justification").map_err(WordsRefused::Justification)?;
    let ticket = Text::optional(ticket, "ticket").map_err(WordsRefused::Ticket)?;
    if let Some(chars) =
        ticket.as_ref().map(|ticket| ticket.as_str().chars().count()).filter(|chars| *chars > MAX_TICKET_CHARS)
    {
        return Err(WordsRefused::LongTicket { chars });
    }
    fit((rule, deciding), &justification, ticket.as_ref())?;
    Ok((justification, ticket))
}

/// Whether words that were checked once are what a rule wants.
///
/// # Errors
/// If not.
pub(super) fn fit(
    (rule, deciding): (&str, &Deciding),
    justification: &Text,
    ticket: Option<&Text>,
) -> Result<(), WordsRefused> {
    let rule = || rule.to_owned();
    let (chars, least) = (justification.as_str().chars().count(), deciding.justification.min_chars);
    if chars < usize::try_from(least).unwrap_or(usize::MAX) {
        return Err(WordsRefused::Short { chars, least, rule: rule() });
    }
    if let Some(pattern) =
        deciding.justification.pattern.as_ref().filter(|pattern| !pattern.is_in(justification.as_str()))
    {
        return Err(WordsRefused::Pattern { pattern: pattern.source.to_string(), rule: rule() });
    }
    let Some(ticket) = ticket else {
        return if deciding.ticket.required { Err(WordsRefused::NoTicket { rule: rule() }) } else { Ok(()) };
    };
    if let Some(pattern) = deciding.ticket.pattern.as_ref().filter(|pattern| !pattern.is_in(ticket.as_str())) {
        let (ticket, pattern) = (ticket.to_string(), pattern.source.to_string());
        return Err(WordsRefused::TicketPattern { ticket, pattern, rule: rule() });
    }
    Ok(())
}
