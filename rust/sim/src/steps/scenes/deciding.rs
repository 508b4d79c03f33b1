//! Rules of all levels, made so that it is known of each condition whether it holds: what a dry run says they decide, and
//! what then comes of a message.

use super::Random;
use super::scene::{Play, Scene, differs, play};
use crate::ledger::aside::{Kept, line};
use crate::people::{domain, wall};
use crate::world::{Step, World};
use rosterkit::{Answer, Command, ErrorKind, HostEvent, Word};
use serde_json::{Value, json};
use std::time::Duration;

/// What is so when the rules look.
struct Facts {
    from: String,
    to: String,
    text: String,
    is_buddy: bool,
    /// The sender has an account here, and has proved it.
    is_known: bool,
    /// In minutes since 1970, where the recipient is.
    minutes: i64,
}

/// A condition, and whether it holds.
type Condition = (Value, bool);

/// A rule, as it was made.
struct Rule {
    name: String,
    stage: &'static str,
    /// 0 is inactive.
    priority: u64,
    conditions: Vec<Condition>,
    actions: Vec<Value>,
}

impl Rule {
    fn holds(&self) -> bool {
        self.conditions.iter().all(|(_, holds)| *holds)
    }

    /// As it is written, and comes back.
    fn json(&self) -> String {
        let priority = match self.priority {
            0 => r#""inactive""#.to_owned(),
            10 => r#""highest""#.to_owned(),
            priority => priority.to_string(),
        };
        let all = |values: Vec<&Value>| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let conditions = all(self.conditions.iter().map(|(json, _)| json).collect());
        let actions = all(self.actions.iter().collect());
        format!(
            r#"{{"name":"{}","stage":"{}","priority":{priority},"conditions":[{conditions}],"actions":[{actions}]}}"#,
            self.name, self.stage
        )
    }
}

