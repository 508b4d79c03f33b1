//! Properties: evaluating against a model that does it the long way, and explaining against evaluating.

use super::*;
use crate::time::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

const ADDRESSES: [&str; 4] = ["a@x.org", "b@x.org", "c@y.org", "C@z.org/Home"];

fn picture() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(
            &["a@x.org", "B@X.org", "*@x.org", "*", "c*", "", "*a*", "MESSAGE", "im"][..]
        )
        .prop_map(String::from),
        "[abc@*.]{0,4}",
    ]
}

fn list_of(values: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let value = values.prop_map(|value| if value.trim().is_empty() { "x".into() } else { value });
    proptest::collection::vec(value, 1..4).prop_map(|values| values.join(","))
}

fn test_of(
    values: fn() -> BoxedStrategy<String>,
    operators: &'static [&'static str],
) -> BoxedStrategy<Value> {
    let one = (proptest::sample::select(operators), values());
    let several = (proptest::sample::select(&["in", "not-in"][..]), list_of(values()));
    prop_oneof![one, several].prop_map(|(operator, value)| serde_json::json!({ operator: value })).boxed()
}

fn condition() -> impl Strategy<Value = Condition> {
    const EQUAL: &[&str] = &["is", "is-not"];
    const ORDER: &[&str] = &["is", "is-not", "greater-than", "less-than"];
    let names =
        &["method", "call-type", "request-uri", "from", "to", "from-name", "authenticated", "body"][..];
    let text = (proptest::sample::select(names), test_of(|| picture().boxed(), EQUAL));
    let states = || {
        proptest::sample::select(&["busy", "*away", "o*", "online", "Be Back"][..])
            .prop_map(String::from)
            .boxed()
    };
    let state = (Just("presence"), test_of(states, EQUAL));
    let number = (
        Just("reg-clients"),
        prop_oneof![
            (proptest::sample::select(ORDER), 0u32..4)
                .prop_map(|(operator, value)| serde_json::json!({ operator: value })),
            proptest::sample::select(&["0,1", "2", "1, 3"][..])
                .prop_map(|list| serde_json::json!({ "not-in": list })),
        ],
    );
    let times =
        || proptest::sample::select(&["00:00", "00:01", "09:30", "23:59"][..]).prop_map(String::from).boxed();
    let days = || proptest::sample::select(&["Mon", "Wed", "Thu", "Sun"][..]).prop_map(String::from).boxed();
    let dates = || {
        proptest::sample::select(&["1970-01-01", "1970-01-02", "2026-11-25"][..])
            .prop_map(String::from)
            .boxed()
    };
    let flag = (
        Just("buddy"),
        (proptest::sample::select(EQUAL), any::<bool>())
            .prop_map(|(operator, value)| serde_json::json!({ operator: value })),
    );
    prop_oneof![
        4 => text,
        1 => state,
        1 => number,
        1 => (Just("time-of-day"), test_of(times, ORDER)),
        1 => (Just("current-day"), test_of(days, EQUAL)),
        1 => (Just("current-date"), test_of(dates, ORDER)),
        1 => flag,
    ]
    .prop_map(|(name, test)| serde_json::from_value(serde_json::json!({ name: test })).unwrap())
}

fn action() -> impl Strategy<Value = Action> {
    let last = [
        "\"stop-processing\"",
        "\"discard-rules\"",
        "\"store\"",
        "\"discard\"",
        r#"{"reject-with":"no"}"#,
        r#"{"redirect-to":["c@y.org","a@x.org"]}"#,
    ];
    let others = [
        r#"{"fork-to":["c@y.org"]}"#,
        r#"{"send-im":{"to":"b@x.org","text":"t"}}"#,
        r#"{"remember-from-in":"G"}"#,
        r#"{"write-to-log":"l"}"#,
        r#"{"send-url":"http://h/"}"#,
        r#"{"send-push":"p"}"#,
    ];
    prop_oneof![1 => proptest::sample::select(last.to_vec()), 4 => proptest::sample::select(others.to_vec())]
        .prop_map(|json| serde_json::from_str(json).unwrap())
}

