//! The only place that prints. Results go to standard output, failures and remarks to standard error.
//! Colours only on a terminal; a reader that goes away (`| head`) ends nothing badly.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use comfy_table::Table;
use serde::Serialize;

use super::client::ClientError;
use crate::redact::redacted;

/// Where a command prints.
#[derive(Debug)]
pub(super) struct Output {
    colour_out: bool,
    colour_err: bool,
    /// How a command ends that did not fail.
    code: u8,
}

/// What a text means, shown as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Needs attention.
    Waiting,
    /// Over, or wrong.
    Bad,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Waiting => "33",
            Self::Bad => "31",
        }
    }

    /// The colour of a table's cell.
    pub(super) const fn colour(self) -> comfy_table::Color {
        match self {
            Self::Good => comfy_table::Color::Green,
            Self::Waiting => comfy_table::Color::Yellow,
            Self::Bad => comfy_table::Color::Red,
        }
    }
}

impl Output {
    pub(super) fn new(no_colour: bool) -> Self {
        Self {
            colour_out: !no_colour && io::stdout().is_terminal(),
            colour_err: !no_colour && io::stderr().is_terminal(),
            code: 0,
        }
    }

    /// Lets a command that does not fail end with a code of its own, for scripts.
    pub(super) fn end_with(&mut self, code: u8) {
        self.code = code;
    }

    /// How a command ends that did not fail.
    pub(super) fn exit_code(&self) -> ExitCode {
        self.code.into()
    }

    /// A line of the result.
    pub(super) fn line(&mut self, text: impl Display) {
        // Nobody is left to tell that nobody reads.
        let _ = writeln!(io::stdout().lock(), "{text}");
    }

    /// What another program printed, as it is.
    pub(super) fn bytes(&mut self, out: &[u8], err: &[u8]) {
        let _ = io::stdout().lock().write_all(out);
        let _ = io::stderr().lock().write_all(err);
    }

    /// A word of the result in its colour.
    pub(super) fn toned(&self, tone: Tone, text: impl Display) -> String {
        if self.colour_out { format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code()) } else { text.to_string() }
    }

    /// The result as JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), serde_json::Error> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(text);
        Ok(())
    }

    /// The result as a table.
    pub(super) fn table(&mut self, mut table: Table) {
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        if self.colour_out {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for line in table.lines() {
            self.line(line.strip_prefix(' ').unwrap_or(&line).trim_end());
        }
    }

    /// Something to know beside the result.
    pub(super) fn remark(&mut self, text: impl Display) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Why the command failed.
    pub(super) fn error(&mut self, error: &(dyn Error + 'static)) {
        let word = if self.colour_err { "\u{1b}[1;31merror\u{1b}[0m" } else { "error" };
        let mut text = format!("{word}: ");
        if let Some(ClientError::Refused(problem)) = error.downcast_ref::<ClientError>() {
            text.push_str(&format!("{} ({}, {})", problem.title, problem.status, problem.code));
            for detail in problem
                .detail
                .iter()
                .map(String::as_str)
                .chain(problem.reasons.iter().map(|reason| reason.detail.as_str()))
            {
                text.push_str(&format!("\n  {}", detail.replace('\n', "\n  ")));
            }
        } else {
            text.push_str(&error.to_string().replace('\n', "\n  "));
            let mut cause = error.source();
            while let Some(inner) = cause {
                text.push_str(&format!("\n  because: {}", inner.to_string().replace('\n', "\n  ")));
                cause = inner.source();
            }
        }
        self.remark(redacted(&text));
    }
}
