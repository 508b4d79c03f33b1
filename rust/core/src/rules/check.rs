//! What is refused when rules are stored.
//!
//! Only what is certain is refused, but for loops: a rule is refused when it can loop, because a condition on `to` says
//! that it shall not.

use super::action::{Action, Target};
use super::condition::{Condition, Test};
use super::facts::Found;
use super::fold::{Compared, fold};
use super::local::{Steps, Weekday};
use super::operator::Ordered;
use super::rule::{MAX_ACTIONS, MAX_CONDITIONS, MAX_DELAY_SECONDS, MAX_RULE_NAME_BYTES, Rule, Stage};
use super::set::{MAX_BODY_PIECES, Owner, RuleError, RuleSet};
use crate::presence::State;
use std::mem::discriminant;

pub(super) fn check(owner: Owner<'_>, set: &RuleSet) -> Result<(), RuleError> {
    let mut body_pieces = 0;
    for (place, rule) in set.rules.iter().enumerate() {
        name(set, place, rule)?;
        if let Stage::AfterDelay { seconds } = rule.stage
            && !(1..=MAX_DELAY_SECONDS).contains(&seconds)
        {
            let what = format!(
                "a delay lasts 1 to {MAX_DELAY_SECONDS} seconds; without one, the stage is immediate"
            );
            return Err(RuleError::new(format!("rules[{place}].stage"), what));
        }
        conditions(place, rule)?;
        actions(place, rule)?;
        loops(owner, place, rule)?;
        body_pieces += rule.conditions.iter().map(searched).sum::<usize>();
        if body_pieces > MAX_BODY_PIECES {
            let what =
                format!("the pictures of a set search a body for at most {MAX_BODY_PIECES} pieces of text");
            return Err(RuleError::new(format!("rules[{place}].conditions"), what));
        }
    }
    reachable(set)
}

/// Where an action names an address.
pub(super) fn target_place(rule: usize, action: usize, it: &Action, target: usize) -> String {
    let within = match it {
        Action::RedirectTo(_) => format!("redirect-to[{target}]"),
        Action::ForkTo(_) => format!("fork-to[{target}]"),
        _ => "send-im.to".into(),
    };
    format!("rules[{rule}].actions[{action}].{within}")
}

fn name(set: &RuleSet, place: usize, rule: &Rule) -> Result<(), RuleError> {
    let refuse = |what| Err(RuleError::new(format!("rules[{place}].name"), what));
    if rule.name.trim().is_empty() || rule.name.len() > MAX_RULE_NAME_BYTES {
        return refuse(format!("a name has 1 to {MAX_RULE_NAME_BYTES} bytes, and not only blanks"));
    }
    if rule.name.chars().any(char::is_control) {
        return refuse("a name has no control characters".into());
    }
    match set.rules[..place].iter().position(|other| other.name == rule.name) {
        Some(other) => refuse(format!("rules[{other}] has the same name")),
        None => Ok(()),
    }
}

fn conditions(place: usize, rule: &Rule) -> Result<(), RuleError> {
    if rule.conditions.len() > MAX_CONDITIONS {
        let what =
            format!("a rule has at most {MAX_CONDITIONS} conditions, this one {}", rule.conditions.len());
        return Err(RuleError::new(format!("rules[{place}].conditions"), what));
    }
    let unmet = |last: usize| {
        let alike = |other: &&Condition| discriminant(*other) == discriminant(&rule.conditions[last]);
        let together: Vec<&Condition> = rule.conditions[..=last].iter().filter(alike).collect();
        let met = |found: &Found<'_>| together.iter().all(|condition| condition.meets(found));
        candidates(&together).is_some_and(|candidates| !candidates.iter().any(met))
    };
    for (last, condition) in rule.conditions.iter().enumerate() {
        // All of a kind at once; where it begins to fail is looked for only when it does.
        let alike = |other: &Condition| discriminant(other) == discriminant(condition);
        if rule.conditions[last + 1..].iter().any(alike) || !unmet(last) {
            continue;
        }
        let first = (0..last).find(|first| alike(&rule.conditions[*first]) && unmet(*first)).unwrap_or(last);
        let what = match rule.conditions[..first].iter().any(alike) {
            false => "nothing meets this condition",
            true => "nothing meets this condition together with those before it on the same",
        };
        return Err(RuleError::new(format!("rules[{place}].conditions[{first}]"), what));
    }
    Ok(())
}

/// Values among which there is one that meets all of these conditions on the same, if there is any at all. `None` when
/// nobody knows any such values.
fn candidates<'a>(together: &[&'a Condition]) -> Option<Vec<Found<'a>>> {
    match together.first()?.test() {
        Test::Text(_) => together.iter().find_map(|condition| match condition.test() {
            Test::Text(test) if test.is_positive() => test
                .operands()
                .iter()
                .map(|picture| Some(Found::Text(Some(Compared::plain(picture.exact()?)))))
                .collect(),
            _ => None,
        }),
        // An account's own presence is never unknown.
        Test::State(_) => {
            Some(State::ALL.into_iter().filter(|state| *state != State::Unknown).map(Found::State).collect())
        }
        Test::Day(_) => Some(Weekday::ALL.map(Found::Day).to_vec()),
        Test::Flag(_) => Some([true, false].map(Found::Flag).to_vec()),
        Test::Number(_) => Some(edges(
            together,
            |test| if let Test::Number(test) = test { Some(test) } else { None },
            Found::Number,
        )),
        Test::Time(_) => Some(edges(
            together,
            |test| if let Test::Time(test) = test { Some(test) } else { None },
            Found::Time,
        )),
        Test::Date(_) => Some(edges(
            together,
            |test| if let Test::Date(test) = test { Some(test) } else { None },
            Found::Date,
        )),
    }
}

