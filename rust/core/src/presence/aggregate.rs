//! The aggregate: one presence out of those of all sessions.

use crate::presence::State;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use std::sync::Arc;

/// What one session shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// The state.
    pub state: State,
    /// The note.
    pub note: Option<Arc<str>>,
    /// RFC 6121, 4.7.2.3. A negative one takes no messages.
    pub priority: i8,
    /// Its place in the order in which they were set: among sessions in the winning state the newest gives the note.
    pub since: u64,
    /// When it ends by itself and the session is plainly online again.
    pub until: Option<Timestamp>,
    /// Receives, and contributes nothing.
    pub invisible: bool,
    /// What only clients understand; empty when there is nothing.
    pub extensions: Arc<[u8]>,
}

/// What watchers see.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Presence {
    /// The state.
    pub state: State,
    /// The note of the newest session in that state.
    pub note: Option<Arc<str>>,
    /// The hash of the image in the account's vCard: SHA-1, in lower-case hex (XEP-0153). `None` when there is none, and when
    /// the account is offline.
    pub avatar: Option<Arc<str>>,
    /// What only clients understand, of the session that gives the note; empty when there is nothing.
    pub extensions: Arc<[u8]>,
}

impl Presence {
    /// Nobody is there, or is to be seen.
    pub fn offline() -> Self {
        Presence::plain(State::Offline)
    }

    /// A state, plain.
    pub fn plain(state: State) -> Self {
        Presence { state, ..Presence::default() }
    }

    /// Nobody knows.
    pub fn unknown() -> Self {
        Presence::plain(State::Unknown)
    }
}

/// Which state wins over which; the first wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order([State; 10]);

impl Default for Order {
    fn default() -> Self {
        Order([
            State::Busy,
            State::InMeeting,
            State::OnPhone,
            State::Chat,
            State::Online,
            State::BeBack,
            State::OutToLunch,
            State::Away,
            State::ExtendedAway,
            State::Offline,
        ])
    }
}

impl Order {
    /// An order of one's own: every state but `unknown`, each once, `offline` last.
    pub fn new(states: [State; 10]) -> Result<Self, Refusal> {
        let each_once = State::ALL[..10].iter().all(|state| states.contains(state));
        if !each_once || states[9] != State::Offline {
            let what = "an order names each state once, without unknown, and offline last";
            return Err(Refusal::InvalidArgument(what.into()));
        }
        Ok(Order(states))
    }

    fn rank(&self, state: State) -> usize {
        self.0.iter().position(|s| *s == state).unwrap_or(self.0.len())
    }
}

/// The account's presence, as those see it who see only the aggregate.
pub fn aggregate<'a>(
    order: &Order,
    now: Timestamp,
    contributions: impl IntoIterator<Item = &'a Contribution>,
) -> Presence {
    let mut winner: Option<(usize, &Contribution, bool)> = None;
    for contribution in contributions {
        if contribution.invisible {
            continue;
        }
        let ended = contribution.until.is_some_and(|until| until <= now);
        let rank = order.rank(if ended { State::Online } else { contribution.state });
        let wins = winner.is_none_or(|(best, current, _)| {
            rank < best || rank == best && contribution.since > current.since
        });
        if wins {
            winner = Some((rank, contribution, ended));
        }
    }
    match winner {
        None => Presence::offline(),
        Some((_, _, true)) => Presence::plain(State::Online),
        Some((_, winner, false)) => Presence {
            note: winner.note.clone(),
            extensions: Arc::clone(&winner.extensions),
            ..Presence::plain(winner.state)
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contribution(session: u64, state: State, since: u64) -> Contribution {
        Contribution {
            state,
            note: Some(format!("note {session}").into()),
            priority: 0,
            since,
            until: None,
            invisible: false,
            extensions: [session as u8][..].into(),
        }
    }

    // behaviour: presence.aggregate, presence.aggregate-order
    #[test]
    fn the_default_order_decides() {
        let order = Order::default();
        for (rank, state) in order.0.into_iter().enumerate().take(9) {
            for lower in order.0.into_iter().skip(rank).take(9 - rank) {
                let both = [contribution(1, lower, 9), contribution(2, state, 1)];
                assert_eq!(aggregate(&order, Timestamp(0), &both).state, state, "{state} over {lower}");
            }
        }
        assert_eq!(aggregate(&order, Timestamp(0), []), Presence::offline());
    }

    // behaviour: presence.note
    #[test]
    fn the_newest_session_in_the_winning_state_gives_the_note() {
        let all = [
            contribution(1, State::Busy, 5),
            contribution(2, State::Busy, 7),
            contribution(3, State::Online, 9),
        ];
        let presence = aggregate(&Order::default(), Timestamp(0), &all);
        let extensions = [2][..].into();
        let expected = Presence { note: Some("note 2".into()), extensions, ..Presence::plain(State::Busy) };
        assert_eq!(presence, expected);
    }

    // behaviour: presence.invisible
    #[test]
    fn invisible_sessions_contribute_nothing() {
        let mut hidden = contribution(1, State::Busy, 1);
        hidden.invisible = true;
        assert_eq!(aggregate(&Order::default(), Timestamp(0), [&hidden]), Presence::offline());
        let seen = contribution(2, State::Away, 1);
        assert_eq!(aggregate(&Order::default(), Timestamp(0), [&hidden, &seen]).state, State::Away);
    }

    // behaviour: presence.end-time
    #[test]
    fn what_has_ended_is_plainly_online() {
        let mut meeting = contribution(1, State::InMeeting, 1);
        meeting.until = Some(Timestamp(100));
        assert_eq!(aggregate(&Order::default(), Timestamp(99), [&meeting]).state, State::InMeeting);
        let after = aggregate(&Order::default(), Timestamp(100), [&meeting]);
        assert_eq!(after, Presence::plain(State::Online));
    }

    // behaviour: presence.order-configurable
    #[test]
    fn another_order_is_possible_and_checked() {
        let mut states = Order::default().0;
        states.swap(0, 4);
        let online_first = Order::new(states).unwrap();
        let both = [contribution(1, State::Busy, 1), contribution(2, State::Online, 1)];
        assert_eq!(aggregate(&online_first, Timestamp(0), &both).state, State::Online);
        states[9] = State::Busy;
        assert!(Order::new(states).is_err());
    }

    proptest! {
        #[test]
        fn the_aggregate_does_not_depend_on_the_order_of_sessions(
            states in proptest::collection::vec(0usize..9, 0..8)
        ) {
            let since = (0u64..).zip(&states);
            let forward: Vec<Contribution> =
                since.map(|(since, state)| contribution(since, State::ALL[*state], since)).collect();
            let mut backward = forward.clone();
            backward.reverse();
            let order = Order::default();
            prop_assert_eq!(aggregate(&order, Timestamp(0), &forward), aggregate(&order, Timestamp(0), &backward));
        }
    }
}
