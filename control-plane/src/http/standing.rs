//! How far a request has come, as the API shows it: stage by stage what it takes, what it has, and from whom more may come.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{RequestView, UserView};
use crate::domain::{Automatic, FactorStanding, StageStanding, Standing};

/// A stage of a request's rule.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StageView {
    /// Its name.
    pub name: String,
    /// `passed`, `open` or `waiting`.
    pub state: String,
    /// What it takes: all of them.
    pub factors: Vec<FactorView>,
}

/// A factor of a stage.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FactorView {
    /// How many approvals by different people.
    pub needed: u32,
    /// Who has given them.
    pub approvals: Vec<UserView>,
    /// Who may, as `user:NAME` or `group:NAME`.
    pub reviewers: Vec<String>,
}

/// What a rule decided about a request by itself.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AutomaticView {
    /// The decision's name within the rule.
    pub name: String,
    /// `approve`, `deny`, `require` or `escalate`.
    pub decision: String,
    /// How many approvals it requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<u32>,
    /// The policy version that says so.
    pub policy: String,
}

impl From<&Automatic> for AutomaticView {
    fn from(automatic: &Automatic) -> Self {
        Self {
            name: automatic.name.clone(),
            decision: automatic.word().to_owned(),
            approvals: automatic.required(),
            policy: automatic.policy.to_string(),
        }
    }
}

impl From<&StageStanding> for StageView {
    fn from(StageStanding { name, word, factors }: &StageStanding) -> Self {
        let factor = |FactorStanding { needed, approvals, reviewers }: &FactorStanding| FactorView {
            needed: *needed,
            approvals: approvals.iter().map(UserView::from).collect(),
            reviewers: reviewers.iter().map(ToString::to_string).collect(),
        };
        Self { name: name.clone(), state: word.as_str().to_owned(), factors: factors.iter().map(factor).collect() }
    }
}

impl RequestView {
    /// The request with how far it has come.
    #[must_use]
    pub fn with(self, standing: &Standing) -> Self {
        let Standing { stages, at_request, denials_needed, awaited } = standing;
        Self {
            stages: stages.iter().map(StageView::from).collect(),
            stages_at_request: at_request.iter().map(StageView::from).collect(),
            denials_needed: Some(*denials_needed),
            awaited: awaited.iter().map(ToString::to_string).collect(),
            ..self
        }
    }
}
