//! Lists of requests and grants: filtered, by time, page by page, and only what the reader may see.
//!
//! However many rows there are, a page looks at few: what the reader may see is cut into branches, each of which an index
//! has in the order of the list, and a page takes at most its own length from each. See `0012_lists.sql` and
//! `0028_used_grants.sql`.

use std::fmt::Write as _;

use grantmesh_shared::engine::User;
use grantmesh_shared::time::Timestamp;

use super::tx::Value;
use crate::domain::GrantStateWord;

/// What a reader may see.
#[derive(Debug, Clone)]
pub(crate) enum Visible {
    /// Everything: operators and auditors.
    All,
    /// What is their own, what belongs to these rules (service, rule), and of others the requests that are escalated.
    Of { user: User, rules: Vec<(String, String)>, backups: Vec<(String, String)> },
}

/// Which rows of a list.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    pub(crate) visible: Visible,
    /// Only those of this person.
    pub(crate) owner: Option<User>,
    pub(crate) state: Option<&'static str>,
    pub(crate) service: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) rule: Option<String>,
    /// Only ids from this one on, and before that one: ids are in the order of their times.
    pub(crate) from: Option<String>,
    pub(crate) before: Option<String>,
    /// Oldest first.
    pub(crate) ascending: bool,
    /// The id of the last row of the page before.
    pub(crate) cursor: Option<String>,
    pub(crate) limit: u32,
    /// Of post-reviews, only those that are overdue by then.
    pub(crate) overdue: Option<Timestamp>,
    /// Of grants, only those that were used, or that were not.
    pub(crate) used: Option<bool>,
}

/// So many branches are joined in one step; SQLite takes 500.
const JOINED: usize = 200;

/// Collects values; each gets the next placeholder.
#[derive(Debug, Default)]
pub(super) struct Bound(Vec<Value>);

impl Bound {
    pub(super) fn into_values(self) -> Vec<Value> {
        self.0
    }

    pub(super) fn place(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }

    pub(super) fn both(&mut self, (one, first): (&str, &str), (two, second): (&str, &str)) -> String {
        format!("({one} = {} AND {two} = {})", self.place(first), self.place(second))
    }
}

impl Visible {
    /// What is true of the rows that a reader may see. `person` begins the names of the two columns of whoever owns a row.
    /// `escalated` is the condition of what belongs to a request that is escalated.
    pub(super) fn clause(&self, bound: &mut Bound, person: &str, escalated: &str) -> String {
        let Self::Of { user, rules, backups } = self else { return "1 = 1".to_owned() };
        let (issuer, subject) = (format!("{person}_issuer"), format!("{person}_subject"));
        let own = bound.both((&issuer, &user.issuer), (&subject, &user.subject));
        let reviewed = rules.iter().map(|(service, rule)| bound.both(("service", service), ("rule", rule)));
        let mut any: Vec<String> = std::iter::once(own).chain(reviewed.collect::<Vec<_>>()).collect();
        let backed_up = backups.iter().map(|(service, rule)| bound.both(("service", service), ("rule", rule)));
        let backed_up: Vec<String> = backed_up.collect();
        if !backed_up.is_empty() {
            any.push(format!("({}) AND {escalated}", backed_up.join(" OR ")));
        }
        format!("({})", any.join(" OR "))
    }
}

/// A part of what a reader may see: rows that have these values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Branch<'s> {
    owner: Option<&'s User>,
    service: Option<&'s str>,
    rule: Option<&'s str>,
    action: Option<&'s str>,
    /// Only requests that are escalated.
    escalated: bool,
}

impl<'s> Branch<'s> {
    /// The branch with only those of its rows that another one has as well; nothing if there are none.
    fn and(self, other: Self) -> Option<Self> {
        fn same<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<Option<T>> {
            match (one, other) {
                (Some(one), Some(other)) => (one == other).then_some(Some(one)),
                (one, other) => Some(one.or(other)),
            }
        }
        Some(Self {
            owner: same(self.owner, other.owner)?,
            service: same(self.service, other.service)?,
            rule: same(self.rule, other.rule)?,
            action: same(self.action, other.action)?,
            escalated: self.escalated || other.escalated,
        })
    }

    /// The conditions: those of one index first. With `hints`, the others are written so that no other index is taken for
    /// them; a planner that knows how many rows there are needs no hints, and would be misled.
    fn conditions(self, person: &str, hints: bool, bound: &mut Bound) -> Vec<String> {
        let Self { owner, service, rule, action, escalated } = self;
        let mut conditions = Vec::new();
        if let Some(owner) = owner {
            conditions.push(format!("{person}_issuer = {}", bound.place(&*owner.issuer)));
            conditions.push(format!("{person}_subject = {}", bound.place(&*owner.subject)));
        }
        let by_owner = owner.is_some();
        let by_rule = !by_owner && service.is_some() && rule.is_some();
        let columns = [("service", service, !by_owner), ("rule", rule, by_rule), ("action", action, !by_owner)];
        for (column, value, indexed) in columns {
            if let Some(value) = value {
                let value = bound.place(value);
                conditions.push(if indexed || !hints {
                    format!("{column} = {value}")
                } else {
                    format!("{column} || '' = {value}")
                });
            }
        }
        if escalated {
            conditions.push(
                if by_rule || !hints { "escalated_at IS NOT NULL" } else { "+escalated_at IS NOT NULL" }.to_owned(),
            );
        }
        conditions
    }
}

