//! Which rules come before which, and when a stage is due.

use super::*;

/// Rules that only say who they are, one for each stage and priority.
fn witnesses(level: &str) -> RuleSet {
    let mut rules = Vec::new();
    for stage in [r#""immediate""#, r#""no-answer""#, r#""failure""#, r#"{"after-delay":{"seconds":60}}"#] {
        for priority in ["1", "5", r#""inactive""#, "6", "9", r#""highest""#, "6"] {
            let number = rules.len();
            let shown = priority.replace('"', "");
            rules.push(format!(
                r#"{{"name":"{number}","stage":{stage},"priority":{priority},"actions":[{{"write-to-log":"{level} {shown}"}}]}}"#
            ));
        }
    }
    set(&rules.join(","))
}

fn said(levels: &Levels<'_>, stage: Stage) -> String {
    let signal = Signal::default();
    let verdict = evaluate(levels, stage, &signal.facts());
    let lines = verdict.effects.iter().map(|effect| match effect.kind {
        EffectKind::Log(text) => text.as_str(),
        _ => panic!("only lines"),
    });
    lines.collect::<Vec<_>>().join(", ")
}

// behaviour: rules.merge-order, rules.server-immediate-first, rules.inactive
#[test]
fn the_merge_order_of_the_manual() {
    let sets = ["s", "d", "a"].map(witnesses);
    let levels =
        Levels { server: Some(&sets[0]), domain: Some(&sets[1]), account: Some(&sets[2]), no_answer_ms: 1 };
    let others = "d highest, d 9, d 6, d 6, a highest, a 9, a 6, a 6, a 5, a 1, d 5, d 1";
    assert_eq!(said(&levels, Stage::Immediate), format!("s highest, s 9, s 6, s 6, s 5, s 1, {others}"));
    for stage in [Stage::NoAnswer, Stage::Failure, Stage::AfterDelay { seconds: 60 }] {
        assert_eq!(said(&levels, stage), format!("s highest, s 9, s 6, s 6, {others}, s 5, s 1"), "{stage}");
    }
    assert_eq!(said(&levels, Stage::AfterDelay { seconds: 59 }), "");
}

// behaviour: rules.due
#[test]
fn stages_are_due_one_after_the_other() {
    let delayed = |seconds: u32, name: &str| {
        format!(
            r#"{{"name":"{name}","stage":{{"after-delay":{{"seconds":{seconds}}}}},"priority":5,"actions":[]}}"#
        )
    };
    let account_rules = set(&[delayed(20, "a"), delayed(5, "b"), delayed(90, "c")].join(","));
    let unanswered = r#"{"name":"n","stage":"no-answer","priority":5,"actions":[]}"#;
    let domain_rules = set(&format!("{unanswered},{}", delayed(60, "d")));
    let inactive = r#"{"name":"i","stage":{"after-delay":{"seconds":1}},"priority":"inactive","actions":[]}"#;
    let server_rules = set(inactive);
    let levels = Levels {
        server: Some(&server_rules),
        domain: Some(&domain_rules),
        account: Some(&account_rules),
        no_answer_ms: 20_000,
    };
    let signal = Signal::default();
    let mut seen = Vec::new();
    let mut stage = Stage::Immediate;
    while let Some(due) = evaluate(&levels, stage, &signal.facts()).next {
        assert!(seen.len() < 9, "no end");
        stage = due.stage;
        seen.push((due.after_ms, stage.to_string()));
    }
    let wanted = [
        (5_000, "after 5 s"),
        (20_000, "after 20 s"),
        (20_000, "no-answer"),
        (60_000, "after 60 s"),
        (90_000, "after 90 s"),
    ];
    assert_eq!(seen, wanted.map(|(at, stage)| (at, stage.to_string())));
    // What failed fails at once, and nothing comes after it.
    assert_eq!(evaluate(&levels, Stage::Failure, &signal.facts()).next, None);
    assert_eq!(evaluate(&Levels::default(), Stage::Immediate, &signal.facts()).next, None);
    // Nobody there at all: the engine need not wait.
    let at_once = Levels { no_answer_ms: 0, ..levels };
    assert_eq!(at_once.next_due(Stage::Immediate), Some(Due { stage: Stage::NoAnswer, after_ms: 0 }));
}