/// Where what meets the conditions can begin: the first value, those that they name, and those after them.
fn edges<'a, T: Steps + 'a>(
    together: &[&'a Condition],
    of: fn(Test<'a>) -> Option<&'a Ordered<T>>,
    found: fn(T) -> Found<'a>,
) -> Vec<Found<'a>> {
    let named = together.iter().filter_map(|condition| of(condition.test())).flat_map(|test| test.operands());
    named.flat_map(|value| [Some(*value), value.next()]).flatten().chain([T::FIRST]).map(found).collect()
}

fn actions(place: usize, rule: &Rule) -> Result<(), RuleError> {
    if rule.actions.len() > MAX_ACTIONS {
        let what = format!("a rule has at most {MAX_ACTIONS} actions, this one {}", rule.actions.len());
        return Err(RuleError::new(format!("rules[{place}].actions"), what));
    }
    let rejects = matches!(rule.actions.last(), Some(Action::RejectWith(_)));
    for (at, action) in rule.actions.iter().enumerate() {
        let refuse = |what| Err(RuleError::new(format!("rules[{place}].actions[{at}]"), what));
        if at > 0 && rule.actions[at - 1].is_last() {
            return refuse(format!("it never runs: actions[{}] is the last of its rule", at - 1));
        }
        if rejects && matches!(action, Action::ForkTo(_)) {
            return refuse(
                "the rule rejects the signal in the end, and what is rejected is forked to nobody".into(),
            );
        }
    }
    Ok(())
}

fn loops(owner: Owner<'_>, place: usize, rule: &Rule) -> Result<(), RuleError> {
    for (at, action) in rule.actions.iter().enumerate() {
        for (which, target) in action.targets().iter().enumerate() {
            let address = target.address();
            let (covered, advice) = match owner {
                Owner::Account(me) => (*address == me.bare(), ""),
                Owner::Domain(domain) => (address.domain() == domain.as_str(), ADVICE),
                Owner::Server(hosts) => (hosts(address.domain()), ADVICE),
            };
            // An account's own rules are applied to nothing but what is sent to it.
            let sure =
                matches!((owner, action), (Owner::Account(_), Action::RedirectTo(_) | Action::ForkTo(_)));
            if covered && (sure || rule.conditions.iter().all(|condition| admits(condition, action, target)))
            {
                let what = format!("this would loop: the rule is applied to what {address} gets too{advice}");
                return Err(RuleError::new(target_place(place, at, action, which), what));
            }
        }
    }
    Ok(())
}

const ADVICE: &str = "; a condition \"to\" with \"is-not\" keeps it from that";

/// Whether the condition can hold for what this action sends to the target.
fn admits(condition: &Condition, action: &Action, target: &Target) -> bool {
    let address = fold(target.address().as_str());
    let found = |text: &str| condition.meets(&Found::Text(Some(Compared::plain(text))));
    match (condition, action) {
        (Condition::To(_) | Condition::RequestUri(_), _) => found(&address),
        // The message is a new one: the second time the target is its sender.
        (Condition::From(_) | Condition::Authenticated(_), Action::SendIm(_)) => found(&address),
        (Condition::Method(_), Action::SendIm(_)) => found("message"),
        (Condition::CallType(_), Action::SendIm(_)) => found("im"),
        (Condition::Body(_), Action::SendIm(im)) => found(&fold(im.text.as_str())),
        _ => true,
    }
}

/// How many pieces of text this condition searches a body for.
fn searched(condition: &Condition) -> usize {
    let Condition::Body(test) = condition else { return 0 };
    test.operands()
        .iter()
        .map(|picture| picture.as_str().split('*').filter(|piece| !piece.is_empty()).count())
        .sum()
}

/// No rule stands behind one of its level and stage that has no conditions and ends the stage.
fn reachable(set: &RuleSet) -> Result<(), RuleError> {
    for (place, rule) in set.rules.iter().enumerate() {
        let (high, low) = set.at(rule.stage);
        let before = high.iter().chain(low).map(|before| usize::from(before.rule));
        for before in before.take_while(|before| *before != place) {
            let other = &set.rules[before];
            let ends = other.conditions.is_empty() && other.actions.last().is_some_and(Action::is_last);
            if ends && other.stage == rule.stage && rule.priority != super::Priority::INACTIVE {
                let what = format!(
                    "it is never looked at: rules[{before}] comes before it, has no conditions and stops"
                );
                return Err(RuleError::new(format!("rules[{place}]"), what));
            }
        }
    }
    Ok(())
}
