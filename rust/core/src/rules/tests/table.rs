//! Every condition with every operator that it has, and every action.

use super::*;

/// Whether the rule with this one condition matches.
fn holds(condition: &str, signal: &Signal) -> bool {
    let rules =
        set(&format!(r#"{{"name":"r","priority":5,"conditions":[{condition}],"actions":["store"]}}"#));
    evaluate(&account(&rules), Stage::Immediate, &signal.facts()).outcome == Outcome::Store
}

fn check(rows: &[(&str, bool)], signal: &Signal) {
    for (condition, wanted) in rows {
        assert_eq!(holds(condition, signal), *wanted, "{condition}");
    }
}

// behaviour: rules.conditions, rules.operators
#[test]
fn texts() {
    let signal = Signal { request_uri: address("alice@example.org/Desk"), ..Signal::default() };
    for (name, text, part) in [
        ("method", "MESSAGE", "mess*"),
        ("call-type", "IM", "*m"),
        ("request-uri", "alice@example.org/desk", "*/desk"),
        ("from", "bob@example.org", "BOB@*"),
        ("to", "alice@example.org", "*@example.*"),
        ("from-name", "bob", "*o*"),
        ("authenticated", "bob@example.org", "*"),
        ("body", "lunch at noon?", "*NOON*"),
    ] {
        for (operator, value, wanted) in [
            ("is", text, true),
            ("is", part, true),
            ("is", "nobody", false),
            ("is-not", text, false),
            ("is-not", part, false),
            ("is-not", "nobody", true),
            ("in", &format!("nobody, {text}"), true),
            ("in", &format!("{part},nobody"), true),
            ("in", "nobody,no*", false),
            ("not-in", &format!("nobody,{part}"), false),
            ("not-in", "nobody,no*", true),
        ] {
            let condition = format!(r#"{{"{name}":{{"{operator}":"{value}"}}}}"#);
            assert_eq!(holds(&condition, &signal), wanted, "{condition}");
        }
    }
}

// behaviour: rules.missing
#[test]
fn what_is_missing_is_nothing() {
    let signal = Signal { from_name: None, authenticated: false, body: None, ..Signal::default() };
    for name in ["from-name", "authenticated", "body"] {
        for (test, wanted) in [
            (r#"{"is":"*"}"#, false),
            (r#"{"is":""}"#, false),
            (r#"{"in":"*,b"}"#, false),
            (r#"{"is-not":"*"}"#, true),
            (r#"{"not-in":"*,b"}"#, true),
        ] {
            assert_eq!(holds(&format!(r#"{{"{name}":{test}}}"#), &signal), wanted, "{name} {test}");
        }
    }
}

// behaviour: rules.conditions
#[test]
fn methods_and_call_types() {
    for (method, name, call_type) in [
        (Method::Message, "MESSAGE", "IM"),
        (Method::Subscribe, "SUBSCRIBE", ""),
        (Method::Notify, "NOTIFY", ""),
    ] {
        assert_eq!((method.as_str(), method.call_type()), (name, call_type));
        let signal = Signal { method, ..Signal::default() };
        assert!(holds(&format!(r#"{{"method":{{"is":"{name}"}}}}"#), &signal));
        assert!(holds(&format!(r#"{{"call-type":{{"is":"{call_type}"}}}}"#), &signal));
    }
}

// behaviour: rules.conditions, rules.operators
#[test]
fn presence_registrations_and_buddies() {
    let signal = Signal { presence: State::InMeeting, registrations: 2, buddy: true, ..Signal::default() };
    check(
        &[
            (r#"{"presence":{"is":"in-meeting"}}"#, true),
            (r#"{"presence":{"is":"In Meeting"}}"#, true),
            (r#"{"presence":{"is":"in-*"}}"#, true),
            (r#"{"presence":{"is":"busy"}}"#, false),
            (r#"{"presence":{"is-not":"busy"}}"#, true),
            (r#"{"presence":{"in":"busy,in-meeting"}}"#, true),
            (r#"{"presence":{"not-in":"busy,in-meeting"}}"#, false),
            (r#"{"reg-clients":{"is":2}}"#, true),
            (r#"{"reg-clients":{"is-not":2}}"#, false),
            (r#"{"reg-clients":{"in":"0, 2"}}"#, true),
            (r#"{"reg-clients":{"not-in":"0,2"}}"#, false),
            (r#"{"reg-clients":{"greater-than":1}}"#, true),
            (r#"{"reg-clients":{"greater-than":2}}"#, false),
            (r#"{"reg-clients":{"less-than":3}}"#, true),
            (r#"{"reg-clients":{"less-than":2}}"#, false),
            (r#"{"buddy":{"is":true}}"#, true),
            (r#"{"buddy":{"is":false}}"#, false),
            (r#"{"buddy":{"is-not":true}}"#, false),
            (r#"{"buddy":{"is-not":false}}"#, true),
        ],
        &signal,
    );
}

// behaviour: rules.conditions, rules.operators, rules.local-time
#[test]
fn times_days_and_dates() {
    check(
        &[
            (r#"{"time-of-day":{"is":"09:30"}}"#, true),
            (r#"{"time-of-day":{"is-not":"09:30"}}"#, false),
            (r#"{"time-of-day":{"in":"09:29,09:30"}}"#, true),
            (r#"{"time-of-day":{"not-in":"09:29,09:31"}}"#, true),
            (r#"{"time-of-day":{"greater-than":"09:29"}}"#, true),
            (r#"{"time-of-day":{"greater-than":"09:30"}}"#, false),
            (r#"{"time-of-day":{"less-than":"09:31"}}"#, true),
            (r#"{"time-of-day":{"less-than":"09:30"}}"#, false),
            (r#"{"current-day":{"is":"Wed"}}"#, true),
            (r#"{"current-day":{"is-not":"Wed"}}"#, false),
            (r#"{"current-day":{"in":"Sat,Sun"}}"#, false),
            (r#"{"current-day":{"not-in":"sat,sun"}}"#, true),
            (r#"{"current-date":{"is":"2026-11-25"}}"#, true),
            (r#"{"current-date":{"is-not":"2026-11-25"}}"#, false),
            (r#"{"current-date":{"in":"2026-11-24,2026-11-25"}}"#, true),
            (r#"{"current-date":{"not-in":"2026-11-25"}}"#, false),
            (r#"{"current-date":{"greater-than":"2026-11-24"}}"#, true),
            (r#"{"current-date":{"greater-than":"2026-11-25"}}"#, false),
            (r#"{"current-date":{"less-than":"2026-11-26"}}"#, true),
            (r#"{"current-date":{"less-than":"2026-11-25"}}"#, false),
        ],
        &Signal::default(),
    );
}

// behaviour: rules.all-conditions
#[test]
fn all_conditions_must_hold_and_none_always_do() {
    let (yes, no) = (r#"{"buddy":{"is":false}}"#, r#"{"buddy":{"is":true}}"#);
    check(&[("", true), (yes, true)], &Signal::default());
    for both in [[yes, no], [no, yes]] {
        assert!(!holds(&both.join(","), &Signal::default()));
    }
    assert!(holds(&[yes, yes].join(","), &Signal::default()));
}

fn names(targets: &Targets) -> String {
    targets.as_slice().iter().map(Target::to_string).collect::<Vec<_>>().join(" ")
}

/// What one rule with these actions says.
fn acts(actions: &str, hops: u8) -> String {
    let rules = set(&format!(
        r#"{{"name":"first","priority":5,"actions":[{actions}]}},
           {{"name":"next","priority":4,"actions":[{{"write-to-log":"next"}}]}},
           {{"name":"later","priority":4,"stage":"no-answer","actions":["store"]}}"#
    ));
    let signal = Signal { hops, ..Signal::default() };
    let verdict = evaluate(&account(&rules), Stage::Immediate, &signal.facts());
    let outcome = match verdict.outcome {
        Outcome::Redirect(targets) => format!("redirect {}", names(targets)),
        other => format!("{other:?}"),
    };
    assert_eq!(verdict.decided_by.is_some(), verdict.outcome != Outcome::Continue);
    let effects = verdict.effects.iter().map(|effect| match effect.kind {
        EffectKind::ForkTo(targets) => format!("fork {}", names(targets)),
        EffectKind::SendIm(im) => format!("im {} {}", im.to, im.text),
        EffectKind::Remember(group) => format!("remember {group}"),
        EffectKind::Log(text) => format!("log {text}"),
        EffectKind::SendUrl(url) => format!("url {url}"),
        EffectKind::SendPush(text) => format!("push {text}"),
    });
    let effects = effects.collect::<Vec<_>>().join(", ");
    let next = if verdict.next.is_some() { "later stages" } else { "end" };
    format!("{outcome}; {effects}; {next}")
}

// behaviour: rules.actions, rules.stop-processing, rules.discard-rules, rules.decided
#[test]
fn every_action() {
    for (actions, wanted) in [
        (r#""stop-processing""#, "Continue; ; later stages"),
        (r#""discard-rules""#, "Continue; ; end"),
        (r#"{"reject-with":"no"}"#, "Reject(\"no\"); ; end"),
        (r#"{"redirect-to":["c@example.org"]}"#, "redirect c@example.org; ; end"),
        (r#""store""#, "Store; ; end"),
        (r#""discard""#, "Discard; ; end"),
        (r#"{"fork-to":["c@example.org"]}"#, "Continue; fork c@example.org, log next; later stages"),
        (
            r#"{"send-im":{"to":"c@example.org","text":"hi"}},{"remember-from-in":"Fans"},{"write-to-log":"seen"}"#,
            "Continue; im c@example.org hi, remember Fans, log seen, log next; later stages",
        ),
        (
            r#"{"send-push":"ping"},{"send-url":"https://example.org/x"},"stop-processing""#,
            "Continue; push ping, url https://example.org/x; later stages",
        ),
        // What is refused makes no copies; the rest stands.
        (
            r#"{"write-to-log":"seen"},{"fork-to":["c@example.org"]},{"reject-with":"no"}"#,
            "Reject(\"no\"); log seen; end",
        ),
        (r#"{"fork-to":["c@example.org"]},"store""#, "Store; fork c@example.org; end"),
    ] {
        assert_eq!(acts(actions, 0), wanted, "{actions}");
    }
}

// behaviour: rules.hops
#[test]
fn what_was_sent_on_too_often_is_not_sent_on_again() {
    let redirect = r#"{"redirect-to":["c@example.org"]}"#;
    assert_eq!(acts(redirect, MAX_HOPS - 1), "redirect c@example.org; ; end");
    assert_eq!(acts(redirect, MAX_HOPS), format!("Reject({TOO_MANY_HOPS:?}); ; end"));
    let others =
        r#"{"fork-to":["c@example.org"]},{"send-im":{"to":"c@example.org","text":"hi"}},{"send-push":"p"}"#;
    assert_eq!(acts(others, MAX_HOPS), "Continue; push p, log next; later stages");
}
