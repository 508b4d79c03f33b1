//! What is refused when rules are stored, with its place.

use super::*;
use crate::address::Domain;
use crate::refusal::Refusal;

fn owners<T>(then: impl Fn(Owner<'_>) -> T) -> [T; 3] {
    let hosts = |domain: &str| domain == "example.org" || domain == "example.com";
    let (domain, account) = (Domain::new("example.org").unwrap(), address("alice@example.org"));
    [then(Owner::Server(&hosts)), then(Owner::Domain(&domain)), then(Owner::Account(&account))]
}

fn document(rules: &str) -> String {
    format!("{{\"rules\":[{rules}]}}")
}

/// On every level.
fn refused(rules: &str) -> [Option<RuleError>; 3] {
    owners(|owner| RuleSet::from_json(owner, &document(rules)).err())
}

fn refused_everywhere(rules: &str, place: &str, what: &str) {
    for error in refused(rules) {
        let error = error.unwrap_or_else(|| panic!("accepted: {rules}"));
        assert_eq!(error.place, place, "{error}, {rules}");
        assert!(error.what.contains(what), "{error}");
        assert_eq!(Refusal::from(error.clone()), Refusal::InvalidArgument(error.to_string()));
    }
}

fn rule(more: &str) -> String {
    format!(r#"{{"name":"r","priority":5,{more}}}"#)
}

// behaviour: rules.refused-place
#[test]
fn what_has_not_the_form_is_refused_where_it_is() {
    for (rules, place, what) in [
        (rule(r#""conditions":[{"from":{"is":"a"},"to":{"is":"b"}}]"#), "rules[0].conditions[0]", "one name"),
        (
            rule(r#""conditions":[{"from":{"is":"a","is-not":"b"}}]"#),
            "rules[0].conditions[0].from",
            "one name",
        ),
        (rule(r#""conditions":[{}]"#), "rules[0].conditions[0]", "one name"),
        (rule(r#""conditions":["from"]"#), "rules[0].conditions[0].from", "needs a value"),
        (rule(r#""conditions":[{"from":"a"}]"#), "rules[0].conditions[0].from", "expected one of `is`"),
        (rule(r#""colour":1"#), "rules[0].colour", "unknown field `colour`"),
        (rule(r#""stage":"later""#), "rules[0].stage", "unknown variant `later`"),
        (rule(r#""stage":"after-delay""#), "rules[0].stage.after-delay", "needs a value"),
        (rule(r#""stage":{"after-delay":{}}"#), "rules[0].stage.after-delay", "seconds"),
        (r#"{"name":"r","priority":10}"#.into(), "rules[0].priority", "1 to 9"),
        (r#"{"name":"r","priority":0}"#.into(), "rules[0].priority", "1 to 9"),
        (r#"{"name":"r"}"#.into(), "rules[0]", "missing field `priority`"),
        (
            rule(r#""conditions":[{"from":{"greater-than":"a"}}]"#),
            "rules[0].conditions[0].from",
            "unknown variant `greater-than`",
        ),
        (
            rule(r#""conditions":[{"buddy":{"in":"true"}}]"#),
            "rules[0].conditions[0].buddy",
            "unknown variant `in`",
        ),
        (
            rule(r#""conditions":[{"current-day":{"less-than":"Mon"}}]"#),
            "rules[0].conditions[0].current-day",
            "unknown variant `less-than`",
        ),
        (rule(r#""conditions":[{"reg-clients":{"is":-1}}]"#), "rules[0].conditions[0].reg-clients.is", "-1"),
        (
            rule(r#""conditions":[{"time-of-day":{"is":"25:00"}}]"#),
            "rules[0].conditions[0].time-of-day.is",
            "HH:MM",
        ),
        (
            rule(r#""conditions":[{"current-date":{"in":"2026-01-01,2026-02-30"}}]"#),
            "rules[0].conditions[0].current-date.in",
            "value 2",
        ),
        (
            rule(r#""conditions":[{"from":{"in":"a,,b"}}]"#),
            "rules[0].conditions[0].from.in",
            "value 2 of the list is empty",
        ),
        (
            rule(r#""conditions":[{"weather":{"is":"a"}}]"#),
            "rules[0].conditions[0]",
            "unknown variant `weather`",
        ),
        (
            rule(r#""actions":[{"redirect-to":["c@example.net","@@"]}]"#),
            "rules[0].actions[0].redirect-to[1]",
            "not an address",
        ),
        (
            rule(r#""actions":[{"redirect-to":["example.net"]}]"#),
            "rules[0].actions[0].redirect-to[0]",
            "user@domain",
        ),
        (
            rule(r#""actions":[{"fork-to":["c@example.net/x"]}]"#),
            "rules[0].actions[0].fork-to[0]",
            "user@domain",
        ),
        (rule(r#""actions":[{"fork-to":[]}]"#), "rules[0].actions[0].fork-to", "1 to 16"),
        (
            rule(r#""actions":[{"fork-to":["c@example.net","C@example.net"]}]"#),
            "rules[0].actions[0].fork-to",
            "twice",
        ),
        (
            rule(r#""actions":[{"send-im":{"to":"c@example.net","text":""}}]"#),
            "rules[0].actions[0].send-im.text",
            "empty",
        ),
        (
            rule(r#""actions":[{"send-im":{"to":"c@example.net","text":"a","x":1}}]"#),
            "rules[0].actions[0].send-im.x",
            "unknown field",
        ),
        (rule(r#""actions":[{"remember-from-in":" "}]"#), "rules[0].actions[0].remember-from-in", "group"),
        (
            rule(r#""actions":[{"remember-from-in":"a\nb"}]"#),
            "rules[0].actions[0].remember-from-in",
            "control",
        ),
        (rule(r#""actions":[{"send-url":"ftp://example.net"}]"#), "rules[0].actions[0].send-url", "http"),
        (rule(r#""actions":[{"send-url":"https:///path"}]"#), "rules[0].actions[0].send-url", "host"),
        (rule(r#""actions":[{"send-url":"https://a b"}]"#), "rules[0].actions[0].send-url", "blanks"),
        (rule(r#""actions":["store","explode"]"#), "rules[0].actions[1]", "unknown variant `explode`"),
        (rule(r#""actions":["reject-with"]"#), "rules[0].actions[0].reject-with", "needs a value"),
        ("1".into(), "rules[0]", "invalid type"),
        ("],\"rules\":[".into(), "rules", "duplicate field"),
        ("]} [".into(), "rules", "trailing"),
    ] {
        refused_everywhere(&rules, place, what);
    }
    for json in ["", "[]", "{}", "nonsense"] {
        for error in owners(|owner| RuleSet::from_json(owner, json).unwrap_err()) {
            assert_eq!(error.place, "rules", "{json}");
        }
    }
}

// behaviour: rules.names
#[test]
fn rules_have_names_of_their_own() {
    for name in ["", "  ", "a\\u0000b", &"x".repeat(256)] {
        let rules = format!(r#"{{"name":"a","priority":5}},{{"name":"{name}","priority":5}}"#);
        refused_everywhere(&rules, "rules[1].name", "name");
    }
    let twice = r#"{"name":"a","priority":5},{"name":"b","priority":5},{"name":"a","priority":"inactive"}"#;
    refused_everywhere(twice, "rules[2].name", "rules[0] has the same name");
}

// behaviour: rules.delay
#[test]
fn a_delay_is_one() {
    for seconds in ["0", "604801"] {
        let rules = rule(&format!(r#""stage":{{"after-delay":{{"seconds":{seconds}}}}}"#));
        refused_everywhere(&rules, "rules[0].stage", "1 to 604800 seconds");
    }
    assert_eq!(refused(&rule(r#""stage":{"after-delay":{"seconds":604800}}"#)), [None, None, None]);
}

// behaviour: rules.contradictions, rules.unknown-names
#[test]
fn conditions_that_nothing_meets() {
    for (conditions, at) in [
        (r#"{"from":{"is":"a@b.c"}},{"to":{"is":"a@b.c"}},{"from":{"is":"d@b.c"}}"#, 2),
        (r#"{"from":{"in":"a@b.c,d@b.c"}},{"from":{"is":"*@x.y"}}"#, 1),
        (r#"{"body":{"is":"*"}},{"body":{"is":"A"}},{"body":{"not-in":"b,a"}}"#, 2),
        (r#"{"presence":{"is":"busy"}},{"presence":{"is":"away"}}"#, 1),
        (
            r#"{"presence":{"is":"o*"}},{"presence":{"not-in":"online,on-phone,out-*"}},{"presence":{"is-not":"offline"}}"#,
            2,
        ),
        (r#"{"presence":{"is":"unknown"}}"#, 0),
        (r#"{"presence":{"is-not":"*"}}"#, 0),
        (r#"{"reg-clients":{"less-than":0}}"#, 0),
        (r#"{"reg-clients":{"greater-than":4294967295}}"#, 0),
        (
            r#"{"reg-clients":{"greater-than":1}},{"reg-clients":{"less-than":3}},{"reg-clients":{"is-not":2}}"#,
            2,
        ),
        (r#"{"time-of-day":{"greater-than":"18:00"}},{"time-of-day":{"less-than":"08:00"}}"#, 1),
        (r#"{"time-of-day":{"greater-than":"23:59"}}"#, 0),
        (r#"{"time-of-day":{"less-than":"00:00"}}"#, 0),
        (r#"{"current-day":{"in":"Sat,Sun"}},{"current-day":{"not-in":"Sun,Sat"}}"#, 1),
        (r#"{"current-date":{"greater-than":"2026-01-01"}},{"current-date":{"less-than":"2026-01-02"}}"#, 1),
        (r#"{"buddy":{"is":true}},{"buddy":{"is-not":true}}"#, 1),
    ] {
        let rules = rule(&format!(r#""conditions":[{conditions}]"#));
        refused_everywhere(&rules, &format!("rules[0].conditions[{at}]"), "nothing meets");
    }
    for conditions in [
        r#"{"from":{"is":"*@b.c"}},{"from":{"is":"a*"}}"#,
        r#"{"from":{"is":"*x"}},{"from":{"is":"*y"}}"#,
        r#"{"from":{"is":"a@b.c"}},{"from":{"is-not":"d@b.c"}},{"from":{"in":"a@*,e"}}"#,
        r#"{"presence":{"is":"o*"}},{"presence":{"is-not":"online"}}"#,
        r#"{"reg-clients":{"greater-than":1}},{"reg-clients":{"less-than":3}}"#,
        r#"{"time-of-day":{"greater-than":"08:00"}},{"time-of-day":{"less-than":"08:02"}}"#,
    ] {
        assert_eq!(
            refused(&rule(&format!(r#""conditions":[{conditions}]"#))),
            [None, None, None],
            "{conditions}"
        );
    }
    refused_everywhere(
        &rule(r#""conditions":[{"presence":{"is":"bussy"}}]"#),
        "rules[0].conditions[0].presence.is",
        "no presence state",
    );
}

proptest::proptest! {
    // behaviour: rules.contradictions
    #[test]
    fn numbers_are_refused_when_there_is_none(tests in proptest::collection::vec((0usize..6, 0u32..6, 0u32..6), 1..5)) {
        let values = |test: &(usize, u32, u32)| {
            let &(operator, one, other) = test;
            match ["is", "is-not", "greater-than", "less-than", "in", "not-in"][operator] {
                list @ ("in" | "not-in") => format!(r#"{{"reg-clients":{{"{list}":"{one},{other}"}}}}"#),
                single => format!(r#"{{"reg-clients":{{"{single}":{one}}}}}"#),
            }
        };
        let met = |number: &u32| tests.iter().all(|(operator, one, other)| match operator {
            0 => number == one,
            1 => number != one,
            2 => number > one,
            3 => number < one,
            4 => [one, other].contains(&number),
            _ => ![one, other].contains(&number),
        });
        let conditions: Vec<String> = tests.iter().map(values).collect();
        let accepted = refused(&rule(&format!(r#""conditions":[{}]"#, conditions.join(",")))).map(|error| error.is_none());
        proptest::prop_assert_eq!(accepted, [(0..9).any(|number| met(&number)); 3]);
    }
}

// behaviour: rules.unreachable
#[test]
fn what_can_never_run() {
    for last in [
        r#""store""#,
        r#""discard""#,
        r#""stop-processing""#,
        r#""discard-rules""#,
        r#"{"reject-with":"no"}"#,
        r#"{"redirect-to":["x@example.net"]}"#,
    ] {
        let rules = rule(&format!(r#""actions":[{{"write-to-log":"a"}},{last},{{"write-to-log":"b"}}]"#));
        refused_everywhere(&rules, "rules[0].actions[2]", "never runs: actions[1]");
        let rules = rule(&format!(r#""actions":[{last},"store"]"#));
        refused_everywhere(&rules, "rules[0].actions[1]", "never runs: actions[0]");
        let behind = format!(
            r#"{{"name":"b","priority":4,"actions":["store"]}},{{"name":"a","priority":6,"actions":[{last}]}}"#
        );
        refused_everywhere(&behind, "rules[0]", "never looked at: rules[1]");
        let conditions = r#""conditions":[{"buddy":{"is":true}}]"#;
        for fine in [
            format!(
                r#"{{"name":"a","priority":6,{conditions},"actions":[{last}]}},{{"name":"b","priority":4}}"#
            ),
            format!(r#"{{"name":"a","priority":6,"actions":[{last}]}},{{"name":"b","priority":"inactive"}}"#),
            format!(r#"{{"name":"a","priority":"inactive","actions":[{last}]}},{{"name":"b","priority":4}}"#),
            format!(
                r#"{{"name":"a","priority":6,"actions":[{last}]}},{{"name":"b","priority":4,"stage":"failure"}}"#
            ),
            format!(
                r#"{{"name":"a","priority":4,"actions":[{last}]}},{{"name":"b","priority":4,"stage":"failure"}}"#
            ),
            format!(
                r#"{{"name":"a","priority":6,"stage":{{"after-delay":{{"seconds":9}}}},"actions":[{last}]}},
                   {{"name":"b","priority":4,"stage":{{"after-delay":{{"seconds":8}}}}}}"#
            ),
        ] {
            assert_eq!(refused(&fine), [None, None, None], "{fine}");
        }
    }
    let forked = rule(r#""actions":[{"fork-to":["x@example.net"]},{"reject-with":"no"}]"#);
    refused_everywhere(&forked, "rules[0].actions[0]", "forked to nobody");
}

/// Which of server, domain and account refuse it as a loop, at this place.
fn loops(conditions: &str, action: &str, place: &str) -> [bool; 3] {
    let rules = rule(&format!(r#""conditions":[{conditions}],"actions":[{action}]"#));
    refused(&rules).map(|error| {
        error.is_some_and(|error| {
            assert!(error.what.contains("this would loop"), "{error}");
            assert_eq!(error.place, format!("rules[0].actions[0].{place}"));
            true
        })
    })
}

// behaviour: rules.loops
#[test]
fn what_would_loop() {
    for name in ["redirect-to", "fork-to"] {
        let place = format!("{name}[1]");
        let to = |address: &str| format!(r#"{{"{name}":["x@example.net","{address}"]}}"#);
        assert_eq!(loops("", &to("alice@example.org"), &place), [true, true, true]);
        assert_eq!(loops("", &to("ALICE@example.org"), &place), [true, true, true]);
        assert_eq!(loops("", &to("bob@example.org"), &place), [true, true, false]);
        assert_eq!(loops("", &to("bob@example.com"), &place), [true, false, false]);
        assert_eq!(loops("", &to("bob@example.net"), &place), [false, false, false]);
        // It may be at work only at night, and loops then.
        let night = r#"{"time-of-day":{"greater-than":"20:00"}},{"from":{"is":"c@example.net"}}"#;
        assert_eq!(loops(night, &to("bob@example.org"), &place), [true, true, false]);
        for condition in [
            r#"{"to":{"is-not":"bob@example.org"}}"#,
            r#"{"to":{"in":"carol@example.org,dave@*"}}"#,
            r#"{"request-uri":{"is":"sales@*"}}"#,
        ] {
            assert_eq!(loops(condition, &to("bob@example.org"), &place), [false, false, false]);
        }
        // An account's rules are applied to what is sent to it, whatever they say of that.
        let other = r#"{"request-uri":{"is":"*/desk"}}"#;
        assert_eq!(loops(other, &to("alice@example.org"), &place), [false, false, true]);
    }
    // The message is a new one of the recipient's.
    let im = r#"{"send-im":{"to":"alice@example.org","text":"Somebody wrote"}}"#;
    assert_eq!(loops("", im, "send-im.to"), [true, true, true]);
    for condition in [
        r#"{"from":{"is":"bob@example.org"}}"#,
        r#"{"authenticated":{"is":"bob@example.org"}}"#,
        r#"{"to":{"is-not":"alice@example.org"}}"#,
        r#"{"method":{"is":"SUBSCRIBE"}}"#,
        r#"{"call-type":{"is-not":"IM"}}"#,
        r#"{"body":{"is":"*urgent*"}}"#,
    ] {
        assert_eq!(loops(condition, im, "send-im.to"), [false, false, false], "{condition}");
    }
    assert_eq!(
        loops(r#"{"body":{"is":"*SOMEBODY*"}},{"buddy":{"is":false}}"#, im, "send-im.to"),
        [true, true, true]
    );
}

// behaviour: rules.names-accounts
#[test]
fn every_account_that_is_named_can_be_looked_for() {
    let rules = set(r#"{"name":"a","priority":5,"actions":[{"fork-to":["b@x.org","c@x.org"]},"store"]},
           {"name":"b","priority":5,"actions":[{"write-to-log":"l"},{"send-im":{"to":"d@x.org","text":"t"}},{"redirect-to":["e@x.org"]}]}"#);
    let named: Vec<_> = rules.names().map(|named| format!("{} {}", named.place, named.address)).collect();
    assert_eq!(
        named,
        [
            "rules[0].actions[0].fork-to[0] b@x.org",
            "rules[0].actions[0].fork-to[1] c@x.org",
            "rules[1].actions[1].send-im.to d@x.org",
            "rules[1].actions[2].redirect-to[0] e@x.org",
        ]
    );
    let missing = rules.names().nth(3).unwrap();
    let wanted = "rules[1].actions[2].redirect-to[0]: there is no account e@x.org";
    assert_eq!(RuleError::no_such_account(&missing).to_string(), wanted);
}

// behaviour: rules.bounds
#[test]
fn sizes_and_counts_are_bounded() {
    let many = |count: usize, one: &str| vec![one; count].join(",");
    let numbered = |count: usize| {
        (0..count).map(|n| format!(r#"{{"name":"{n}","priority":5}}"#)).collect::<Vec<_>>().join(",")
    };
    assert_eq!(refused(&numbered(MAX_RULES)), [None, None, None]);
    refused_everywhere(&numbered(MAX_RULES + 1), "rules", "at most 256 rules");
    let conditions = |count| rule(&format!(r#""conditions":[{}]"#, many(count, r#"{"buddy":{"is":true}}"#)));
    assert_eq!(refused(&conditions(MAX_CONDITIONS)), [None, None, None]);
    refused_everywhere(&conditions(MAX_CONDITIONS + 1), "rules[0].conditions", "at most 32 conditions");
    let actions = |count| rule(&format!(r#""actions":[{}]"#, many(count, r#"{"send-push":"x"}"#)));
    assert_eq!(refused(&actions(MAX_ACTIONS)), [None, None, None]);
    refused_everywhere(&actions(MAX_ACTIONS + 1), "rules[0].actions", "at most 16 actions");
    let picture = |bytes| rule(&format!(r#""conditions":[{{"from":{{"is":"{}"}}}}]"#, "x".repeat(bytes)));
    assert_eq!(refused(&picture(MAX_PICTURE_BYTES)), [None, None, None]);
    refused_everywhere(
        &picture(MAX_PICTURE_BYTES + 1),
        "rules[0].conditions[0].from.is",
        "at most 1024 bytes",
    );
    let text = |bytes| rule(&format!(r#""actions":[{{"reject-with":"{}"}}]"#, "x".repeat(bytes)));
    assert_eq!(refused(&text(MAX_TEXT_BYTES)), [None, None, None]);
    refused_everywhere(&text(MAX_TEXT_BYTES + 1), "rules[0].actions[0].reject-with", "at most 4096 bytes");
    let list = |count| rule(&format!(r#""conditions":[{{"from":{{"in":"{}"}}}}]"#, many(count, "a")));
    assert_eq!(refused(&list(MAX_LIST)), [None, None, None]);
    refused_everywhere(&list(MAX_LIST + 1), "rules[0].conditions[0].from.in", "at most 256 values");
    let pieces =
        |count| rule(&format!(r#""conditions":[{{"body":{{"in":"{}"}}}}]"#, many(count / 4, "*a*b*c*d*")));
    assert_eq!(refused(&pieces(MAX_BODY_PIECES)), [None, None, None]);
    refused_everywhere(&pieces(MAX_BODY_PIECES + 4), "rules[0].conditions", "at most 512 pieces");
    let large = numbered(1).replace('}', &" ".repeat(MAX_JSON_BYTES)) + "}";
    refused_everywhere(&large, "rules", "at most 131072 bytes of JSON");
    // Not from JSON either.
    let rules = |count: usize| {
        let log = Action::WriteToLog("x".repeat(MAX_TEXT_BYTES).parse().unwrap());
        let rule = |n: usize| Rule {
            name: n.to_string(),
            stage: Stage::Immediate,
            priority: Priority::HIGHEST,
            conditions: Vec::new(),
            actions: vec![log.clone(); 8],
        };
        (0..count).map(rule).collect::<Vec<_>>()
    };
    assert!(owners(|owner| RuleSet::new(owner, rules(3))).iter().all(Result::is_ok));
    for result in owners(|owner| RuleSet::new(owner, rules(4))) {
        assert!(result.unwrap_err().what.contains("131072 bytes of JSON"));
    }
    // Nesting is no way to exhaust the stack.
    for open in ["[", "{\"rules\":", "{\"rules\":[{\"conditions\":[", "{\"a\":"] {
        let deep = open.repeat(MAX_JSON_BYTES / open.len());
        assert!(owners(|owner| RuleSet::from_json(owner, &deep)).iter().all(Result::is_err));
    }
}
