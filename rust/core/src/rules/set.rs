//! The rules of one level, checked.

use super::check::check;
use super::gate::Gate;
use super::rule::{Priority, Rule, Stage};
use crate::address::{Address, Domain};
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How many rules a set may have.
pub const MAX_RULES: usize = 256;
/// The longest a set may be in JSON, in bytes.
pub const MAX_JSON_BYTES: usize = 128 * 1_024;
/// How many pieces of text the pictures on `body` of a set may make a message be searched for.
pub const MAX_BODY_PIECES: usize = 512;

/// Whose rules they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The server's.
    Server,
    /// A domain's.
    Domain,
    /// An account's.
    Account,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Server => "server",
            Level::Domain => "domain",
            Level::Account => "account",
        })
    }
}

/// Who is to have the rules, and what has to be known of them to see that a rule would loop.
#[derive(Clone, Copy)]
pub enum Owner<'a> {
    /// The server. Its rules are applied to accounts of every domain that it hosts, which the function knows.
    Server(&'a dyn Fn(&str) -> bool),
    /// A domain. Its rules are applied to its accounts.
    Domain(&'a Domain),
    /// The account with this address.
    Account(&'a Address),
}

/// A rule that is refused, with its place: `rules[2].actions[0].redirect-to[1]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct RuleError {
    /// Where in the document.
    pub place: String,
    /// What is wrong there, and what to do.
    pub what: String,
}

impl RuleError {
    pub(super) fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        RuleError { place: place.into(), what: what.into() }
    }

    /// The rule names an account that does not exist.
    pub fn no_such_account(named: &Named<'_>) -> Self {
        RuleError::new(&named.place, format!("there is no account {}", named.address))
    }
}

impl From<RuleError> for Refusal {
    fn from(error: RuleError) -> Self {
        Refusal::InvalidArgument(error.to_string())
    }
}

/// An address that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// Where in the document.
    pub place: String,
    /// Which.
    pub address: &'a Address,
}

/// The rules of one level: checked, and in the order in which they are applied.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub(super) rules: Vec<Rule>,
    stages: [InOrder; 4],
}

/// The active rules of a stage, by their places: highest priority first, then as they stand.
#[derive(Clone, Debug, Default)]
struct InOrder {
    places: Vec<Place>,
    /// How many of them are above 5.
    high: usize,
}

/// Where a rule stands, and what says at once that it does not match.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) rule: u16,
    pub(super) gate: Gate,
}

/// A set of rules: those of the server, of a domain or of an account.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(title = "Rules"))]
pub(super) struct Document<T> {
    /// Where editors find this schema. It is not kept.
    #[serde(rename = "$schema", default, skip_serializing)]
    _schema: Option<String>,
    /// The rules.
    #[cfg_attr(test, schemars(length(max = MAX_RULES)))]
    rules: T,
}

impl RuleSet {
    /// Rules to be stored: whatever would loop, contradicts itself or can never run is refused, with its place.
    ///
    /// Of the addresses they name nobody knows here whether they exist: see [`names`](Self::names).
    pub fn new(owner: Owner<'_>, rules: Vec<Rule>) -> Result<Self, RuleError> {
        let set = RuleSet::in_order(rules)?;
        check(owner, &set)?;
        let bytes = set.to_json().len();
        if bytes > MAX_JSON_BYTES {
            let what = format!("a set of rules has at most {MAX_JSON_BYTES} bytes of JSON, this one {bytes}");
            return Err(RuleError::new("rules", what));
        }
        Ok(set)
    }

    /// Rules to be stored, from their document in JSON.
    pub fn from_json(owner: Owner<'_>, json: &str) -> Result<Self, RuleError> {
        RuleSet::new(owner, read(json)?)
    }

    /// Rules that were stored. They were checked then: what is hosted today does not matter.
    pub fn load(json: &str) -> Result<Self, RuleError> {
        RuleSet::in_order(read(json)?)
    }

