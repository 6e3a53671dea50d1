//! What the texts of requests must be: patterns are compiled here, and only walked where requests are filed.

use serde_saphyr::Spanned;

use super::Compiler;
use crate::wire::condition::AutomatonItem;
use crate::wire::policy::{JustificationSpec, RuleSpec, TicketSpec, Unjudged};
use crate::wire::table::{PatternItem, TicketItem, WordsItem};

/// The longest that a justification can be demanded to be: the longest that it can be.
pub(in crate::wire::policy) const MAX_LENGTH: u32 = 2_000;

impl Compiler<'_> {
    /// What the justification and the ticket of a request must be.
    pub(super) fn words(&mut self, file: usize, spec: &RuleSpec) -> (Option<WordsItem>, Option<TicketItem>) {
        let justification = spec.justification.as_ref().map(|JustificationSpec { pattern, min_length }| {
            let min_chars = min_length.as_ref().map_or(1, |length| length.value);
            if let Some(length) = min_length.as_ref().filter(|length| !(1..=MAX_LENGTH).contains(&length.value)) {
                let message = format!("a justification of at least {min_chars} characters cannot be demanded");
                let help = format!("write a number from 1 to {MAX_LENGTH}");
                self.fault(file, length.referenced, message, help);
            }
            WordsItem { min_chars, pattern: self.pattern(file, pattern.as_ref()) }
        });
        let ticket = spec.ticket.as_ref().map(|TicketSpec { required, pattern }| TicketItem {
            required: *required,
            pattern: self.pattern(file, pattern.as_ref()),
        });
        (justification, ticket)
    }

    fn pattern(&mut self, file: usize, stated: Option<&Spanned<String>>) -> Option<PatternItem> {
        let stated = stated?;
        match self.judging.pattern(&stated.value) {
            Ok(automaton) if automaton.accepts_nothing() => {
                let message = "no text has this pattern, so nobody could ever ask".to_owned();
                self.fault(file, stated.referenced, message, "mend the pattern, or leave it out".to_owned());
                None
            }
            Ok(automaton) => Some(PatternItem { source: stated.value.clone(), table: AutomatonItem::from(&automaton) }),
            Err(Unjudged::Fault(fault)) => {
                self.fault(file, stated.referenced, fault.message, fault.help);
                None
            }
            Err(Unjudged::Spent) => {
                let message = "the conditions and patterns up to here are too much".to_owned();
                let help = "use fewer or simpler ones".to_owned();
                self.too_much(file, stated.referenced, message, help);
                None
            }
        }
    }
}
