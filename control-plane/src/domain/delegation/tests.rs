//! How long a delegation lasts, for which requests it is, and when it counts.

use super::*;

fn at(secs: u64) -> Timestamp {
    Timestamp::default().plus(Span::from_secs(secs))
}

fn user(name: &str) -> User {
    User { issuer: "https://id.example".into(), subject: name.into() }
}

fn delegation(from: u64, until: u64) -> Delegation {
    Delegation {
        id: DelegationId::new(0, [0; 10]),
        delegator: user("lee"),
        delegator_groups: vec!["leads".to_owned()],
        delegate: user("dan"),
        service: None,
        rule: None,
        reason: Text::new("away", "reason").unwrap(),
        created_at: at(0),
        starts_at: at(from),
        ends_at: at(until),
        ended: None,
    }
}

#[test]
fn it_lasts_a_minute_at_least_and_thirty_days_at_most() {
    const DAY: u64 = 24 * 3_600;
    let now = at(1_000);
    let check = |starts_at: Option<u64>, lasting: Lasting| {
        let (to, reason) = ("dan".to_owned(), "away".to_owned());
        let starts_at = starts_at.map(at);
        period(&NewDelegation { to, service: None, rule: None, reason, starts_at, lasting }, now)
    };
    let (span, until) = (|secs| Lasting::For(Span::from_secs(secs)), |secs| Lasting::Until(at(secs)));
    assert_eq!(check(None, span(60)), Ok((now, at(1_060))));
    assert_eq!(check(None, span(30 * DAY)), Ok((now, at(1_000 + 30 * DAY))));
    assert_eq!(check(Some(2_000), until(2_060)), Ok((at(2_000), at(2_060))));
    assert_eq!(check(Some(1_000 + 30 * DAY), span(DAY)), Ok((at(1_000 + 30 * DAY), at(1_000 + 31 * DAY))));
    for short in [span(59), until(1_059), until(1_000), until(0)] {
        assert_eq!(check(None, short), Err(DelegationUnfit::TooShort));
    }
    let over = Span::from_secs(30 * DAY + 1);
    assert_eq!(check(None, Lasting::For(over)), Err(DelegationUnfit::TooLong(over)));
    assert_eq!(check(None, until(1_000 + 30 * DAY + 1)), Err(DelegationUnfit::TooLong(over)));
    let endless = Span::from_millis(u64::MAX);
    assert_eq!(check(None, Lasting::For(endless)), Err(DelegationUnfit::TooLong(endless)));
    for start in [999, 1_001 + 30 * DAY] {
        assert_eq!(check(Some(start), span(DAY)), Err(DelegationUnfit::Start(at(start))));
    }
}

#[test]
fn it_is_for_what_it_names() {
    let all = delegation(0, 100);
    let service = Delegation { service: Some("a".to_owned()), ..all.clone() };
    let rule = Delegation { rule: Some("r".to_owned()), ..service.clone() };
    for (is, about) in [(all, [true; 3]), (service, [true, true, false]), (rule, [true, false, false])] {
        assert_eq!([is.covers("a", "r"), is.covers("a", "s"), is.covers("b", "r")], about);
    }
}

#[test]
fn it_counts_from_its_start_until_its_end() {
    let of = delegation(100, 200);
    let words = |of: &Delegation| [99, 100, 199, 200].map(|secs| of.word(at(secs)).as_str());
    assert_eq!(words(&of), ["scheduled", "active", "active", "expired"]);
    let ended = of.clone().end(user("dan"), at(150)).unwrap();
    assert_eq!(words(&ended), ["ended"; 4]);
    assert_eq!(ended.clone().end(user("lee"), at(151)), Err(DelegationOver));
    assert_eq!(of.clone().end(user("lee"), at(200)), Err(DelegationOver));
    assert!(of.clone().end(user("lee"), at(0)).is_ok());
    // Since when, now: whether it counted in between.
    for (since, now, was, was_ended) in [
        (0, 99, false, false),
        (0, 100, true, true),
        (149, 500, true, true),
        (150, 500, true, false),
        (199, 500, true, false),
        (200, 500, false, false),
    ] {
        assert_eq!(of.was_active_since(at(since), at(now)), was, "{since} {now}");
        assert_eq!(ended.was_active_since(at(since), at(now)), was_ended, "{since} {now}");
    }
    let never = of.end(user("lee"), at(50)).unwrap();
    assert!(!never.was_active_since(at(0), at(500)), "ended before it began");
}
