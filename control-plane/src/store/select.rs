//! Lists of requests and grants: filtered, newest first, page by page, and only what the reader may see.

use grantmesh_shared::engine::User;

use super::tx::Value;

/// What a reader may see.
#[derive(Debug, Clone)]
pub(crate) enum Visible {
    /// Everything: operators and auditors.
    All,
    /// What is their own, and what belongs to these rules (service, rule).
    Of { user: User, rules: Vec<(String, String)> },
}

/// Which rows of a list.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    pub(crate) visible: Visible,
    pub(crate) mine: Option<User>,
    pub(crate) state: Option<&'static str>,
    /// The id of the last row of the page before.
    pub(crate) cursor: Option<String>,
    pub(crate) limit: u32,
}

/// Collects values; each gets the next placeholder.
#[derive(Debug, Default)]
struct Bound(Vec<Value>);

impl Bound {
    fn place(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }

    fn both(&mut self, (one, first): (&str, &str), (two, second): (&str, &str)) -> String {
        format!("({one} = {} AND {two} = {})", self.place(first), self.place(second))
    }
}

impl Select {
    /// The statement and its values. `select` names columns and table, `person` begins the names of the two columns of
    /// whoever owns a row; both are ours, never a caller's text.
    pub(super) fn statement(&self, select: &str, person: &str) -> (String, Vec<Value>) {
        let mut bound = Bound::default();
        let (issuer, subject) = (format!("{person}_issuer"), format!("{person}_subject"));
        let mut clauses = vec!["1 = 1".to_owned()];
        if let Visible::Of { user, rules } = &self.visible {
            let own = bound.both((&issuer, &user.issuer), (&subject, &user.subject));
            let reviewed = rules.iter().map(|(service, rule)| bound.both(("service", service), ("rule", rule)));
            let any: Vec<String> = std::iter::once(own).chain(reviewed.collect::<Vec<_>>()).collect();
            clauses.push(format!("({})", any.join(" OR ")));
        }
        if let Some(user) = &self.mine {
            clauses.push(bound.both((&issuer, &user.issuer), (&subject, &user.subject)));
        }
        if let Some(state) = self.state {
            clauses.push(format!("state = {}", bound.place(state)));
        }
        if let Some(cursor) = &self.cursor {
            clauses.push(format!("id < {}", bound.place(cursor.as_str())));
        }
        let limit = bound.place(self.limit);
        (format!("{select} WHERE {} ORDER BY id DESC LIMIT {limit}", clauses.join(" AND ")), bound.0)
    }
}