impl Select {
    /// Everything, newest first, for readers who see everything.
    pub(crate) const fn all(state: Option<&'static str>, cursor: Option<String>, limit: u32) -> Self {
        Self {
            visible: Visible::All,
            owner: None,
            state,
            service: None,
            action: None,
            rule: None,
            from: None,
            before: None,
            ascending: false,
            cursor,
            limit,
            overdue: None,
            used: None,
        }
    }

    /// What the list is cut into; only of a list of requests some may be `escalated`.
    fn branches(&self, of_requests: bool) -> Vec<Branch<'_>> {
        let filter = Branch {
            owner: self.owner.as_ref(),
            service: self.service.as_deref(),
            rule: self.rule.as_deref(),
            action: self.action.as_deref(),
            escalated: false,
        };
        fn of_rule((service, rule): &(String, String)) -> Branch<'_> {
            Branch { service: Some(service), rule: Some(rule), ..Branch::default() }
        }
        let seen = match &self.visible {
            Visible::All => vec![Branch::default()],
            Visible::Of { user, rules, backups } => {
                let own = Branch { owner: Some(user), ..Branch::default() };
                let backed_up = backups.iter().filter(|_| of_requests);
                let backed_up = backed_up.map(|of| Branch { escalated: true, ..of_rule(of) });
                std::iter::once(own).chain(rules.iter().map(of_rule)).chain(backed_up).collect()
            }
        };
        let mut branches: Vec<_> = seen.into_iter().filter_map(|branch| branch.and(filter)).collect();
        // One that is a part of another has nothing of its own.
        if branches.contains(&filter) {
            branches.retain(|branch| *branch == filter);
        }
        branches.dedup();
        branches
    }

    /// The statement and its values. `columns` and `table` are ours, never a caller's text; `person` begins the names of
    /// the two columns of whoever owns a row. `hints` are for SQLite, which does not count its rows.
    pub(super) fn statement(&self, columns: &str, (table, person): (&str, &str), hints: bool) -> (String, Vec<Value>) {
        let mut bound = Bound::default();
        let order = if self.ascending { "ASC" } else { "DESC" };
        let limit = bound.place(self.limit);
        let mut common: Vec<String> = Vec::new();
        common.extend(self.used.map(|used| format!("used = {}", bound.place(u32::from(used)))));
        let (later, earlier) = (self.from.as_deref(), self.before.as_deref());
        common.extend(later.map(|from| format!("id >= {}", bound.place(from))));
        common.extend(earlier.map(|before| format!("id < {}", bound.place(before))));
        if let Some(now) = self.overdue {
            let now = bound.place(now);
            common.push(format!("state = 'open' AND {}due_at <= {now}", if hints { "+" } else { "" }));
        }
        let past = if self.ascending { '>' } else { '<' };
        common.extend(self.cursor.as_deref().map(|cursor| format!("id {past} {}", bound.place(cursor))));
        // What was used has its indexes by state only: without one, each state is a branch of its own.
        let states: Vec<Option<String>> = match (self.state, self.used) {
            (None, None) => vec![None],
            (None, Some(_)) => GrantStateWord::ALL.map(|state| Some(bound.place(state.as_str()))).into(),
            (Some(state), _) => vec![Some(bound.place(state))],
        };
        let part = |bound: &mut Bound, number: usize, branch: Branch<'_>, state: Option<&str>| {
            let mut conditions = branch.conditions(person, hints, bound);
            conditions.extend(state.map(|state| format!("state = {state}")));
            conditions.extend(common.iter().cloned());
            let conditions = if conditions.is_empty() { "1 = 1".to_owned() } else { conditions.join(" AND ") };
            format!(
                "SELECT id FROM (SELECT id FROM {table} WHERE {conditions} ORDER BY id {order} LIMIT {limit}) AS b{number}"
            )
        };
        let branches = self.branches(table == "requests");
        let each = branches.iter().flat_map(|branch| states.iter().map(|state| (*branch, state.as_deref())));
        let parts: Vec<String> =
            each.enumerate().map(|(number, (branch, state))| part(&mut bound, number, branch, state)).collect();
        let mut ids = String::new();
        for (number, joined) in parts.chunks(JOINED).enumerate() {
            let union = if number == 0 { "" } else { " UNION " };
            // Writing to a text does not fail.
            let _ = write!(ids, "{union}SELECT id FROM ({}) AS j{number}", joined.join(" UNION "));
        }
        if ids.is_empty() {
            return (format!("SELECT {columns} FROM {table} WHERE 1 = 0"), Vec::new());
        }
        let sql = format!(
            "SELECT {columns} FROM {table} WHERE id IN (SELECT id FROM ({ids}) AS page ORDER BY id {order} LIMIT {limit}) \
             ORDER BY id {order}"
        );
        (sql, bound.into_values())
    }
}

#[cfg(test)]
mod tests;
