//! The people of the stories, as the example policy in `shared/policies/payments/` knows them.

/// Someone with a token of the development issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person {
    /// `sub`.
    pub name: &'static str,
    /// `groups`.
    pub groups: &'static [&'static str],
}

/// In support: reads, and may ask for refunds.
pub const ALICE: Person = Person { name: "alice", groups: &["support"] };

/// In support too: what Alice was granted is not his.
pub const BOB: Person = Person { name: "bob", groups: &["support"] };

/// Leads payments: reviews.
pub const LEA: Person = Person { name: "lea", groups: &["payments-leads"] };

/// In no group.
pub const MALLORY: Person = Person { name: "mallory", groups: &[] };

/// Operates the control plane.
pub const OLAF: Person = Person { name: "olaf", groups: &["platform"] };
