//! Counting against a naive reference that tries every way to seat people, over every order of reviews.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use grantmesh_shared::engine::{Deciding, Factor, Rule, Stage, User, Workflow};
use grantmesh_shared::id::{DelegationId, GrantId, RequestId, ReviewId};
use grantmesh_shared::time::{Span, Timestamp};
use proptest::prelude::*;

use super::StageWord;
use crate::domain::samples::{self, ISSUER, group};
use crate::domain::{
    Actor, Ask, Delegation, NewReview, People, PeopleAtReview, Request, RequestState, RequestStateWord, ReviewRefused,
    RulesAtReview, Text, Verdict, Waited,
};

const GROUPS: [&str; 4] = ["a", "b", "c", "d"];

/// A factor: how many it needs, and of which of the groups, as bits.
type NaiveFactor = (u32, u8);

fn among(groups: u8) -> impl Iterator<Item = &'static str> {
    GROUPS.into_iter().enumerate().filter(move |(at, _)| groups >> at & 1 == 1).map(|(_, name)| name)
}

fn rule(stages: &[Vec<NaiveFactor>], denials: u32) -> Rule {
    let factor = |(approvals, groups): &NaiveFactor| Factor {
        approvals: *approvals,
        reviewers: among(*groups).map(group).collect(),
    };
    let stage = |(at, factors): (usize, &Vec<NaiveFactor>)| Stage {
        name: format!("s{at}").into(),
        factors: factors.iter().map(factor).collect(),
    };
    samples::rule(Workflow {
        deciding: Deciding { stages: stages.iter().enumerate().map(stage).collect(), denials, ..Deciding::default() },
        max_duration: Span::from_secs(3_600),
        default_duration: Span::from_secs(60),
        request_timeout: Span::from_secs(3_600),
        ..Workflow::default()
    })
}

fn request(approvals_needed: u32) -> Request {
    let ask = Ask {
        requester: User { issuer: ISSUER.into(), subject: "ann".into() },
        requester_groups: vec!["askers".to_owned()],
        ..samples::ask()
    };
    let id = RequestId::new(0, [0; 10]);
    let (reviews, waited, state) = (Vec::new(), Waited::default(), RequestState::Pending);
    Request { id, ask, approvals_needed, reviews, waited, automatic: None, state }
}

fn person(at: usize, groups: u8) -> Actor {
    Actor::new(ISSUER, &format!("p{at}"), among(groups).map(str::to_owned).collect())
}

fn given(
    request: Request,
    actor: &Actor,
    verdict: Verdict,
    rules: RulesAtReview<'_>,
) -> (Request, Option<ReviewRefused>) {
    let reason = (verdict == Verdict::Deny).then(|| "no".to_owned());
    let new = NewReview {
        verdict,
        reason,
        duration: None,
        uses: None,
        reveals: None,
        digest: request.ask.digest(),
        on_behalf_of: None,
    };
    let ids = (ReviewId::new(0, [0; 10]), GrantId::new(0, [0; 10]));
    match request.clone().review(actor, &new, rules, ids, Timestamp::from_millis(1), 1) {
        Ok(outcome) => {
            assert_eq!(outcome.grant.is_some(), outcome.request.state.word() == RequestStateWord::Approved);
            (outcome.request, None)
        }
        Err(refused) => (request, Some(refused)),
    }
}

/// Whether all places of the factors can be filled by different people, by trying everyone everywhere.
fn can_be_filled(factors: &[NaiveFactor], people: &[u8]) -> bool {
    let Some(at) = factors.iter().position(|(needed, _)| *needed > 0) else { return true };
    let mut less = factors.to_vec();
    less[at].0 -= 1;
    (0..people.len()).filter(|who| people[*who] & factors[at].1 != 0).any(|who| {
        let mut rest = people.to_vec();
        rest.remove(who);
        can_be_filled(&less, &rest)
    })
}