fn document(rules: &[Rule]) -> String {
    let all: Vec<String> = rules.iter().map(Rule::json).collect();
    format!(r#"{{"rules":[{}]}}"#, all.join(","))
}

/// One that compares a text with pictures: some of them match it.
fn about_text(name: &str, text: Option<&str>, random: &mut Random) -> Condition {
    let matches = random.bool();
    let picture = match (text, random.u8(0..4)) {
        (Some(text), 0) if matches => text.to_uppercase(),
        (Some(text), 1) if matches => format!("*{}", &text[text.len() / 2..]),
        (Some(text), 2) if matches => format!("{}*{}", &text[..1], &text[text.len() - 1..]),
        (Some(text), _) if matches => text.to_owned(),
        (_, 0) => "nothing like it*".to_owned(),
        // It is there once.
        (Some(text), 1) => format!("*{text}*{text}*"),
        _ => "*, which is not there".replace(", ", " "),
    };
    let is = matches && text.is_some();
    match random.u8(0..4) {
        0 => (json!({ name: { "is": picture } }), is),
        1 => (json!({ name: { "is-not": picture } }), !is),
        2 => (json!({ name: { "in": format!("something else,{picture}") } }), is),
        _ => (json!({ name: { "not-in": format!("something else,{picture}") } }), !is),
    }
}

/// One that compares what has an order with a value of its sort.
fn about_order(
    name: &str,
    is: i64,
    than: i64,
    write: impl Fn(i64) -> Value,
    random: &mut Random,
) -> Condition {
    match random.u8(0..4) {
        0 => (json!({ name: { "is": write(than) } }), is == than),
        1 => (json!({ name: { "is-not": write(than) } }), is != than),
        2 => (json!({ name: { "greater-than": write(than) } }), is > than),
        _ => (json!({ name: { "less-than": write(than) } }), is < than),
    }
}

/// Year, month and day, so many days after 1970 (Howard Hinnant's).
pub(super) fn date(days: i64) -> String {
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{:04}-{month:02}-{of_month:02}", year + era * 400 + i64::from(month <= 2))
}

impl Facts {
    fn condition(&self, kind: u8, random: &mut Random) -> Condition {
        let minute = self.minutes.rem_euclid(1_440);
        let days = self.minutes.div_euclid(1_440);
        let clock = |minute: i64| json!(format!("{:02}:{:02}", minute / 60, minute % 60));
        match kind {
            0 => about_text("from", Some(&self.from), random),
            1 => about_text("to", Some(&self.to), random),
            2 => about_text("request-uri", Some(&self.to), random),
            3 => about_text("body", Some(&self.text), random),
            4 => about_text("method", Some("MESSAGE"), random),
            5 => about_text("call-type", Some("IM"), random),
            6 => about_text("authenticated", self.is_known.then_some(self.from.as_str()), random),
            // Nobody calls themselves anything here.
            7 => about_text("from-name", None, random),
            8 => {
                let (state, is_not) =
                    (*random.choice(&["offline", "online"]).unwrap_or(&"offline"), random.bool());
                let operator = if is_not { "is-not" } else { "is" };
                (json!({ "presence": { operator: state } }), (state == "offline") != is_not)
            }
            9 => about_order("reg-clients", 0, random.i64(1..3), |n| json!(n), random),
            10 => {
                let than = [minute, random.i64(1..1_439), (minute - 1).max(1)][random.usize(..3)];
                about_order("time-of-day", minute, than.clamp(1, 1_438), clock, random)
            }
            11 => {
                let than = days + random.i64(-1..2);
                about_order("current-date", days, than, |days| json!(date(days)), random)
            }
            12 => {
                let names = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
                let at = random.usize(..7);
                let is = days.rem_euclid(7) == at as i64;
                match random.bool() {
                    true => (json!({ "current-day": { "is": names[at] } }), is),
                    false => (json!({ "current-day": { "not-in": names[at] } }), !is),
                }
            }
            _ => {
                let (said, is_not) = (random.bool(), random.bool());
                let operator = if is_not { "is-not" } else { "is" };
                (json!({ "buddy": { operator: said } }), (said == self.is_buddy) != is_not)
            }
        }
    }
}

/// A set of rules. Those of the server and the domain are for this account alone.
fn set(
    (level, stage): (&str, &'static str),
    facts: &Facts,
    [to, rejects, forks]: [&str; 3],
    random: &mut Random,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for number in 0..random.usize(0..4) {
        let mut conditions = Vec::new();
        if level != "account" {
            conditions.push((json!({ "to": { "is": facts.to } }), true));
        }
        let mut kinds: Vec<u8> = (0..14).filter(|kind| *kind != 1 || level == "account").collect();
        random.shuffle(&mut kinds);
        for kind in kinds.into_iter().take(random.usize(1..3)) {
            let mut condition = facts.condition(kind, random);
            // Most of them hold, so that something comes of it.
            for _ in 0..3 {
                condition = if condition.1 { condition } else { facts.condition(kind, random) };
            }
            conditions.push(condition);
        }
        let mut actions = Vec::new();
        for _ in 0..random.usize(0..3) {
            actions.push(match random.u8(0..3) {
                0 => json!({ "write-to-log": "looked" }),
                1 => json!({ "remember-from-in": "Callers" }),
                _ => json!({ "send-url": format!("https://example.org/{level}/{number}") }),
            });
        }
        actions.dedup();
        let ends = match random.u8(0..8) {
            0 => json!({ "reject-with": rejects }),
            1 => json!({ "redirect-to": [to] }),
            2 => json!("store"),
            3 => json!("discard"),
            4 => json!("stop-processing"),
            5 => json!("discard-rules"),
            _ => json!({ "write-to-log": "the end" }),
        };
        // One that rejects forks nothing itself; one behind it may.
        if level == "account" && number == 0 && ends.get("reject-with").is_none() && random.bool() {
            actions.insert(0, json!({ "fork-to": [forks] }));
        }
        actions.push(ends);
        rules.push(Rule {
            name: format!("{level} {number}"),
            stage,
            priority: random.u64(0..11),
            conditions,
            actions,
        });
    }
    rules
}

/// What the rules say, by the page: who is looked at in which order, and what ends it.
struct Verdict<'a> {
    looked_at: Vec<(&'a Rule, bool)>,
    ends: Option<&'a Value>,
    by: Option<&'a str>,
    effects: Vec<&'a Value>,
}

fn verdict<'a>(at_once: bool, [server, domain, account]: [&'a [Rule]; 3]) -> Verdict<'a> {
    let order = |rules: &'a [Rule], from: u64, to: u64| {
        let mut rules: Vec<&Rule> =
            rules.iter().filter(|rule| (from..=to).contains(&rule.priority)).collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.priority));
        rules
    };
    let high = [order(domain, 6, 10), order(account, 1, 10), order(domain, 1, 5)].concat();
    let all = match at_once {
        true => [order(server, 1, 10), high].concat(),
        false => [order(server, 6, 10), high, order(server, 1, 5)].concat(),
    };
    let mut verdict = Verdict { looked_at: Vec::new(), ends: None, by: None, effects: Vec::new() };
    for rule in all {
        verdict.looked_at.push((rule, rule.holds()));
        if !rule.holds() {
            continue;
        }
        for action in &rule.actions {
            let name = action.as_str().or_else(|| action.as_object()?.keys().next().map(String::as_str));
            match name.unwrap_or_default() {
                "write-to-log" | "remember-from-in" | "send-url" | "fork-to" => verdict.effects.push(action),
                "stop-processing" | "discard-rules" => return verdict,
                _ => {
                    (verdict.ends, verdict.by) = (Some(action), Some(rule.name.as_str()));
                    return verdict;
                }
            }
        }
    }
    verdict
}

