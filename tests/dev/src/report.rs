//! What the person at the terminal sees: steps as they begin, how long the long ones took, and failures that name
//! the command that would help. Everything goes to standard error; standard output belongs to the answer of a task.

use std::fmt;
use std::time::{Duration, Instant};

/// Steps shorter than this are not worth a second line.
const LONG: Duration = Duration::from_secs(2);

/// Why a task ended early: what failed, what the failed program said, and what to type next.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    output: String,
    help: Option<String>,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), output: String::new(), help: None }
    }

    /// What the failed program printed.
    pub(crate) fn output(mut self, output: impl Into<String>) -> Self {
        self.output = output.into();
        self
    }

    /// The command, or the one sentence, that would help. The innermost advice is the most exact and stays.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.get_or_insert(help.into());
        self
    }

    /// What failed, without output and advice.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.output.lines() {
            writeln!(f, "  | {line}")?;
        }
        write!(f, "error: {}", self.what)?;
        if let Some(help) = &self.help {
            write!(f, "\n help: {help}")?;
        }
        Ok(())
    }
}

/// One line on what is going on.
pub(crate) fn say(line: &str) {
    eprintln!("dev: {line}");
}

/// Says what begins, does it, and says how long it took when that was long.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    say(what);
    let start = Instant::now();
    let result = work()?;
    let took = start.elapsed();
    if took >= LONG {
        say(&format!("{what}: {:.1} s", took.as_secs_f64()));
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_output_then_reason_then_help() {
        let failure =
            Failure::new("pip failed").output("no network\nsorry").help("check the network").help("less exact");
        assert_eq!(failure.to_string(), "  | no network\n  | sorry\nerror: pip failed\n help: check the network");
    }
}