/// The same over stages: each takes those who come from where the one before was passed.
fn passes(stages: &[Vec<NaiveFactor>], people: &[u8]) -> usize {
    let (mut passed, mut from) = (0, 0);
    for (at, _) in people.iter().enumerate() {
        if passed < stages.len() && can_be_filled(&stages[passed], &people[from..=at]) {
            (passed, from) = (passed + 1, at + 1);
        }
    }
    passed
}

fn orders(people: &[u8]) -> Vec<Vec<u8>> {
    let [] = people else {
        let rest = |at: usize| [&people[..at], &people[at + 1..]].concat();
        let with = |at: usize| orders(&rest(at)).into_iter().map(move |rest| [vec![people[at]], rest].concat());
        return (0..people.len()).flat_map(with).collect();
    };
    vec![Vec::new()]
}

fn both(rule: &Rule) -> RulesAtReview<'_> {
    over(rule, rule)
}

fn over<'r>(then: &'r Rule, now: &'r Rule) -> RulesAtReview<'r> {
    static NOBODY: LazyLock<People> = LazyLock::new(People::default);
    RulesAtReview {
        then: Some(then),
        now: Some(now),
        people: PeopleAtReview { then: &NOBODY, now: &NOBODY },
        escalated: false,
        delegations: &[],
    }
}

#[test]
fn a_stage_is_passed_in_every_order_or_in_none() {
    let stages: [&[NaiveFactor]; 7] = [
        &[(1, 0b0001)],
        &[(2, 0b0011)],
        &[(1, 0b0001), (1, 0b0011)],
        &[(2, 0b0001), (1, 0b0010)],
        &[(1, 0b0011), (1, 0b0110), (1, 0b1100)],
        &[(2, 0b0011), (2, 0b0110)],
        &[(1, 0b0001), (1, 0b0001), (1, 0b0010)],
    ];
    for factors in stages {
        let rule = rule(&[factors.to_vec()], 1);
        let needed: u32 = factors.iter().map(|(needed, _)| needed).sum();
        // Sets of four people, each in some groups of three.
        for mut number in 0..8_u32.pow(4) {
            let people: Vec<u8> = (0..4)
                .map(|_| {
                    let groups = (number % 8) as u8;
                    number /= 8;
                    groups
                })
                .collect();
            if !people.is_sorted() || people.contains(&0) {
                continue;
            }
            let expected = can_be_filled(factors, &people);
            for order in orders(&people) {
                let mut request = request(needed);
                for (at, groups) in order.iter().enumerate() {
                    let before = request.reviews.len();
                    let (after, refused) = given(request, &person(at, *groups), Verdict::Approve, both(&rule));
                    request = after;
                    match refused {
                        None => assert!(request.reviews.len() == before + 1),
                        Some(ReviewRefused::NotAReviewer { .. }) => {
                            assert!(factors.iter().all(|(_, named)| named & groups == 0));
                        }
                        Some(ReviewRefused::StageNeedsOthers { .. } | ReviewRefused::AlreadyDecided(_)) => {}
                        Some(other) => panic!("{other}"),
                    }
                }
                let approved = request.state.word() == RequestStateWord::Approved;
                assert_eq!(approved, expected, "{factors:?} {order:?}");
                assert!(request.reviews.len() <= needed as usize, "nobody votes for nothing");
            }
        }
    }
}

fn factors() -> impl Strategy<Value = Vec<NaiveFactor>> {
    proptest::collection::vec((1..3_u32, 1..16_u8), 1..4)
}

