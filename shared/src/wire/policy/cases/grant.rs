//! The grants of cases: with the terms of a rule of the policy where one is named, bound to the call that was approved.

use super::lines::{Wrong, shown, wrong};
use super::stage::{Lent, lend};
use super::{Caller, GivenGrant, Granted, Stage};
use crate::engine::{
    Bind, BoundCall, Call, Condition, Digest, Grant, GrantHolder, Rule, User, Uses, prepare, query_parameters,
};
use crate::id::RequestId;
use crate::wire::policy::parse::meant;

/// Action and resource of an approved call, and what the grant is bound to.
type Approved = (String, String, Option<(Bind, Digest)>);

impl Stage {
    /// The grant of a step as the engine holds it.
    pub(super) fn granted(&self, given: &GivenGrant) -> Result<Grant, Wrong> {
        let GivenGrant { id, holder, what, service, rule, from, until, facts: _ } = given;
        let service = self.service(service.as_deref())?;
        let rule = rule.as_deref().map(|rule| self.rule(service, rule)).transpose()?;
        let (action, resource, bound) = match what {
            Granted::Action { action, resource } => {
                self.known_action(service, action)?;
                if rule.is_some_and(|rule| rule.bind.is_some()) {
                    let message = "grants of this rule are bound to the call that was approved";
                    return Err(wrong(
                        message,
                        "write its `METHOD PATH` in the place of action and resource, with its facts below",
                    ));
                }
                (action.clone(), resource.clone(), None)
            }
            Granted::Call { method, target } => self.approved(given, (service, method, target), rule)?,
        };
        if let Some(rule) = rule.filter(|rule| rule.actions.iter().all(|covered| **covered != *action)) {
            let message = format!("the rule {} is not about {}", shown(&rule.name), shown(&action));
            return Err(wrong(message, "name a rule of this action"));
        }
        let condition = rule.map(|rule| &rule.grant_condition).filter(|condition| **condition != Condition::Always);
        Ok(Grant {
            id: id.clone(),
            request: RequestId::new(0, [0; 10]),
            holder: self.holder(holder)?,
            service: service.into(),
            action: action.into(),
            resource: resource.into(),
            rule: rule.map_or_else(|| "none".into(), |rule| rule.name.clone()),
            starts_at: *from,
            expires_at: *until,
            conditions: condition.into_iter().cloned().collect(),
            bound: bound.map(Box::new),
            reveals: rule.map(|rule| rule.reveals.clone()).unwrap_or_default(),
            uses: rule.and_then(|rule| rule.workflow.max_uses).map(|_| Uses { allowed: 1, exhausted: false }),
            break_glass: false,
        })
    }

    fn rule(&self, service: &str, name: &str) -> Result<&Rule, Wrong> {
        let rules = self.table.service(service).map(crate::engine::Service::rules).unwrap_or_default();
        rules.iter().find(|rule| *rule.name == *name).ok_or_else(|| {
            let names: Vec<&str> = rules.iter().map(|rule| &*rule.name).collect();
            (format!("the service {} has no rule {}", shown(service), shown(name)), Some(meant(name, &names)))
        })
    }

    fn holder(&self, caller: &Caller) -> Result<GrantHolder, Wrong> {
        let user = Lent::of(caller, &self.issuer).principal(&[]).user;
        let user = user.map(|(issuer, subject)| User { issuer: issuer.into(), subject: subject.into() });
        let workload = caller.workload.as_deref().map(str::parse).transpose();
        let workload = workload
            .map_err(|_| wrong("the holder's workload is no SPIFFE id", "write `workload:spiffe://DOMAIN/PATH`"))?;
        match (user, workload) {
            (Some(user), None) => Ok(GrantHolder::User(user)),
            (None, Some(workload)) => Ok(GrantHolder::Workload(workload)),
            (Some(user), Some(workload)) => Ok(GrantHolder::Both(user, workload)),
            (None, None) => Err(wrong("the grant has no holder", "name a user, a workload or both")),
        }
    }

    /// Action and resource of the approved call, and what the grant is bound to.
    fn approved(
        &self,
        given: &GivenGrant,
        (service, method, target): (&str, &str, &str),
        rule: Option<&Rule>,
    ) -> Result<Approved, Wrong> {
        const HELP: &str = "write a call that the policy has an action for";
        let lent = Lent::of(&given.holder, &self.issuer);
        let call = Call::new(service, method.as_bytes(), target.as_bytes(), lent.principal(&[]))
            .map_err(|ambiguity| wrong(format!("the approved call is ambiguous: {ambiguity}"), HELP))?;
        let prepared = prepare(&self.table, &call);
        let bind = rule.and_then(|rule| rule.bind.as_ref());
        let names = bind.map(|bind| bind.query.as_slice()).unwrap_or_default();
        let query = query_parameters(call.path().query().unwrap_or_default(), names)
            .map_err(|error| wrong(error.to_string(), HELP))?;
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, &**value)).collect();
        lend(&given.facts, &query, |context| {
            let action = prepared.action(context.body).ok_or_else(|| wrong("the approved call has no action", HELP))?;
            let resource = action.templates.resource_of(call.path().as_str()).unwrap_or_default();
            let (name, fields) = (&*action.name, action.fields.as_slice());
            let bound = BoundCall { call: &call, context, action: name, fields, resource: &resource };
            let digest = bind.map(|bind| bind.digest(bound).map(|digest| (bind.clone(), digest))).transpose();
            let digest = digest.map_err(|error| wrong(error.to_string(), "state it below the grant, indented"))?;
            Ok((action.name.to_string(), resource, digest))
        })
    }
}
