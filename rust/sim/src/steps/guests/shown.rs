//! What one session shows, said naively: what a person set, else what a program set, else what is left when both are over.

use rosterkit::{PresenceLayer, SetPresence, State};

/// Something that was set.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) state: State,
    note: Option<String>,
    extensions: Vec<u8>,
    /// When it is over.
    until: Option<u64>,
    hides: bool,
    /// Which of two was set later.
    order: u32,
}

/// What somebody sees: a state, a note, and what only clients understand.
pub(super) type Sight = (State, Option<String>, Vec<u8>);

pub(super) fn nothing() -> Sight {
    (State::Offline, None, Vec::new())
}

/// What was set for a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    person: Option<Set>,
    program: Option<Set>,
    left: Option<Set>,
}

impl Set {
    pub(super) fn new(asked: &SetPresence, until: Option<u64>, order: u32) -> Self {
        Set {
            state: asked.state,
            note: asked.note.clone(),
            extensions: asked.extensions.clone(),
            until,
            hides: asked.invisible,
            order,
        }
    }

    fn is_over(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Shown {
    pub(super) fn counts(&self) -> Option<&Set> {
        self.person.as_ref().or(self.program.as_ref()).or(self.left.as_ref())
    }

    pub(super) fn set(&mut self, layer: PresenceLayer, set: Set) {
        self.left = None;
        match layer {
            PresenceLayer::Manual => self.person = Some(set),
            PresenceLayer::Automatic => self.program = Some(set),
        }
    }

    /// Taken back. What is left when something was over nobody set, and it goes with what a program set.
    pub(super) fn clear(&mut self, layer: PresenceLayer) {
        match layer {
            PresenceLayer::Manual => self.person = None,
            PresenceLayer::Automatic => (self.program, self.left) = (None, None),
        }
    }

    /// Whether a person's word covers a program's.
    pub(super) fn is_covered(&self) -> bool {
        self.person.is_some() && self.program.is_some()
    }

    /// How often something is over between these times.
    pub(super) fn ends(&self, from: u64, upto: u64) -> usize {
        let until = [&self.person, &self.program].into_iter().flatten().filter_map(|set| set.until);
        until.filter(|until| from < *until && *until <= upto).count()
    }

    /// So late is it now: what is over counts no more, one after the other, and where nothing else does the session is
    /// plainly online.
    pub(super) fn end(&mut self, now: u64) {
        let ends = |set: &Option<Set>| set.as_ref().and_then(|set| set.until).filter(|until| *until <= now);
        while let Some(at) = ends(&self.person).into_iter().chain(ends(&self.program)).min() {
            let person = self.person.take_if(|set| set.is_over(at));
            let program = self.program.take_if(|set| set.is_over(at));
            if self.counts().is_none()
                && let Some(over) = person.or(program)
            {
                let plain =
                    Set { state: State::Online, note: None, extensions: Vec::new(), until: None, ..over };
                self.left = Some(plain);
            }
        }
    }
}

/// What is seen of several sessions: the winning state, and what is with it of who set it last.
pub(super) fn aggregate(order: &[State], sessions: &[Shown]) -> Sight {
    let seen = || sessions.iter().filter_map(Shown::counts).filter(|set| !set.hides);
    let best = order.iter().find(|state| seen().any(|set| set.state == **state));
    let winner = seen().filter(|set| Some(&set.state) == best).max_by_key(|set| set.order);
    winner.map_or_else(nothing, |set| (set.state, set.note.clone(), set.extensions.clone()))
}