/// The minute that the clock shows, since 1970.
fn minute(scene: &Scene<'_>) -> i64 {
    wall(scene.world.now).0.div_euclid(60_000)
}

/// A message through rules of the server, the domain and the account.
pub(super) fn deciding(world: &mut World, machine: usize, random: &mut Random) -> Step {
    let step = play(world, machine, random, 4, |scene, random| {
        let (is_known, at_once) = (random.u8(0..6) > 0, random.u8(0..4) > 0);
        let stage = if at_once { "immediate" } else { "no-answer" };
        let is_buddy = is_known && random.bool();
        if is_buddy {
            scene.befriend(0, 1)?;
        }
        let offset = *random.choice(&[0i16, 330, -600]).unwrap_or(&0);
        if offset != 0 {
            let utc_offset_minutes = Some(offset);
            scene.prefer(0, rosterkit::Overrides { utc_offset_minutes, ..Default::default() })?;
        }
        let from = match is_known {
            true => scene.address(1),
            false => rosterkit::Address::account("them@elsewhere.example").map_err(|e| e.to_string())?,
        };
        let facts = Facts {
            from: from.as_str().to_owned(),
            is_known,
            to: scene.address(0).as_str().to_owned(),
            text: format!("Hello {}", random.u8(..)),
            is_buddy,
            minutes: minute(scene) + i64::from(offset),
        };
        let began = minute(scene);
        let (to, rejects) = (scene.address(2), format!("No, {}.", random.u8(..)));
        let forks = scene.address(3);
        let to = [to.as_str(), &rejects, forks.as_str()];
        let mut make = |level: &str| set((level, stage), &facts, to, random);
        let (server, of_domain, account) = (make("server"), make("domain"), make("account"));
        let levels = [(None, &server), (Some(domain(scene.machine)), &of_domain)];
        for (level, rules) in levels {
            scene.set_level(level, &document(rules))?;
        }
        let json = document(&account);
        scene.may_be(
            Kept::Rules(scene.address(0)),
            vec![vec![r#"{"rules":[]}"#.into()], vec![json.clone()]],
            &[],
        );
        scene.must(0, Command::SetRules(json.clone()))?;
        scene.is(Kept::Rules(scene.address(0)), vec![json], &["rules.json", "rules.json-round-trip"])?;
        let verdict = verdict(at_once, [&server, &of_domain, &account]);
        let explain = Command::ExplainRules { sender: from, text: facts.text.clone() };
        let Answer::Explanation(said) = scene.must(0, explain)? else {
            return differs("a dry run was answered otherwise".into());
        };
        // A disk that failed took some time, and the clock is a fact.
        if minute(scene) != began {
            return Ok(());
        }
        dry_run(scene, stage, &verdict, &said)?;
        scene.is(Kept::Messages(scene.address(0)), Vec::new(), &["ruled.explain"])?;
        if is_known && at_once && minute(scene) == began {
            happens(scene, &facts, &verdict, &rejects)?;
        }
        Ok(())
    });
    // They are for somebody whom nobody will write to, but others would read them.
    step?;
    for level in [None, Some(domain(machine))] {
        let Ok(engine) = world.engine(machine) else { return Ok(()) };
        let _ = engine.set_rules(level, r#"{"rules": []}"#);
    }
    world.let_recover(machine)
}

/// A dry run says what was looked at, in which order, what held, and why it stopped.
fn dry_run(scene: &mut Scene<'_>, stage: &str, verdict: &Verdict<'_>, said: &str) -> Play<()> {
    let all: Value = serde_json::from_str(said).map_err(|error| format!("{said}: {error}"))?;
    let empty = Vec::new();
    let Some(stage) = all.as_array().unwrap_or(&empty).iter().find(|one| one["stage"] == stage) else {
        return differs(format!("a dry run has no stage {stage}: {said}"));
    };
    let looked_at = stage["rules"].as_array().unwrap_or(&empty);
    let found: Vec<(&str, bool)> = looked_at
        .iter()
        .map(|rule| (rule["rule"]["name"].as_str().unwrap_or_default(), rule["held"] == true))
        .collect();
    let expected: Vec<(&str, bool)> =
        verdict.looked_at.iter().map(|(rule, holds)| (rule.name.as_str(), *holds)).collect();
    let told = |what: &str| {
        format!("{what}: {said}, and it is {expected:?}, {:?} by {:?}", verdict.ends, verdict.by)
    };
    if found != expected {
        return differs(told("rules are looked at otherwise"));
    }
    for (rule, told_of) in verdict.looked_at.iter().zip(looked_at) {
        let until = rule.0.conditions.iter().position(|(_, holds)| !holds);
        let expected: Vec<bool> = rule
            .0
            .conditions
            .iter()
            .take(until.map_or(usize::MAX, |at| at + 1))
            .map(|(_, holds)| *holds)
            .collect();
        let held = told_of["conditions"].as_array().unwrap_or(&empty).iter().map(|one| one["held"] == true);
        if !held.eq(expected.iter().copied()) {
            return differs(told("conditions hold otherwise"));
        }
        let actions = told_of["actions"].as_array().map_or(0, Vec::len);
        if actions != if rule.1 { rule.0.actions.len() } else { 0 } {
            return differs(told("actions are taken otherwise"));
        }
    }
    let outcome = match verdict.ends {
        None => json!("continue"),
        Some(Value::String(name)) => json!(name),
        Some(ends) => match (ends.get("reject-with"), ends.get("redirect-to")) {
            (Some(text), _) => json!({ "reject": text }),
            (_, targets) => json!({ "redirect": targets }),
        },
    };
    let found = &stage["verdict"];
    let by = found["decided_by"]["name"].as_str();
    let effects = found["effects"].as_array().map_or(0, Vec::len);
    // What is rejected is forked to nobody.
    let is_rejected = verdict.ends.is_some_and(|ends| ends.get("reject-with").is_some());
    let forks = verdict.effects.iter().filter(|effect| effect.get("fork-to").is_some()).count();
    let expected_effects = verdict.effects.len() - if is_rejected { forks } else { 0 };
    if found["outcome"] != outcome || by != verdict.by || effects != expected_effects {
        return differs(told("the verdict is another"));
    }
    scene.covered(&["rules.explain", "ruled.levels", "rules.actions"]);
    scene.covered(&[
        "rules.merge-order",
        "rules.server-immediate-first",
        "rules.all-conditions",
        "rules.inactive",
    ]);
    let said_of = |name: &str| said.contains(&format!(r#""condition":"{name}""#));
    for (is_there, sentences) in [
        (said_of("from-name"), &["rules.missing"][..]),
        (said_of("time-of-day") || said_of("current-date") || said_of("current-day"), &["rules.local-time"]),
        (said_of("body") || said_of("from"), &["rules.pictures", "rules.conditions"]),
        (said.contains("greater-than") || said.contains("less-than"), &["rules.operators"]),
        (said.contains("stop-processing"), &["rules.stop-processing"]),
        (said.contains("discard-rules"), &["rules.discard-rules"]),
        (verdict.ends.is_some(), &["rules.decided"]),
    ] {
        if is_there {
            scene.covered(sentences);
        }
    }
    Ok(())
}

/// The message goes where they say, and everything is on disk wholly or not at all.
fn happens(scene: &mut Scene<'_>, facts: &Facts, verdict: &Verdict<'_>, rejects: &str) -> Play<()> {
    let lines = vec![line(&scene.name(1), &facts.text)];
    let name = verdict.ends.map(|ends| ends.as_str().map_or_else(|| ends.to_string(), str::to_owned));
    let name = name.unwrap_or_default();
    let (is_rejected, is_redirected) = (name.contains("reject-with"), name.contains("redirect-to"));
    let has = |is: bool| if is { lines.clone() } else { Vec::new() };
    let sentences: &'static [&'static str] = match name.as_str() {
        "store" => &["ruled.store"],
        "discard" => &["ruled.discard"],
        _ if is_rejected => &["ruled.reject"],
        _ if is_redirected => &["ruled.redirect", "ruled.crash"],
        _ => &["ruled.levels"],
    };
    let all = [
        (0, has(!is_rejected && !is_redirected && name != "discard")),
        (1, has(!is_rejected)),
        (2, has(is_redirected)),
        (3, has(!is_rejected && verdict.effects.iter().any(|effect| effect.get("fork-to").is_some()))),
    ];
    for (who, after) in &all {
        let kept = Kept::Messages(scene.address(*who));
        scene.may_be(kept, vec![Vec::new(), after.clone()], sentences);
    }
    let remembers = verdict.effects.iter().any(|effect| effect.get("remember-from-in").is_some());
    let _ = scene.world.engine(scene.machine)?.next_host_events(10_000, Duration::ZERO);
    // Nobody is there for them; a session that is, is not for what is stored.
    let session = if name == "store" { Some(scene.session(0, None)?) } else { None };
    match scene.send(1, 0, &facts.text)? {
        Ok(receipt) if !is_rejected && receipt.outcome == Word::Stored => {}
        Err(error) if is_rejected && error.kind == ErrorKind::Forbidden && error.details == rejects => {}
        other => return differs(format!("by {:?} a message was answered {other:?}", verdict.ends)),
    }
    scene.settle()?;
    scene.heal()?;
    for (who, after) in all {
        scene.is(Kept::Messages(scene.address(who)), after, sentences)?;
    }
    if let Some(session) = session {
        let got = scene.took(&session)?;
        if !super::scene::texts(&got).is_empty() && scene.is_smooth() {
            return differs(format!("what a rule stores was told to who was there: {got:?}"));
        }
        session.close();
        scene.settle()?;
        if scene.is_smooth() {
            scene.is(Kept::Waits(scene.address(0), None), lines, sentences)?;
        }
    }
    if is_rejected {
        return Ok(());
    }
    let peer = scene.address(1);
    let groups = if remembers { r#"["Callers"]"# } else { "[]" };
    let roster = if remembers || facts.is_buddy { vec![format!("{peer} {groups}")] } else { Vec::new() };
    // What a rule remembers is not tried again when a disk fails under it: seed 5419 of the day this was written.
    if scene.is_smooth() {
        scene.is(Kept::Roster(scene.address(0)), roster, &["ruled.effects"])?;
    }
    let events = scene.world.engine(scene.machine)?.next_host_events(10_000, Duration::ZERO);
    let urls: Vec<String> = events
        .unwrap_or_default()
        .into_iter()
        .filter_map(|event| match event {
            HostEvent::OpenUrl { account, url, .. } if account == scene.address(0) => Some(url.to_string()),
            _ => None,
        })
        .collect();
    let expected: Vec<&str> =
        verdict.effects.iter().filter_map(|effect| effect["send-url"].as_str()).collect();
    if scene.is_smooth() && urls != expected {
        return differs(format!("the host is to open {urls:?}, and rules say {expected:?}"));
    }
    Ok(())
}
