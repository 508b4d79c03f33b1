//! Rules as they are written: what is taken comes back as it is, and what is not taken changes nothing.

use super::Random;
use super::scene::{Play, Scene, differs, play};
use crate::ledger::aside::Kept;
use crate::people::domain;
use crate::world::{Step, World};
use rosterkit::{Answer, Command, ErrorKind};

fn rule(name: &str, rest: &str) -> String {
    format!(r#"{{"name": "{name}", "priority": 5, {rest}}}"#)
}

fn set(rules: &[String]) -> String {
    format!(r#"{{"rules": [{}]}}"#, rules.join(","))
}

fn list(count: usize, of: impl Fn(usize) -> String) -> String {
    (0..count).map(of).collect::<Vec<_>>().join(",")
}

const LOGS: &str = r#""actions": [{"write-to-log": "x"}]"#;

/// A document that is refused: the sentence by which, and the place that the refusal names.
fn bad(scene: &Scene<'_>, random: &mut Random) -> (String, &'static str, String) {
    let at = random.usize(0..3);
    // It stands behind some that are good.
    let behind = |bad: String| {
        let mut rules: Vec<String> = (0..at).map(|n| rule(&format!("good {n}"), LOGS)).collect();
        rules.push(bad);
        set(&rules)
    };
    let place = |rest: &str| format!("rules[{at}]{rest}");
    let when = |conditions: &str| behind(rule("r", &format!(r#""conditions": [{conditions}], {LOGS}"#)));
    let acts = |actions: &str| behind(rule("r", &format!(r#""actions": [{actions}]"#)));
    let delayed = |seconds: u32| {
        behind(rule("r", &format!(r#""stage": {{"after-delay": {{"seconds": {seconds}}}}}, {LOGS}"#)))
    };
    let (me, other) = (scene.address(0), scene.address(1));
    let long = |bytes: usize| "x".repeat(bytes);
    let address = |n: usize| format!(r#""a{n}@{}""#, other.domain());
    match random.u8(0..25) {
        0 => (set(&[rule("same", LOGS), rule("same", LOGS)]), "rules.names", "rules[1]".into()),
        1 => (delayed(0), "rules.delay", place("")),
        2 => (delayed(7 * 86_400 + 1), "rules.delay", place("")),
        3 => (
            when(r#"{"time-of-day": {"less-than": "10:00"}}, {"time-of-day": {"greater-than": "11:00"}}"#),
            "rules.contradictions",
            place(""),
        ),
        4 => {
            (when(r#"{"buddy": {"is": true}}, {"buddy": {"is": false}}"#), "rules.contradictions", place(""))
        }
        5 => (when(r#"{"presence": {"is": "asleep"}}"#), "rules.unknown-names", place("")),
        6 => (acts(r#""discard", {"write-to-log": "x"}"#), "rules.unreachable", place("")),
        7 => {
            let rules = [rule("first", r#""actions": ["store"]"#), rule("second", LOGS)];
            (set(&rules), "rules.unreachable", "rules[1]".into())
        }
        8 => (acts(&format!(r#"{{"fork-to": ["{me}"]}}"#)), "rules.loops", place(".actions[0]")),
        9 => (acts(&format!(r#"{{"redirect-to": ["{me}"]}}"#)), "rules.loops", place(".actions[0]")),
        10 => (
            acts(&format!(r#"{{"redirect-to": ["nobody-at-all@{}"]}}"#, me.domain())),
            "rules.names-accounts",
            place(".actions[0]"),
        ),
        11 => (
            acts(&format!(r#"{{"send-im": {{"to": "nobody-at-all@{}", "text": "x"}}}}"#, me.domain())),
            "ruled.refused",
            place(".actions[0]"),
        ),
        12 => (
            set(&(0..257).map(|n| rule(&n.to_string(), LOGS)).collect::<Vec<_>>()),
            "rules.bounds",
            String::new(),
        ),
        13 => (acts(&list(17, |_| r#"{"write-to-log": "x"}"#.into())), "rules.bounds", place("")),
        14 => (acts(&format!(r#"{{"redirect-to": [{}]}}"#, list(17, address))), "rules.bounds", place("")),
        15 => (when(&format!(r#"{{"from": {{"is": "{}"}}}}"#, long(1_025))), "rules.bounds", place("")),
        16 => (acts(&format!(r#"{{"write-to-log": "{}"}}"#, long(4_097))), "rules.bounds", place("")),
        17 => (
            when(&format!(r#"{{"from": {{"in": "{}"}}}}"#, list(257, |n| n.to_string()))),
            "rules.bounds",
            place(""),
        ),
        18 => (when(&list(33, |n| format!(r#"{{"from": {{"is-not": "{n}"}}}}"#))), "rules.bounds", place("")),
        19 => (when(r#"{"buddy": {"greater-than": true}}"#), "rules.refused-place", place(".conditions[0]")),
        20 => (when(r#"{"body": {"less-than": "x"}}"#), "rules.operators", place(".conditions[0]")),
        21 => (when(r#"{"weather": {"is": "fine"}}"#), "rules.refused-place", place(".conditions[0]")),
        22 => {
            (acts(r#"{"redirect-to": ["@@"]}"#), "rules.refused-place", place(".actions[0].redirect-to[0]"))
        }
        23 => (acts(r#"{"write-to-log": "x"}, "explode""#), "rules.refused-place", place(".actions[1]")),
        _ => (
            behind(r#"{"name": "r", "priority": 10, "actions": ["store"]}"#.into()),
            "rules.refused-place",
            place(""),
        ),
    }
}

/// One that is taken, and how it comes back.
fn good(scene: &Scene<'_>, random: &mut Random) -> (String, String, &'static str) {
    let ours = |stage: &str, priority: &str, conditions: &str, actions: &str| {
        format!(
            r#"{{"rules":[{{"name":"r","stage":{stage},"priority":{priority},"conditions":[{conditions}],"actions":[{actions}]}}]}}"#
        )
    };
    let at_once = r#""immediate""#;
    let other = scene.address(1);
    match random.u8(0..6) {
        0 => {
            let theirs = r#"{"rules": [{"name": "r", "priority": "Highest", "conditions": [{"'From' Name": {"is not": "*x*"}}], "actions": [{"Remember 'From' in": "G"}, "Stop Processing"]}]}"#;
            let back = ours(
                at_once,
                r#""highest""#,
                r#"{"from-name":{"is-not":"*x*"}}"#,
                r#"{"remember-from-in":"G"},"stop-processing""#,
            );
            (theirs.into(), back, "rules.aliases")
        }
        1 => {
            let theirs = format!(
                r#"{{"rules": [{{"name": "r", "priority": 3, "conditions": [{{"Time Of Day": {{"greater than": "18:00"}}}}, {{"RequestURI": {{"not in": "a,b"}}}}], "actions": [{{"Redirect to": ["{other}"]}}]}}]}}"#
            );
            let back = ours(
                at_once,
                "3",
                r#"{"time-of-day":{"greater-than":"18:00"}},{"request-uri":{"not-in":"a,b"}}"#,
                &format!(r#"{{"redirect-to":["{other}"]}}"#),
            );
            (theirs, back, "rules.aliases")
        }
        2 => {
            // As long as it may be, to the second.
            let seconds = if random.bool() { 1 } else { 7 * 86_400 };
            let stage = format!(r#"{{"after-delay":{{"seconds":{seconds}}}}}"#);
            let same = ours(&stage, "9", "", r#""discard""#);
            (same.clone(), same, "rules.delay")
        }
        3 => {
            let actions = list(16, |n| format!(r#"{{"write-to-log":"{}"}}"#, "y".repeat(4_096 - n)));
            let conditions = list(31, |n| format!(r#"{{"from":{{"is-not":"{n}"}}}}"#));
            let long = format!(r#"{conditions},{{"body":{{"is-not":"{}"}}}}"#, "z".repeat(1_024));
            let same = ours(at_once, "1", &long, &actions);
            (same.clone(), same, "rules.bounds")
        }
        4 => {
            let same = ours(
                r#""no-answer""#,
                r#""inactive""#,
                r#"{"presence":{"in":"away,busy"}},{"buddy":{"is-not":true}}"#,
                &format!(r#"{{"send-im":{{"to":"{other}","text":"ü \"quoted\""}}}},{{"send-push":"p"}}"#),
            );
            (same.clone(), same, "rules.json")
        }
        _ => {
            let rules = list(256, |n| {
                format!(
                    r#"{{"name":"{n}","stage":"failure","priority":5,"conditions":[],"actions":[{{"write-to-log":"{n}"}}]}}"#
                )
            });
            let same = format!(r#"{{"rules":[{rules}]}}"#);
            (same.clone(), same, "rules.bounds")
        }
    }
}

/// One that is taken, and then some that are not: they change nothing, whoever they are of.
pub(super) fn documents(world: &mut World, machine: usize, random: &mut Random) -> Step {
    play(world, machine, random, 2, |scene, random| {
        let kept = Kept::Rules(scene.address(0));
        let (json, back, sentence) = good(scene, random);
        scene.may_be(kept.clone(), vec![vec![r#"{"rules":[]}"#.into()], vec![back.clone()]], &[]);
        scene.must(0, Command::SetRules(json))?;
        scene.is(kept.clone(), vec![back.clone()], &["rules.json", "rules.json-round-trip"])?;
        scene.covered(&[sentence]);
        for _ in 0..3 {
            let (json, sentence, place) = bad(scene, random);
            let error = scene.refused(0, Command::SetRules(json.clone()), ErrorKind::InvalidArgument)?;
            if !error.details.contains(&place) {
                return differs(format!("{json} was refused, and not at {place}: {error}"));
            }
            scene.covered(&[sentence]);
            if sentence == "rules.bounds" {
                continue;
            }
            refused_for_all(scene, &json, sentence)?;
        }
        scene.is(kept, vec![back], &["rules.json", "ruled.refused"])
    })
}

/// A domain does not take it either, where it is not about the account itself.
fn refused_for_all(scene: &mut Scene<'_>, json: &str, sentence: &str) -> Play<()> {
    if matches!(sentence, "rules.loops" | "rules.names") {
        return Ok(());
    }
    let engine = scene.world.engine(scene.machine)?;
    let result = engine.set_rules(Some(domain(scene.machine)), json).map(|()| Answer::Done);
    match result {
        Err(error) if error.kind == ErrorKind::InvalidArgument => Ok(()),
        Err(error) if matches!(error.kind, ErrorKind::Storage { .. } | ErrorKind::Misuse) => {
            let came = scene.world.came(scene.machine, Err(error))?;
            drop(came);
            scene.heal()
        }
        other => scene.smooth().and_then(|()| differs(format!("a domain was given {json}: {other:?}"))),
    }
}