fn stage() -> impl Strategy<Value = Stage> {
    proptest::sample::select(
        &[
            Stage::Immediate,
            Stage::AfterDelay { seconds: 10 },
            Stage::AfterDelay { seconds: 20 },
            Stage::NoAnswer,
            Stage::Failure,
        ][..],
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    let priority = (0u8..=10).prop_map(|number| match number {
        0 => Priority::INACTIVE,
        10 => Priority::HIGHEST,
        number => Priority::new(number).unwrap(),
    });
    let conditions = proptest::collection::vec(condition(), 0..3);
    let actions = proptest::collection::vec(action(), 0..4);
    ("[a-z]{1,3}", stage(), priority, conditions, actions).prop_map(
        |(name, stage, priority, conditions, actions)| Rule { name, stage, priority, conditions, actions },
    )
}

pub(super) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(rule(), 0..8)
}

fn signal() -> impl Strategy<Value = Signal> {
    let address = || proptest::sample::select(&ADDRESSES[..]).prop_map(address);
    let text = || proptest::option::of("[aBc ]{0,3}");
    let who = (address(), address(), address(), text(), text());
    let when = prop_oneof![Just(0i64), Just(60_000), Just(1_795_599_000_000)];
    let states = proptest::sample::select(&State::ALL[..10]);
    let hops = prop_oneof![3 => Just(0u8), 1 => 15u8..18];
    (who, any::<bool>(), any::<bool>(), states, 0u32..4, when, hops, 0u8..3).prop_map(
        |(
            (from, to, request_uri, from_name, body),
            authenticated,
            buddy,
            presence,
            registrations,
            when,
            hops,
            method,
        )| Signal {
            method: [Method::Message, Method::Subscribe, Method::Notify][usize::from(method)],
            request_uri,
            from,
            from_name,
            to: to.bare(),
            authenticated,
            presence,
            registrations,
            local: LocalTime::at(Timestamp(when), 0),
            body,
            buddy,
            hops,
        },
    )
}

/// Whether a picture matches, by trying everything.
fn glob(picture: &[char], text: &[char]) -> bool {
    match picture {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|eaten| glob(rest, &text[eaten..])),
        [one, rest @ ..] => text.first() == Some(one) && glob(rest, &text[1..]),
    }
}

/// Whether a condition holds, as it stands in JSON.
fn naive_condition(condition: &Condition, signal: &Signal) -> bool {
    let json = serde_json::to_value(condition).unwrap();
    let (name, test) = json.as_object().unwrap().iter().next().unwrap();
    let (operator, value) = test.as_object().unwrap().iter().next().unwrap();
    let LocalTime { time, day, date } = signal.local;
    let from = Some(signal.from.bare_str().to_owned());
    let found = match name.as_str() {
        "method" => Some(signal.method.as_str().to_owned()),
        "call-type" => Some(signal.method.call_type().to_owned()),
        "request-uri" => Some(signal.request_uri.to_string()),
        "from" => from,
        "to" => Some(signal.to.to_string()),
        "from-name" => signal.from_name.clone(),
        "authenticated" => from.filter(|_| signal.authenticated),
        "body" => signal.body.clone(),
        "presence" => Some(signal.presence.to_string()),
        "reg-clients" => Some(signal.registrations.to_string()),
        "time-of-day" => Some(time.to_string()),
        "current-day" => Some(day.to_string()),
        "current-date" => Some(date.to_string()),
        "buddy" => Some(signal.buddy.to_string()),
        other => panic!("{other}"),
    };
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Some(found) = found.map(|found| found.to_lowercase()) else {
        return ["is-not", "not-in"].contains(&operator.as_str());
    };
    let equal = |value: &str| {
        let value = value.to_lowercase().replace("be back", "be-back");
        glob(&value.chars().collect::<Vec<_>>(), &found.chars().collect::<Vec<_>>())
    };
    let any = || value.split(',').any(|value| equal(value.trim()));
    match operator.as_str() {
        "is" => equal(&value),
        "is-not" => !equal(&value),
        "in" => any(),
        "not-in" => !any(),
        // Here numbers have one digit, and times and dates are written so that their order is that of their texts.
        "greater-than" => found > value,
        "less-than" => found < value,
        other => panic!("{other}"),
    }
}

