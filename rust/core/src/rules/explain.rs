//! A dry run that says why: the same code as [`evaluate`](super::evaluate), watched.

use super::action::Action;
use super::condition::Condition;
use super::evaluate::{By, Levels, Verdict, Watch, run};
use super::facts::{Facts, Found};
use super::rule::Stage;
use serde::Serialize;
use serde_json::Value;

/// How much of what was compared is shown, in characters.
const SHOWN: usize = 200;

/// What the rules say of a signal, and how they came to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation<'a> {
    /// The stage.
    pub stage: Stage,
    /// Every rule that was looked at, in order. Inactive ones, and those behind the one that stopped, are not.
    pub rules: Vec<RuleLookedAt<'a>>,
    /// Why no further rule was looked at.
    pub stopped: Stopped<'a>,
    /// What they say.
    pub verdict: Verdict<'a>,
}

/// A rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleLookedAt<'a> {
    /// Which.
    pub rule: By<'a>,
    /// Its conditions, up to the first that does not hold.
    pub conditions: Vec<ConditionChecked>,
    /// Whether all of them hold.
    pub held: bool,
    /// Its actions, when they do.
    pub actions: Vec<ActionTaken>,
}

/// A condition that was looked at, with its names as in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConditionChecked {
    /// What it looks at.
    pub condition: String,
    /// How it compares.
    pub operator: String,
    /// With what.
    pub value: String,
    /// What was there, folded and shortened; `None` when there was nothing.
    pub found: Option<String>,
    /// Whether it holds.
    pub held: bool,
}

/// An action that was taken, with its name as in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActionTaken {
    /// Which.
    pub action: String,
    /// With what.
    pub value: Option<String>,
    /// Why it did nothing, when it did not.
    pub refused: Option<&'static str>,
}

/// Why no further rule is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped<'a> {
    /// There is no further one.
    NoRuleLeft,
    /// This one ended the stage.
    Stage(By<'a>),
    /// This one ended it all.
    All(By<'a>),
}

/// Applies the rules of a stage to a signal, dry, and says how they came to what they say.
pub fn explain<'a>(levels: &Levels<'a>, stage: Stage, facts: &Facts<'_>) -> Explanation<'a> {
    let mut chain = Chain { rules: Vec::new(), stopped: Stopped::NoRuleLeft };
    let verdict = run(levels, stage, facts, &mut chain);
    Explanation { stage, rules: chain.rules, stopped: chain.stopped, verdict }
}

/// What [`explain`] says of several stages, as a JSON list with an object for each.
pub fn to_json(explanations: &[Explanation<'_>]) -> String {
    // Nothing in an explanation has no form in JSON.
    serde_json::to_string(explanations).unwrap_or_default()
}

struct Chain<'a> {
    rules: Vec<RuleLookedAt<'a>>,
    stopped: Stopped<'a>,
}

impl<'a> Watch<'a> for Chain<'a> {
    fn rule(&mut self, rule: By<'a>) {
        self.rules.push(RuleLookedAt { rule, conditions: Vec::new(), held: false, actions: Vec::new() });
    }

    fn condition(&mut self, condition: &'a Condition, found: &Found<'_>, held: bool) {
        let (condition, compared) = named(condition);
        let (operator, value) = compared.map(|compared| named(&compared)).unwrap_or_default();
        let value = value.map(shown).unwrap_or_default();
        let found = (!matches!(found, Found::Text(None))).then(|| shortened(&found.to_string()));
        if let Some(rule) = self.rules.last_mut() {
            rule.conditions.push(ConditionChecked { condition, operator, value, found, held });
        }
    }

    fn held(&mut self) {
        if let Some(rule) = self.rules.last_mut() {
            rule.held = true;
        }
    }

    fn action(&mut self, action: &'a Action, refused: Option<&'static str>) {
        let (action, value) = named(action);
        if let Some(rule) = self.rules.last_mut() {
            rule.actions.push(ActionTaken { action, value: value.map(shown), refused });
        }
    }

    fn end(&mut self, by: By<'a>, all: bool) {
        self.stopped = if all { Stopped::All(by) } else { Stopped::Stage(by) };
    }
}

/// The name of something and what stands under it, as in JSON: `{"is": "a"}` or `"store"`.
fn named(it: &impl Serialize) -> (String, Option<Value>) {
    match serde_json::to_value(it) {
        Ok(Value::Object(object)) => {
            object.into_iter().next().map(|(name, value)| (name, Some(value))).unwrap_or_default()
        }
        Ok(Value::String(name)) => (name, None),
        _ => Default::default(),
    }
}

fn shown(value: Value) -> String {
    match value {
        Value::String(text) => shortened(&text),
        other => shortened(&other.to_string()),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}
