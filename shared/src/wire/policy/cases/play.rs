//! Plays a file of cases on a stage.

use super::{Case, Cases, Coverage, Expected, Outcome, Stage, StepKind};
use crate::wire::policy::PolicyFault;

/// A case that was played.
#[derive(Debug, Clone)]
pub struct Played<'c> {
    /// Its line.
    pub line: u64,
    /// The call.
    pub case: &'c Case,
    /// What must become of it.
    pub expected: &'c Expected,
    /// What became of it.
    pub outcome: Outcome,
}

impl Played<'_> {
    /// Whether what became of it is what must, from facts that are all read: one that nothing reads is most likely misspelt.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.outcome.fits(self.expected) && self.outcome.unread.is_empty()
    }
}

/// Plays every step in order, and notes what is touched.
///
/// # Errors
/// Every step that names what the policy does not have.
pub fn play<'c>(
    cases: &'c Cases,
    stage: &mut Stage,
    coverage: &mut Coverage,
) -> Result<Vec<Played<'c>>, Vec<PolicyFault>> {
    let mut played = Vec::new();
    let mut faults = Vec::new();
    for step in &cases.steps {
        let line = step.line;
        let mut fault = |fault| faults.push(PolicyFault { file: cases.file.clone(), line, column: 1, ..fault });
        let StepKind::Call(case, expected) = &step.kind else {
            match stage.take(&step.kind) {
                Ok(()) => coverage.step(&step.kind),
                Err(error) => fault(error),
            }
            continue;
        };
        match stage.decide(case) {
            Ok(outcome) => {
                coverage.call(case, &outcome);
                played.push(Played { line, case, expected, outcome });
            }
            Err(error) => fault(error),
        }
    }
    if faults.is_empty() { Ok(played) } else { Err(faults) }
}