    /// Their document in JSON.
    pub fn to_json(&self) -> String {
        let document = Document { _schema: None, rules: &self.rules };
        // Nothing in a rule has no form in JSON.
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// The rules, in the order of the document.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Every account that the rules name. Whoever stores them looks whether those of hosted domains exist, and refuses
    /// with [`RuleError::no_such_account`] otherwise.
    pub fn names(&self) -> impl Iterator<Item = Named<'_>> {
        self.rules.iter().enumerate().flat_map(|(rule, it)| {
            it.actions.iter().enumerate().flat_map(move |(action, it)| {
                let targets = it.targets().iter().enumerate();
                targets.map(move |(target, named)| Named {
                    place: super::check::target_place(rule, action, it, target),
                    address: named.address(),
                })
            })
        })
    }

    /// The places of the active rules of this stage, in order: those above 5, and the others.
    pub(super) fn at(&self, stage: Stage) -> (&[Place], &[Place]) {
        let InOrder { places, high } = &self.stages[slot(stage)];
        places.split_at_checked(*high).unwrap_or_default()
    }

    /// Every delay after which a rule is to be looked at, in seconds.
    pub(super) fn delays(&self) -> impl Iterator<Item = u32> {
        let places = &self.stages[slot(Stage::AfterDelay { seconds: 0 })].places;
        places.iter().filter_map(|place| match self.rules[usize::from(place.rule)].stage {
            Stage::AfterDelay { seconds } => Some(seconds),
            _ => None,
        })
    }

    /// Unchecked: what is left is the order, and bounds of memory.
    pub(super) fn in_order(rules: Vec<Rule>) -> Result<Self, RuleError> {
        if rules.len() > MAX_RULES {
            let what = format!("a set has at most {MAX_RULES} rules, this one {}", rules.len());
            return Err(RuleError::new("rules", what));
        }
        let mut stages: [InOrder; 4] = Default::default();
        for (number, rule) in (0u16..).zip(&rules) {
            if rule.priority != Priority::INACTIVE {
                let stage = &mut stages[slot(rule.stage)];
                stage.places.push(Place { rule: number, gate: Gate::of(rule) });
                stage.high += usize::from(rule.priority.is_above_five());
            }
        }
        for stage in &mut stages {
            stage.places.sort_by_key(|place| std::cmp::Reverse(rules[usize::from(place.rule)].priority));
        }
        Ok(RuleSet { rules, stages })
    }
}

impl PartialEq for RuleSet {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

impl Eq for RuleSet {}

fn slot(stage: Stage) -> usize {
    match stage {
        Stage::Immediate => 0,
        Stage::AfterDelay { .. } => 1,
        Stage::NoAnswer => 2,
        Stage::Failure => 3,
    }
}

fn read(json: &str) -> Result<Vec<Rule>, RuleError> {
    if json.len() > MAX_JSON_BYTES {
        let what =
            format!("a set of rules has at most {MAX_JSON_BYTES} bytes of JSON, this one {}", json.len());
        return Err(RuleError::new("rules", what));
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let document: Document<Vec<Rule>> = serde_path_to_error::deserialize(&mut deserializer).map_err(|e| {
        let place = Some(e.path().to_string()).filter(|path| path != ".");
        let what = e.into_inner().to_string();
        // What the parser says of a name that stands alone, or with others, tells nobody what to write.
        let what = match what.rsplit_once(" at line ") {
            Some((said, at)) if said.contains("unit variant, expected") => {
                format!("it needs a value: write {{\"name\": value}}, at line {at}")
            }
            Some(("expected value", at)) => {
                format!("it is no JSON, or has not the one name that it needs, at line {at}")
            }
            _ => what,
        };
        RuleError::new(place.unwrap_or_else(|| "rules".into()), what)
    })?;
    deserializer.end().map_err(|e| RuleError::new("rules", e.to_string()))?;
    Ok(document.rules)
}
