//! Who is suggested, against what any list of candidates may be.

use grantmesh_shared::engine::{Deciding, Rule, Workflow};
use grantmesh_shared::id::{GrantId, RequestId, ReviewId};
use grantmesh_shared::time::{Span, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::domain::samples::{self, ISSUER, group};
use crate::domain::{NewReview, People, PeopleAtReview, Verdict};

fn rule() -> Rule {
    samples::rule(Workflow {
        deciding: Deciding::by(vec![group("leads")], 2),
        max_duration: Span::from_secs(60),
        request_timeout: Span::from_secs(60),
        ..Workflow::default()
    })
}

fn request(rules: RulesAtReview<'_>) -> Request {
    let ids = (RequestId::new(0, [0; 10]), GrantId::new(0, [0; 10]));
    Request::filed(ids, samples::ask(), 2, None, rules, (Timestamp::default(), 1)).0
}

fn person(at: usize, lead: bool) -> Actor {
    let groups = if lead { vec!["leads".to_owned()] } else { Vec::new() };
    Actor::new(ISSUER, &format!("p{at}"), groups)
}

proptest! {
    #[test]
    fn on_call_before_others_then_whoever_has_least(
        people in proptest::collection::vec((any::<bool>(), any::<bool>(), 0..4_u64), 1..12),
        reviewer in 1..12_usize,
        suggest in 0..12_u32,
    ) {
        let (rule, nobody) = (rule(), People::default());
        let people_at = PeopleAtReview { then: &nobody, now: &nobody };
        let rules = RulesAtReview { then: Some(&rule), now: Some(&rule), people: people_at, escalated: false, delegations: &[] };
        let mut request = request(rules);
        let review = NewReview { verdict: Verdict::Approve, reason: None, duration: None, uses: None, reveals: None, digest: request.ask.digest(), on_behalf_of: None };
        let ids = (ReviewId::new(0, [0; 10]), GrantId::new(0, [0; 10]));
        let by = person(reviewer, true);
        request = request.review(&by, &review, rules, ids, Timestamp::default(), 1).unwrap().request;
        let candidate = |(at, (lead, on_call, waiting)): (usize, &(bool, bool, u64))| {
            Candidate { actor: person(at, *lead), on_call: *on_call, waiting: *waiting }
        };
        let candidates: Vec<Candidate> = people.iter().enumerate().map(candidate).collect();
        // Whoever comes twice is there once.
        let twice = candidates.iter().chain(&candidates).cloned().collect();
        let reviewers = request.reviewers(rules, twice);
        // Not the requester, nor who has reviewed, nor who is no lead.
        let expected = candidates.iter().filter(|one| {
            let name = &*one.actor.user.subject;
            !one.actor.groups.is_empty() && name != "p0" && name != &*by.user.subject
        });
        let mut expected: Vec<&User> = expected.map(|one| &one.actor.user).collect();
        expected.sort();
        let mut named: Vec<&User> = reviewers.iter().map(|one| &one.user).collect();
        named.sort();
        prop_assert_eq!(named, expected);
        prop_assert!(reviewers.is_sorted_by_key(|one| (!one.on_call, one.waiting)));
        let few = suggested(&Routing { suggest, on_call: None }, &reviewers);
        prop_assert_eq!(few.len(), reviewers.len().min(suggest as usize).min(10));
        prop_assert!(few.iter().zip(&reviewers).all(|(user, one)| *user == one.user));
    }
}

#[test]
fn many_are_looked_at_and_no_more() {
    let (rule, nobody) = (rule(), People::default());
    let people = PeopleAtReview { then: &nobody, now: &nobody };
    let rules = RulesAtReview { then: Some(&rule), now: Some(&rule), people, escalated: false, delegations: &[] };
    let all = (1..=MOST_CANDIDATES + 5).map(|at| Candidate { actor: person(at, true), on_call: false, waiting: 0 });
    let request = request(rules);
    assert_eq!(request.reviewers(rules, all.collect()).len(), MOST_CANDIDATES);
    // Alike are not always asked in the same order.
    let two = |id: u64| {
        let other = Request { id: RequestId::new(id, [0; 10]), ..request.clone() };
        let all = (1..=2).map(|at| Candidate { actor: person(at, true), on_call: false, waiting: 0 });
        other.reviewers(rules, all.collect())[0].user.clone()
    };
    assert!((0..50).map(two).any(|first| first != two(0)));
    let denied = Request { state: RequestState::Denied { at: Timestamp::default() }, ..request.clone() };
    assert!(denied.reviewers(rules, vec![Candidate { actor: person(1, true), on_call: true, waiting: 0 }]).is_empty());
}