fn stages() -> impl Strategy<Value = Vec<Vec<NaiveFactor>>> {
    proptest::collection::vec(factors(), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever is taken is taken for what the naive count says, stage by stage.
    #[test]
    fn stages_are_passed_as_the_naive_count_says(
        stages in stages(),
        people in proptest::collection::vec(0..16_u8, 0..10),
    ) {
        let rule = rule(&stages, 1);
        let mut request = request(1);
        let mut taken: Vec<u8> = Vec::new();
        for (at, groups) in people.iter().enumerate() {
            let (after, refused) = given(request, &person(at, *groups), Verdict::Approve, both(&rule));
            request = after;
            if refused.is_none() {
                taken.push(*groups);
            }
            let standing = request.standing(both(&rule));
            let passed = standing.stages.iter().filter(|stage| stage.word == StageWord::Passed).count();
            prop_assert_eq!(passed, passes(&stages, &taken));
            let seated: usize =
                standing.stages.iter().flat_map(|stage| &stage.factors).map(|factor| factor.approvals.len()).sum();
            prop_assert_eq!(seated, taken.len());
            for factor in standing.stages.iter().flat_map(|stage| &stage.factors) {
                prop_assert!(factor.approvals.len() <= factor.needed as usize);
            }
            let approved = request.state.word() == RequestStateWord::Approved;
            prop_assert_eq!(approved, passed == stages.len());
            prop_assert_eq!(standing.awaited.is_empty(), approved);
        }
    }

    /// A refused approval was of no use: with it the open stage would not be nearer to its end, whoever else came.
    #[test]
    fn who_is_refused_was_not_needed(factors in factors(), people in proptest::collection::vec(1..16_u8, 1..7)) {
        let rule = rule(std::slice::from_ref(&factors), 1);
        let mut request = request(1);
        for (at, groups) in people.iter().enumerate() {
            request = given(request, &person(at, *groups), Verdict::Approve, both(&rule)).0;
        }
        prop_assert_eq!(request.state.word() == RequestStateWord::Approved, can_be_filled(&factors, &people));
    }

    /// A rule that changes while a request waits never makes approvable what one of the two alone would not approve.
    #[test]
    fn a_change_of_stages_never_widens(
        then in stages(),
        now in stages(),
        at in 0..8_usize,
        people in proptest::collection::vec(1..16_u8, 0..10),
    ) {
        let (old, new) = (rule(&then, 1), rule(&now, 1));
        let mut request = request(old.workflow.deciding.approvals());
        for (who, groups) in people.iter().enumerate() {
            let rules = over(&old, if who < at { &old } else { &new });
            let (after, _) = given(request, &person(who, *groups), Verdict::Approve, rules);
            request = after;
            if request.state.word() != RequestStateWord::Approved {
                continue;
            }
            let named = |stages: &[Vec<NaiveFactor>], groups: u8| stages.iter().flatten().any(|(_, named)| named & groups != 0);
            for stages in if who < at { vec![&then] } else { vec![&then, &now] } {
                let approvals: Vec<u8> = request.reviews.iter().map(|review| {
                    let number: usize = review.reviewer.subject[1..].parse().unwrap();
                    people[number]
                }).collect();
                prop_assert!(approvals.iter().all(|groups| who >= at || named(stages, *groups)));
                let all: Vec<NaiveFactor> = stages.iter().flatten().copied().collect();
                prop_assert!(can_be_filled(&all, &approvals));
            }
            break;
        }
    }
}

#[test]
fn an_empty_set_is_nobody() {
    let anyone = person(0, 0b1111);
    let begun = [vec![vec![(1, 1), (1, 0)]], vec![vec![(1, 1)], vec![]], vec![vec![(1, 1)], vec![(0, 0)]]];
    let never = [vec![], vec![vec![]], vec![vec![(1, 0)]], vec![vec![(0, 0)]]];
    for stages in never.iter().chain(&begun) {
        let rule = rule(stages, 1);
        let (request, refused) = given(request(1), &anyone, Verdict::Approve, both(&rule));
        assert_eq!(request.state, RequestState::Pending, "{stages:?}");
        assert_eq!(refused.is_none(), begun.contains(stages), "{stages:?}");
        // A second one does not help.
        let request = given(request, &person(1, 0b1111), Verdict::Approve, both(&rule)).0;
        assert_eq!(request.state, RequestState::Pending, "{stages:?}");
    }
    // A number of none is one.
    let rule = rule(&[vec![(0, 1)]], 0);
    assert_eq!(given(request(1), &anyone, Verdict::Approve, both(&rule)).0.state.word(), RequestStateWord::Approved);
    assert_eq!(given(request(1), &anyone, Verdict::Deny, both(&rule)).0.state.word(), RequestStateWord::Denied);
}

#[test]
fn more_people_than_are_needed_approve_too() {
    let (two, one) = (rule(&[vec![(2, 1)]], 1), rule(&[vec![(1, 1)]], 1));
    let (request, _) = given(request(2), &person(0, 1), Verdict::Approve, both(&two));
    let (request, _) = given(request, &person(1, 1), Verdict::Approve, over(&two, &one));
    // Under the rule of today there is one more than it takes.
    assert_eq!(request.state.word(), RequestStateWord::Approved);
    // What was needed once stays needed, also when neither rule needs it any more.
    let three = rule(&[vec![(3, 1)]], 1);
    let (waiting, _) = given(self::request(1), &person(0, 1), Verdict::Approve, over(&one, &three));
    let (waiting, _) = given(waiting, &person(1, 1), Verdict::Approve, both(&one));
    assert_eq!((waiting.state.word(), waiting.approvals_needed), (RequestStateWord::Pending, 3));
    let (approved, _) = given(waiting, &person(2, 1), Verdict::Approve, both(&one));
    assert_eq!(approved.state.word(), RequestStateWord::Approved);
}

#[test]
fn denials_are_counted_by_people_and_the_smaller_number_denies() {
    let (three, two) = (rule(&[vec![(2, 1)], vec![(1, 2)]], 3), rule(&[vec![(2, 1)], vec![(1, 2)]], 2));
    let (request, _) = given(request(1), &person(0, 1), Verdict::Deny, both(&three));
    assert_eq!(request.state.word(), RequestStateWord::Pending);
    assert_eq!(
        given(request.clone(), &person(0, 1), Verdict::Deny, both(&three)).1,
        Some(ReviewRefused::AlreadyReviewed)
    );
    assert_eq!(
        given(request.clone(), &person(0, 1), Verdict::Approve, both(&three)).1,
        Some(ReviewRefused::AlreadyReviewed)
    );
    // A reviewer of a later stage may deny, and not yet approve.
    assert!(matches!(
        given(request.clone(), &person(1, 2), Verdict::Approve, both(&three)).1,
        Some(ReviewRefused::StageNeedsOthers { stage }) if stage == "s0"
    ));
    let rules = over(&three, &two);
    assert_eq!(given(request, &person(1, 2), Verdict::Deny, rules).0.state.word(), RequestStateWord::Denied);
}

/// Who reviews by what: whoever is named, and nobody named.
fn stood_in(
    request: &Request,
    who: &Actor,
    named: Option<&Actor>,
    rules: RulesAtReview<'_>,
) -> Result<Request, ReviewRefused> {
    let on_behalf_of = named.map(|actor| actor.user.subject.to_string());
    let (verdict, reason) = (Verdict::Approve, None);
    let new = NewReview {
        verdict,
        reason,
        duration: None,
        uses: None,
        reveals: None,
        digest: request.ask.digest(),
        on_behalf_of,
    };
    let ids = (ReviewId::new(0, [0; 10]), GrantId::new(0, [0; 10]));
    request.clone().review(who, &new, rules, ids, Timestamp::from_millis(50), 1).map(|outcome| outcome.request)
}

fn lending<'r>(rule: &'r Rule, delegations: &'r [Delegation]) -> RulesAtReview<'r> {
    RulesAtReview { delegations, ..both(rule) }
}

fn lent(from: &Actor, to: &Actor, (starts, ends): (i64, i64)) -> Delegation {
    Delegation {
        id: DelegationId::new(0, [0; 10]),
        delegator: from.user.clone(),
        delegator_groups: from.groups.clone(),
        delegate: to.user.clone(),
        service: None,
        rule: None,
        reason: Text::new("away", "reason").unwrap(),
        created_at: Timestamp::from_millis(0),
        starts_at: Timestamp::from_millis(starts),
        ends_at: Timestamp::from_millis(ends),
        ended: None,
    }
}

fn ann() -> Actor {
    Actor::new(ISSUER, "ann", vec!["askers".to_owned(), "a".to_owned()])
}

#[test]
fn a_delegated_right_is_the_delegators_and_is_used_when_it_is_needed() {
    let (lee, mia, dan) = (person(0, 1), person(1, 1), person(2, 0));
    let one = rule(&[vec![(2, 1)]], 1);
    let (open, live) = (request(2), (0, 100));
    let from_lee = [lent(&lee, &dan, live)];
    let taken = stood_in(&open, &dan, None, lending(&one, &from_lee)).unwrap();
    let review = taken.reviews.last().unwrap();
    assert_eq!((&review.reviewer, &review.on_behalf_of.as_ref().unwrap().user), (&dan.user, &lee.user));
    assert_eq!(
        taken.standing(lending(&one, &from_lee)).stages[0].factors[0].approvals,
        std::slice::from_ref(&lee.user)
    );
    // Both have voted.
    assert_eq!(stood_in(&taken, &lee, None, lending(&one, &from_lee)), Err(ReviewRefused::AlreadyReviewed));
    let more = [from_lee[0].clone(), lent(&mia, &dan, live), lent(&lee, &person(3, 0), live)];
    assert_eq!(stood_in(&taken, &dan, Some(&mia), lending(&one, &more)), Err(ReviewRefused::AlreadyReviewed));
    let voted = stood_in(&taken, &person(3, 0), None, lending(&one, &more));
    assert_eq!(voted, Err(ReviewRefused::DelegatorVoted("p0".to_owned())));
    // Of several, one is named, and one's own right comes first.
    let several = stood_in(&open, &dan, None, lending(&one, &more));
    assert_eq!(several, Err(ReviewRefused::SeveralDelegations("`p0`, `p1`".to_owned())));
    assert!(stood_in(&open, &dan, Some(&mia), lending(&one, &more)).is_ok());
    let to_mia = [lent(&lee, &mia, live)];
    assert_eq!(stood_in(&open, &mia, None, lending(&one, &to_mia)).unwrap().reviews[0].on_behalf_of, None);
    assert!(stood_in(&open, &mia, Some(&lee), lending(&one, &to_mia)).unwrap().reviews[0].on_behalf_of.is_some());
    // Not by one that is over, is for another rule, is another's, or is not of a reviewer; and not by a second one.
    let none = Err(ReviewRefused::NotAReviewer { rule: "r".to_owned() });
    let elsewhere = Delegation { rule: Some("other".to_owned()), ..from_lee[0].clone() };
    let ended = from_lee[0].clone().end(lee.user.clone(), Timestamp::from_millis(40)).unwrap();
    for not in [lent(&lee, &dan, (0, 50)), lent(&lee, &dan, (51, 100)), elsewhere, ended, lent(&lee, &mia, live)] {
        assert_eq!(stood_in(&open, &dan, None, lending(&one, std::slice::from_ref(&not))), none);
        let not = [not];
        let named = stood_in(&open, &dan, Some(&lee), lending(&one, &not));
        assert_eq!(named, Err(ReviewRefused::NoDelegation("p0".to_owned())));
    }
    // Of two by one delegator, that one counts with whose groups they review.
    let before = Delegation { delegator_groups: Vec::new(), ..from_lee[0].clone() };
    let twice = [before, from_lee[0].clone()];
    for named in [None, Some(&lee)] {
        assert!(stood_in(&open, &dan, named, lending(&one, &twice)).is_ok());
    }
    let chain = [lent(&lee, &dan, live), lent(&dan, &person(3, 0), live)];
    assert_eq!(stood_in(&open, &person(3, 0), None, lending(&one, &chain)), none);
    let refused = stood_in(&open, &person(3, 0), Some(&dan), lending(&one, &chain));
    assert!(matches!(refused, Err(ReviewRefused::DelegatorNoReviewer { .. })), "{refused:?}");
}

#[test]
fn no_delegation_leads_back_to_the_requester() {
    let (lee, dan) = (person(0, 1), person(1, 0));
    let one = rule(&[vec![(1, 1)]], 1);
    let (open, live) = (request(1), (0, 100));
    // The requester neither uses somebody's right nor lends theirs, to whoever reviews.
    let to_ann = [lent(&lee, &ann(), live)];
    assert_eq!(stood_in(&open, &ann(), None, lending(&one, &to_ann)), Err(ReviewRefused::SelfApproval));
    assert_eq!(stood_in(&open, &ann(), Some(&lee), lending(&one, &to_ann)), Err(ReviewRefused::SelfApproval));
    let from_ann = [lent(&ann(), &dan, live)];
    assert!(matches!(stood_in(&open, &dan, None, lending(&one, &from_ann)), Err(ReviewRefused::NotAReviewer { .. })));
    assert_eq!(stood_in(&open, &dan, Some(&ann()), lending(&one, &from_ann)), Err(ReviewRefused::SelfApproval));
    // Nor does whoever stands in for the requester, or has the requester stand in, since the request was filed.
    let ended = lent(&ann(), &dan, live).end(dan.user.clone(), Timestamp::from_millis(1)).unwrap();
    for tie in [lent(&ann(), &dan, live), lent(&dan, &ann(), live), ended] {
        let tied = [lent(&lee, &dan, live), tie];
        assert_eq!(stood_in(&open, &dan, None, lending(&one, &tied)), Err(ReviewRefused::TiedToRequester));
        assert_eq!(stood_in(&open, &dan, Some(&lee), lending(&one, &tied)), Err(ReviewRefused::TiedToRequester));
    }
    let later = [lent(&lee, &dan, live), lent(&ann(), &dan, (60, 100))];
    assert!(stood_in(&open, &dan, None, lending(&one, &later)).is_ok(), "what has not begun ties nobody");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However rights are lent, nobody votes twice, neither by themselves nor in somebody's place; the requester never does.
    #[test]
    fn one_person_has_one_vote_however_rights_are_lent(
        needed in 1..4_u32,
        loans in proptest::collection::vec((0..7_usize, 0..7_usize, any::<bool>()), 0..10),
        votes in proptest::collection::vec((0..7_usize, proptest::option::of(0..7_usize)), 1..14),
    ) {
        // Of seven, four review, and the last one asks.
        let people: Vec<Actor> = (0..6).map(|at| person(at, u8::from(at < 4))).chain([ann()]).collect();
        let live = |on: bool| if on { (0, 100) } else { (0, 50) };
        let loans: Vec<_> = loans.into_iter().filter(|(from, to, _)| from != to).collect();
        let delegations: Vec<Delegation> =
            loans.iter().map(|(from, to, on)| lent(&people[*from], &people[*to], live(*on))).collect();
        let rule = rule(&[vec![(needed, 1)]], 1);
        let rules = RulesAtReview { delegations: &delegations, ..both(&rule) };
        let lends = |from: usize, to: usize| loans.contains(&(from, to, true));
        let tied = |who: usize| loans.iter().any(|(from, to, _)| (*from, *to) == (6, who) || (*from, *to) == (who, 6));
        let (mut request, mut voted, mut count) = (request(needed), BTreeSet::new(), 0);
        for (who, named) in votes {
            let lenders: Vec<usize> = (0..4).filter(|from| lends(*from, who)).collect();
            let by = match named {
                _ if who == 6 => None,
                Some(from) => (from < 4 && lends(from, who) && !tied(who)).then_some(vec![who, from]),
                None if who < 4 => Some(vec![who]),
                None => (lenders.len() == 1 && !tied(who)).then(|| vec![who, lenders[0]]),
            };
            let taken = by.filter(|by| count < needed && by.iter().all(|person| !voted.contains(person)));
            let result = stood_in(&request, &people[who], named.map(|at| &people[at]), rules);
            prop_assert_eq!(result.is_ok(), taken.is_some(), "{} for {:?}: {:?}", who, named, result.err());
            if let (Ok(after), Some(by)) = (result, taken) {
                (request, count) = (after, count + 1);
                voted.extend(by);
            }
            prop_assert_eq!(request.state.word() == RequestStateWord::Approved, count == needed);
        }
    }
}
