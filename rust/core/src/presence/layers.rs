//! The two layers of what a session shows: a person's over a program's.

use crate::presence::{Contribution, State};
use crate::time::Timestamp;

/// Who set a presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PresenceLayer {
    /// A person, by hand: it stays until they change it or it ends.
    #[default]
    Manual,
    /// A program, of its own accord: the person is idle, in a call. It shows only where the person has set nothing.
    Automatic,
}

/// What a session shows, by either.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Layers {
    manual: Option<Contribution>,
    automatic: Option<Box<Contribution>>,
    /// Plainly online, since what was set has ended by itself. Nobody set it: it is gone with whatever is set next.
    plain: Option<Box<Contribution>>,
}

impl Layers {
    /// What counts.
    pub fn shown(&self) -> Option<&Contribution> {
        self.manual.as_ref().or(self.automatic.as_deref()).or(self.plain.as_deref())
    }

    /// Puts it in place of what that layer showed.
    pub fn set(&mut self, layer: PresenceLayer, contribution: Contribution) {
        self.plain = None;
        match layer {
            PresenceLayer::Manual => self.manual = Some(contribution),
            PresenceLayer::Automatic => self.automatic = Some(Box::new(contribution)),
        }
    }

    /// Takes away what that layer showed.
    pub fn clear(&mut self, layer: PresenceLayer) {
        match layer {
            PresenceLayer::Manual => self.manual = None,
            PresenceLayer::Automatic => (self.automatic, self.plain) = (None, None),
        }
    }

    /// When the first of them ends by itself.
    pub fn ends(&self) -> Option<Timestamp> {
        let ends = |contribution: &Contribution| contribution.until;
        let manual = self.manual.as_ref().and_then(ends);
        manual.into_iter().chain(self.automatic.as_deref().and_then(ends)).min()
    }

    /// Takes away what has ended. Where nothing is left, the session is plainly online.
    pub fn end(&mut self, now: Timestamp) {
        let has_ended = |contribution: &Contribution| contribution.until.is_some_and(|until| until <= now);
        let manual = self.manual.take_if(|manual| has_ended(manual));
        let automatic = self.automatic.take_if(|automatic| has_ended(automatic)).map(|ended| *ended);
        if self.shown().is_none()
            && let Some(ended) = manual.or(automatic)
        {
            let extensions = Default::default();
            let plain = Contribution { state: State::Online, note: None, until: None, extensions, ..ended };
            self.plain = Some(Box::new(plain));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contribution(state: State, until: Option<i64>) -> Contribution {
        let until = until.map(Timestamp);
        Contribution {
            state,
            note: Some("note".into()),
            priority: 3,
            since: 1,
            until,
            invisible: false,
            extensions: [1][..].into(),
        }
    }

    // behaviour: presence.invisible, presence.end-time
    #[test]
    fn who_hides_stays_hidden_when_that_ends_whatever_had_ended_before() {
        let mut layers = Layers::default();
        layers.set(PresenceLayer::Manual, contribution(State::Away, Some(10)));
        layers.end(Timestamp(10));
        assert_eq!(layers.shown().map(|shown| (shown.state, shown.invisible)), Some((State::Online, false)));
        let hidden = Contribution { invisible: true, ..contribution(State::Busy, Some(20)) };
        layers.set(PresenceLayer::Manual, hidden);
        layers.end(Timestamp(20));
        assert_eq!(layers.shown().map(|shown| (shown.state, shown.invisible)), Some((State::Online, true)));
        layers.clear(PresenceLayer::Automatic);
        assert_eq!(layers.shown(), None);
    }

    // behaviour: presence.layers, presence.end-time
    #[test]
    fn what_a_person_set_is_over_what_a_program_set_whatever_comes_first_and_ends_first() {
        use PresenceLayer::{Automatic, Manual};
        let sets = [
            (Manual, State::Busy, None),
            (Manual, State::Busy, Some(10)),
            (Automatic, State::Away, None),
            (Automatic, State::Away, Some(20)),
        ];
        for first in sets {
            for second in sets {
                for now in [5, 10, 20] {
                    let mut layers = Layers::default();
                    for (layer, state, until) in [first, second] {
                        layers.set(layer, contribution(state, until));
                    }
                    layers.end(Timestamp(now));
                    let left = |layer| {
                        let set = [second, first].into_iter().find(|(of, _, _)| *of == layer);
                        set.filter(|(_, _, until)| until.is_none_or(|until| until > now))
                    };
                    let expected =
                        left(Manual).or(left(Automatic)).map_or(State::Online, |(_, state, _)| state);
                    let shown = layers.shown().map(|shown| (shown.state, shown.priority));
                    assert_eq!(shown, Some((expected, 3)), "{first:?} {second:?} {now}");
                    assert!(layers.ends().is_none_or(|ends| ends > Timestamp(now)));
                    // The person's is changed by the person only.
                    layers.set(Automatic, contribution(State::ExtendedAway, None));
                    let manual = left(Manual).map_or(State::ExtendedAway, |(_, state, _)| state);
                    assert_eq!(layers.shown().map(|shown| shown.state), Some(manual));
                    layers.clear(Manual);
                    assert_eq!(layers.shown().map(|shown| shown.state), Some(State::ExtendedAway));
                    layers.clear(Automatic);
                    assert_eq!(layers.shown(), None);
                }
            }
        }
    }
}