/// The rules as a list, sorted as the manual says, then gone through.
fn naive(
    levels: [&[Rule]; 3],
    no_answer_ms: u64,
    stage: Stage,
    signal: &Signal,
) -> (String, Vec<String>, Option<(u64, Stage)>) {
    let mut merged: Vec<(u8, std::cmp::Reverse<Priority>, usize, &Rule)> = Vec::new();
    for (level, rules) in levels.into_iter().enumerate() {
        for (place, rule) in rules.iter().enumerate() {
            let group = match (level, rule.priority.is_above_five()) {
                (0, _) if stage == Stage::Immediate => 0,
                (0, true) => 0,
                (1, true) => 1,
                (2, _) => 2,
                (1, false) => 3,
                _ => 4,
            };
            if rule.priority != Priority::INACTIVE && rule.stage == stage {
                merged.push((group, std::cmp::Reverse(rule.priority), place, rule));
            }
        }
    }
    merged.sort_by_key(|(group, priority, place, _)| (*group, *priority, *place));
    let mut effects = Vec::new();
    let mut outcome = "continue".to_owned();
    let mut later = true;
    let far = signal.hops >= 16;
    'rules: for (_, _, _, rule) in merged {
        if !rule.conditions.iter().all(|condition| naive_condition(condition, signal)) {
            continue;
        }
        for action in &rule.actions {
            match action {
                Action::StopProcessing => break 'rules,
                Action::DiscardRules => {}
                Action::RedirectTo(_) if far => outcome = "rejected".into(),
                Action::RejectWith(_) => outcome = "rejected".into(),
                Action::RedirectTo(_) => outcome = "redirected".into(),
                Action::Store => outcome = "stored".into(),
                Action::Discard => outcome = "discarded".into(),
                Action::ForkTo(_) | Action::SendIm(_) if far => continue,
                Action::ForkTo(_) => {
                    effects.push("fork".into());
                    continue;
                }
                Action::SendIm(_) => {
                    effects.push("im".into());
                    continue;
                }
                Action::RememberFromIn(_) => {
                    effects.push("remember".into());
                    continue;
                }
                Action::WriteToLog(_) => {
                    effects.push("log".into());
                    continue;
                }
                Action::SendUrl(_) => {
                    effects.push("url".into());
                    continue;
                }
                Action::SendPush(_) => {
                    effects.push("push".into());
                    continue;
                }
            }
            later = false;
            break 'rules;
        }
    }
    if outcome == "rejected" {
        effects.retain(|effect| effect != "fork");
    }
    let moment = |stage: Stage| match stage {
        Stage::Immediate => 0,
        Stage::AfterDelay { seconds } => u64::from(seconds) * 1_000,
        Stage::NoAnswer => no_answer_ms,
        Stage::Failure => u64::MAX,
    };
    let next = levels
        .into_iter()
        .flatten()
        .filter(|rule| rule.priority != Priority::INACTIVE)
        .map(|rule| rule.stage);
    let next = next
        .filter(|next| ![Stage::Immediate, Stage::Failure].contains(next) && moment(*next) > moment(stage));
    let next = next.map(|next| (moment(next), next)).min_by_key(|(at, _)| *at).filter(|_| later);
    (outcome, effects, next)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    // behaviour: rules.merge-order, rules.conditions, rules.operators, rules.actions, rules.stop-processing, rules.discard-rules
    // behaviour: rules.decided, rules.hops, rules.due, rules.explain
    #[test]
    fn evaluating_does_what_the_model_says(
        server in rules(), domain in rules(), account in rules(), stage in stage(), signal in signal(),
    ) {
        let sets = [&server, &domain, &account].map(|rules| RuleSet::in_order(rules.clone()).unwrap());
        let levels = Levels { server: Some(&sets[0]), domain: Some(&sets[1]), account: Some(&sets[2]), no_answer_ms: 15_000 };
        let verdict = evaluate(&levels, stage, &signal.facts());
        let outcome = match verdict.outcome {
            Outcome::Continue => "continue",
            Outcome::Reject(_) => "rejected",
            Outcome::Redirect(_) => "redirected",
            Outcome::Store => "stored",
            Outcome::Discard => "discarded",
        };
        let effects: Vec<String> = verdict.effects.iter().map(|effect| match effect.kind {
            EffectKind::ForkTo(_) => "fork".into(),
            EffectKind::SendIm(_) => "im".into(),
            EffectKind::Remember(_) => "remember".into(),
            EffectKind::Log(_) => "log".into(),
            EffectKind::SendUrl(_) => "url".into(),
            EffectKind::SendPush(_) => "push".into(),
        }).collect();
        let next = verdict.next.map(|due| (due.after_ms, due.stage));
        prop_assert_eq!((outcome.to_owned(), effects, next), naive([&server, &domain, &account], 15_000, stage, &signal));

        // Explaining says the same, and its chain bears it out.
        let explained = explain(&levels, stage, &signal.facts());
        prop_assert_eq!(&explained.verdict, &verdict);
        chain_bears_out(&explained, &sets, &signal);
    }

    // behaviour: rules.json-round-trip
    #[test]
    fn what_is_written_is_read_as_it_was(rules in rules()) {
        let set = RuleSet::in_order(rules).unwrap();
        prop_assert_eq!(RuleSet::load(&set.to_json()).unwrap(), set);
    }
}

