//! What a challenge shows of the refused call, where a rule binds a grant to it. For `flow`.

use grantmesh_shared::engine::{BoundCall, Call, Context, Decision};
use grantmesh_shared::wire::problem::{BoundChallenge, ProblemReason};
use grantmesh_shared::wire::shown::ShownCall;
use grantmesh_shared::wire::signature::Sha256Hash;

/// What is shown of a call.
#[derive(Debug)]
pub(super) struct Showing {
    /// The call under the first rule that it can be bound by.
    pub(super) bound: Option<BoundChallenge>,
    /// Why it cannot be bound by a rule.
    pub(super) unshown: Vec<ProblemReason>,
}

/// What of a call is shown, if it may be asked for under rules that bind it.
pub(super) fn of(decision: &Decision<'_>, call: &Call<'_>, context: &Context<'_>) -> Option<Showing> {
    let Decision::Ask(refusal) = decision else { return None };
    let matched = refusal.matched.as_ref()?;
    let mut showing = Showing { bound: None, unshown: Vec::new() };
    for rule in &refusal.rules {
        let Some(bind) = &rule.bind else { continue };
        let (action, fields) = (&*matched.action.name, matched.action.fields.as_slice());
        let bound = BoundCall { call, context, action, fields, resource: &matched.resource };
        match ShownCall::of(bind, bound) {
            Ok((call, digest)) => {
                let challenge = || BoundChallenge { rule: rule.name.to_string(), digest: Sha256Hash(digest.0), call };
                showing.bound.get_or_insert_with(challenge);
            }
            Err(error) => {
                let detail = format!("rule `{}` binds a grant to what the call is: {error}", rule.name);
                showing.unshown.push(ProblemReason { code: "call_not_bound".to_owned(), detail });
            }
        }
    }
    (showing.bound.is_some() || !showing.unshown.is_empty()).then_some(showing)
}
