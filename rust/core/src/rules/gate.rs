//! What says at once that a rule does not match: all gates of a stage lie side by side, and the rules, which are scattered
//! over memory, are looked at only behind those that are open.

use super::condition::{Condition, Test};
use super::facts::Subjects;
use super::fold::Pairs;
use super::rule::Rule;

/// How many pictures a gate knows. A rule that lists more has none.
const PICTURES: usize = 2;

/// Pairs of bytes of which a text must have all of one of these, for one of the rule's conditions to hold.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    of: Of,
    pictures: [Pairs; PICTURES],
}

#[derive(Clone, Copy, Debug)]
enum Of {
    /// Nothing is known: it is open.
    Nothing,
    Sender,
    Body,
}

impl Gate {
    /// Of the first condition on sender or body that wants them to be something.
    pub(super) fn of(rule: &Rule) -> Self {
        let open = Gate { of: Of::Nothing, pictures: [Pairs::NONE; PICTURES] };
        rule.conditions.iter().find_map(Gate::of_condition).unwrap_or(open)
    }

    fn of_condition(condition: &Condition) -> Option<Self> {
        let of = match condition {
            Condition::From(_) => Of::Sender,
            Condition::Body(_) => Of::Body,
            _ => return None,
        };
        let Test::Text(test) = condition.test() else { return None };
        let [first, rest @ ..] = test.operands() else { return None };
        if !test.is_positive() || rest.len() >= PICTURES {
            return None;
        }
        let second = rest.first().unwrap_or(first);
        Some(Gate { of, pictures: [*first.pairs(), *second.pairs()] })
    }

    /// Whether the rule behind it cannot match.
    pub(super) fn is_shut(&self, subjects: &Subjects<'_>) -> bool {
        let found = match self.of {
            Of::Nothing => return false,
            Of::Sender => Some(subjects.sender()),
            Of::Body => subjects.body(),
        };
        // What is missing is nothing.
        !found.is_some_and(|found| self.pictures.iter().any(|pairs| found.pairs.have(pairs)))
    }
}
