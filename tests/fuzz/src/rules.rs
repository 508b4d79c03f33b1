//! Rules, which come as JSON.

use rosterkit_core::address::{Address, Domain};
use rosterkit_core::presence::State;
use rosterkit_core::rules::{
    Facts, Levels, LocalTime, Method, Outcome, Owner, RuleSet, Stage, evaluate, explain,
};
use rosterkit_core::time::Timestamp;

/// The first byte says whose rules they are to be, the next eight what the signal is like, the rest is JSON. What is
/// accepted comes back as it was, and says the same dry as in earnest. Says whether it was accepted.
pub fn rules(input: &[u8]) -> bool {
    let Some((head, json)) = input.split_first_chunk::<9>() else { return false };
    let Ok(json) = std::str::from_utf8(json) else { return false };
    let (Ok(domain), Ok(account)) = (Domain::new("example.org"), Address::account("alice@example.org"))
    else {
        return false;
    };
    let hosts = |domain: &str| domain != "example.net";
    let owner = match head[0] % 3 {
        0 => Owner::Server(&hosts),
        1 => Owner::Domain(&domain),
        _ => Owner::Account(&account),
    };
    let Ok(set) = RuleSet::load(json) else {
        assert!(RuleSet::from_json(owner, json).is_err());
        return false;
    };
    assert_eq!(RuleSet::load(&set.to_json()).as_ref(), Ok(&set));
    apply(&set, head);
    let accepted = RuleSet::from_json(owner, json);
    if let Ok(accepted) = &accepted {
        assert_eq!(RuleSet::from_json(owner, &accepted.to_json()).as_ref(), Ok(&set));
        for named in accepted.names() {
            assert!(named.place.starts_with("rules["));
        }
    }
    accepted.is_ok()
}

/// Every stage, one after the other, on all levels.
fn apply(set: &RuleSet, head: &[u8; 9]) {
    let [_, flags, presence, registrations, hops, time @ ..] = *head;
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let (Ok(from), Ok(to)) =
        (Address::new("Bob@example.net/Phone"), Address::new("alice@example.org/\u{c4}rger"))
    else {
        return;
    };
    let moment = Timestamp(i64::from(i32::from_be_bytes(time)) * 60_000);
    let facts = Facts {
        method: if flag(0) { Method::Subscribe } else { Method::Message },
        request_uri: &to,
        from: &from,
        from_name: flag(1).then_some("B\u{d6}B \u{3a3}\u{3a3}"),
        to: &to,
        authenticated: flag(2),
        presence: State::ALL[usize::from(presence) % 10],
        registrations: registrations.into(),
        local: LocalTime::at(moment, i16::from(flags) * 8 - 1_024),
        body: flag(3).then_some("For Free: \u{130}stanbul, *only* today"),
        buddy: flag(4),
        hops,
    };
    let some = |bit| flag(bit).then_some(set);
    let levels = Levels { server: some(5), domain: some(6), account: Some(set), no_answer_ms: 30_000 };
    let mut stage = Some(Stage::Immediate);
    while let Some(now) = stage {
        let verdict = evaluate(&levels, now, &facts);
        let explained = explain(&levels, now, &facts);
        assert_eq!(explained.verdict, verdict);
        assert_eq!(verdict.decided_by.is_some(), verdict.outcome != Outcome::Continue);
        let later = verdict.next.map(|due| (due.after_ms, due.stage));
        assert!(later.is_none_or(|(_, later)| later != now));
        stage = later.map(|(_, later)| later);
    }
    evaluate(&levels, Stage::Failure, &facts);
}