// behaviour: rules.explain
#[test]
fn explaining_says_each_step() {
    let rules = set(
        r#"{"name":"friends","priority":9,"conditions":[{"buddy":{"is":true}},{"body":{"is":"*"}}],"actions":["stop-processing"]},
           {"name":"off","priority":"inactive","actions":["discard"]},
           {"name":"strangers","priority":5,"conditions":[{"from":{"in":"BOB@*,x@y.z"}},{"reg-clients":{"greater-than":0}}],
            "actions":[{"fork-to":["c@example.org"]},{"reject-with":"No."}]},
           {"name":"never","priority":1,"actions":["store"]}"#,
    );
    let signal = Signal { hops: MAX_HOPS, ..Signal::default() };
    let levels = account(&rules);
    let explained = explain(&levels, Stage::Immediate, &signal.facts());
    assert_eq!(
        serde_json::to_value(&explained).unwrap(),
        serde_json::json!({
            "stage": "immediate",
            "rules": [
                {
                    "rule": { "level": "account", "place": 0, "name": "friends" },
                    "conditions": [{ "condition": "buddy", "operator": "is", "value": "true", "found": "false", "held": false }],
                    "held": false,
                    "actions": [],
                },
                {
                    "rule": { "level": "account", "place": 2, "name": "strangers" },
                    "conditions": [
                        { "condition": "from", "operator": "in", "value": "BOB@*,x@y.z", "found": "bob@example.org", "held": true },
                        { "condition": "reg-clients", "operator": "greater-than", "value": "0", "found": "1", "held": true },
                    ],
                    "held": true,
                    "actions": [
                        { "action": "fork-to", "value": "[\"c@example.org\"]", "refused": TOO_MANY_HOPS },
                        { "action": "reject-with", "value": "No.", "refused": null },
                    ],
                },
            ],
            "stopped": { "all": { "level": "account", "place": 2, "name": "strangers" } },
            "verdict": {
                "outcome": { "reject": "No." },
                "decided_by": { "level": "account", "place": 2, "name": "strangers" },
                "effects": [],
                "next": null,
            },
        })
    );
    let data = Signal { body: None, buddy: true, ..Signal::default() };
    let explained = explain(&levels, Stage::Immediate, &data.facts());
    assert_eq!(explained.rules[0].conditions[1].found, None);
    let long = Signal { body: Some("ä".repeat(10_000)), buddy: true, ..Signal::default() };
    let explained = explain(&levels, Stage::Immediate, &long.facts());
    assert!(explained.rules[0].conditions[1].found.as_ref().unwrap().chars().count() < 250);
    assert!(matches!(explained.stopped, Stopped::Stage(by) if by.name == "friends"));
}

/// What the chain of an explanation says of itself is so.
fn chain_bears_out(explained: &Explanation<'_>, sets: &[RuleSet], signal: &Signal) {
    for looked_at in &explained.rules {
        let rule = &sets[looked_at.rule.level as usize].rules()[looked_at.rule.place];
        assert_eq!(rule.name, looked_at.rule.name);
        let held = |condition: &Condition| naive_condition(condition, signal);
        let checked: Vec<bool> = looked_at.conditions.iter().map(|checked| checked.held).collect();
        let wanted: Vec<bool> = rule.conditions.iter().map(held).collect();
        assert_eq!(looked_at.held, wanted.iter().all(|held| *held));
        let looked_at_conditions =
            wanted.iter().position(|held| !held).map_or(wanted.len(), |first| first + 1);
        assert_eq!(checked, wanted[..looked_at_conditions]);
        assert!(looked_at.actions.len() <= rule.actions.len());
    }
    let last = explained.rules.last().map(|last| last.rule);
    match explained.stopped {
        Stopped::NoRuleLeft => assert_eq!(explained.verdict.outcome, Outcome::Continue),
        Stopped::Stage(by) => assert_eq!((Some(by), explained.verdict.outcome), (last, Outcome::Continue)),
        Stopped::All(by) => assert_eq!((Some(by), explained.verdict.next), (last, None)),
    }
}
