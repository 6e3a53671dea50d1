//! The services of one policy version with their rules: who may ask for what, and who reviews it.

use std::sync::Arc;

use grantmesh_shared::engine::{
    Ambiguity, Now, Routed, Rule, Service, Table, canonical_method, canonical_path, rules_to_ask,
};
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::time::Timestamp;

use super::actor::Actor;
use super::person::People;
use super::quorum::reviews;
use super::request::AskTarget;

/// What the policy says, as the workflow needs it.
#[derive(Debug, Clone, Default)]
pub struct Rulebook {
    /// The policy version; nothing before the first policy.
    pub policy: Option<PolicyId>,
    /// Its services.
    pub services: Vec<Arc<Service>>,
    /// What it says about people.
    pub people: Arc<People>,
    /// A table with nothing but the signals that are set.
    pub signals: Arc<Table>,
}

/// What an actor may ask for.
#[derive(Debug, Clone)]
pub struct Asked<'b> {
    /// The service.
    pub service: &'b Service,
    /// The action's name.
    pub action: &'b str,
    /// The resource.
    pub resource: String,
    /// The rule to ask under.
    pub rule: &'b Rule,
}

/// Why an actor may not ask. What does not exist and what is not for this actor read alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEligible {
    /// No rule lets the actor ask.
    #[error("no rule lets you ask for `{what}`\nask the owner of the service who is eligible")]
    NoRule {
        /// What was asked for.
        what: String,
    },
    /// Several actions have this method and path; the body of a call tells which is meant.
    #[error(
        "what `{what}` is depends on the body of the call\nask for one of the actions by its name, with the resource"
    )]
    Several {
        /// The method and path.
        what: String,
    },
    /// The method or path can be read in two ways, so no call like it is ever let through.
    #[error("the call `{what}` can be read in two ways: {source}\nsend it in its plain form")]
    Ambiguous {
        /// The method and path.
        what: String,
        /// What is ambiguous.
        source: Ambiguity,
    },
}

fn shortened(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(128).collect()
}

impl Rulebook {
    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name() == name).map(|service| &**service)
    }

    /// The rule of that name, if it covers the action.
    #[must_use]
    pub fn rule(&self, service: &str, rule: &str, action: &str) -> Option<&Rule> {
        let rule = self.service(service)?.rule(rule)?;
        rule.actions.iter().any(|covered| **covered == *action).then_some(rule)
    }

    /// What the actor asks for, under the named rule or else the first one that lets them ask.
    ///
    /// # Errors
    /// If there is no such rule.
    pub fn ask<'b>(
        &'b self,
        actor: &Actor,
        target: &AskTarget,
        rule: Option<&str>,
        now: Timestamp,
    ) -> Result<Asked<'b>, NotEligible> {
        let no_rule = || NotEligible::NoRule { what: shortened(&target.to_string()) };
        let service = self.service(target.service()).ok_or_else(no_rule)?;
        let (action, resource) = match target {
            AskTarget::Action { action, resource, .. } => {
                (service.action(action).ok_or_else(no_rule)?, resource.clone())
            }
            AskTarget::Call { method, path, .. } => {
                let ambiguous = |source| NotEligible::Ambiguous { what: shortened(&target.to_string()), source };
                let method = canonical_method(method.as_bytes()).map_err(ambiguous)?;
                let path = canonical_path(path.as_bytes()).map_err(ambiguous)?;
                let Routed::Action(actions) = service.route(method, &path) else {
                    return Err(no_rule());
                };
                let [action] = actions.as_slice() else {
                    return Err(NotEligible::Several { what: shortened(&target.to_string()) });
                };
                (*action, action.templates.resource_of(path.as_str()).ok_or_else(no_rule)?)
            }
        };
        let named = service.rules().iter().filter_map(|rule| rule.condition.needs()).flat_map(|needs| &needs.claims);
        let claims: Vec<Box<str>> = named.cloned().collect();
        let found = actor.as_principal(|principal| {
            actor.as_context(&claims, |context| {
                let ask = (&*action.name, resource.as_str());
                rules_to_ask(&self.signals, service, ask, principal, (context, Now::exactly(now)))
            })
        });
        let rule = found.into_iter().find(|known| rule.is_none_or(|rule| *known.name == *rule)).ok_or_else(no_rule)?;
        Ok(Asked { service, action: &action.name, resource, rule })
    }

    /// Service and name of every rule that the actor reviews.
    #[must_use]
    pub fn reviewed_by(&self, actor: &Actor) -> Vec<(&str, &str)> {
        let mut rules = Vec::new();
        for service in &self.services {
            for rule in service.rules() {
                if reviews(&rule.workflow.deciding, actor) {
                    rules.push((service.name(), &*rule.name));
                }
            }
        }
        rules
    }

    /// Whether the actor is among the reviewers of the rule.
    #[must_use]
    pub fn is_reviewer(&self, actor: &Actor, service: &str, rule: &str) -> bool {
        self.service(service)
            .and_then(|service| service.rule(rule))
            .is_some_and(|rule| reviews(&rule.workflow.deciding, actor))
    }
}
