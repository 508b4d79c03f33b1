//! The form in JSON: names, the committed schema, the example of the documentation.

use super::super::set::Document;
use super::*;
use std::path::PathBuf;

fn docs(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)
}

// behaviour: rules.schema
#[test]
fn the_committed_schema_is_that_of_the_types() {
    let schema = schemars::schema_for!(Document<Vec<Rule>>);
    let wanted = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    let file = docs("rules.schema.json");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, &wanted).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == wanted,
        "docs/rules.schema.json is not what the types say: run UPDATE_EXPECT=1 cargo test -p rosterkit-core schema"
    );
}

// behaviour: rules.json
#[test]
fn the_example_of_the_documentation_is_accepted() {
    let page = std::fs::read_to_string(docs("rules.md")).unwrap();
    let examples: Vec<&str> =
        page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    let me = address("alice@example.org");
    for example in examples {
        let set = RuleSet::from_json(Owner::Account(&me), example).unwrap();
        assert_eq!(RuleSet::from_json(Owner::Account(&me), &set.to_json()).unwrap(), set);
        // What the page says comes out of it is what comes out: nothing is left away or called otherwise.
        let mut json: serde_json::Value = serde_json::from_str(example).unwrap();
        json.as_object_mut().unwrap().remove("$schema");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&set.to_json()).unwrap(), json);
    }
    // It has every condition and every action.
    let schema = std::fs::read_to_string(docs("rules.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    for kind in ["Condition", "Action"] {
        for variant in schema["$defs"][kind]["oneOf"].as_array().unwrap() {
            let name = variant["required"][0].as_str().or(variant["const"].as_str()).unwrap();
            assert!(page.contains(&format!("\"{name}\"")), "the example has no {name}");
        }
    }
}

// behaviour: rules.aliases
#[test]
fn communigate_pros_own_names_are_accepted() {
    let theirs = r#"
        {"name":"a","priority":"Highest","stage":"immediately","conditions":[
            {"Method":{"is":"MESSAGE"}}, {"Operation":{"is not":"x"}}, {"CallType":{"in":"IM"}}, {"RequestURI":{"not in":"x,y"}},
            {"From":{"is":"*"}}, {"To":{"is":"*"}}, {"'From' Name":{"is":"*"}}, {"Authenticated":{"is":"*"}},
            {"Presence":{"is not":"Be Back"}}, {"RegClients":{"greater than":0}}, {"Time Of Day":{"less than":"12:00"}},
            {"Current Day":{"is":"Mon"}}, {"Current Date":{"is not":"2026-01-01"}}, {"Body":{"is":"*"}}, {"Buddy":{"is not":true}}],
         "actions":[{"Fork to":["b@x.org"]}, {"SendIM":{"to":"b@x.org","text":"t"}}, {"Remember 'From' in":"G"},
            {"Write To Log":"l"}, {"SendURL":"http://h"}, {"SendPush":"p"}, "Stop Processing"]},
        {"name":"b","priority":"Inactive","stage":"no answer","actions":[{"Reject with":"no"}]},
        {"name":"c","priority":1,"stage":{"after a delay":{"seconds":3}},"actions":[{"Redirect to":["b@x.org"]}]},
        {"name":"d","priority":1,"stage":"failure","actions":["Discard Rules"]},
        {"name":"e","priority":"inactive","actions":["Store"]},
        {"name":"f","priority":"inactive","actions":["Discard"]}"#;
    let ours = r#"
        {"name":"a","priority":"highest","stage":"immediate","conditions":[
            {"method":{"is":"MESSAGE"}}, {"method":{"is-not":"x"}}, {"call-type":{"in":"IM"}}, {"request-uri":{"not-in":"x,y"}},
            {"from":{"is":"*"}}, {"to":{"is":"*"}}, {"from-name":{"is":"*"}}, {"authenticated":{"is":"*"}},
            {"presence":{"is-not":"Be Back"}}, {"reg-clients":{"greater-than":0}}, {"time-of-day":{"less-than":"12:00"}},
            {"current-day":{"is":"Mon"}}, {"current-date":{"is-not":"2026-01-01"}}, {"body":{"is":"*"}}, {"buddy":{"is-not":true}}],
         "actions":[{"fork-to":["b@x.org"]}, {"send-im":{"to":"b@x.org","text":"t"}}, {"remember-from-in":"G"},
            {"write-to-log":"l"}, {"send-url":"http://h"}, {"send-push":"p"}, "stop-processing"]},
        {"name":"b","priority":"inactive","stage":"no-answer","actions":[{"reject-with":"no"}]},
        {"name":"c","priority":1,"stage":{"after-delay":{"seconds":3}},"actions":[{"redirect-to":["b@x.org"]}]},
        {"name":"d","priority":1,"stage":"failure","actions":["discard-rules"]},
        {"name":"e","priority":"inactive","actions":["store"]},
        {"name":"f","priority":"inactive","actions":["discard"]}"#;
    assert_eq!(set(theirs), set(ours));
    // And are written as ours.
    let written: serde_json::Value = serde_json::from_str(&set(theirs).to_json()).unwrap();
    let ours: Vec<serde_json::Map<_, _>> = serde_json::from_str(&format!("[{ours}]")).unwrap();
    for (number, rule) in ours.iter().enumerate() {
        for (field, value) in rule {
            assert_eq!(&written["rules"][number][field], value, "{field} of rule {number}");
        }
    }
}
