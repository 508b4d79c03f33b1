//! What sessions show, and what others see of it.

use super::Random;
use crate::facts::{Place, visibility};
use crate::ledger::Unsure;
use crate::order;
use crate::people::{ORDINARY, User, machine_of, wall};
use crate::world::{Client, Shows, Step, World};
use rosterkit::{Answer, ErrorKind, EventBody, SetPresence, State, Visibility};
use std::time::Duration;

/// A state, and a note when that is sure.
pub(super) type Shown = (State, Result<Option<String>, Unsure>);

const STATES: [State; 5] = [State::Online, State::Busy, State::Away, State::Chat, State::ExtendedAway];

impl World {
    pub(super) fn set_presence(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some(number) = self.any_client(machine, random) else { return self.open(machine, random) };
        let (state, goes, hides) =
            (STATES[random.usize(..STATES.len())], random.u8(0..5) == 0, random.u8(0..6) == 0);
        let order = self.number();
        let note = random.bool().then(|| format!("note {order}"));
        let until = (random.u8(0..5) == 0).then(|| self.now + random.u64(1_000..60_000));
        let Some(client) = self.machines[machine].clients.get_mut(&number) else { return Ok(()) };
        self.history
            .say(format_args!("{:?} {state:?} {note:?} {until:?} goes {goes} hides {hides}", client.reader));
        let result = if goes {
            client.session.go_offline()
        } else {
            let shown =
                SetPresence { note: note.clone(), until: until.map(wall), ..SetPresence::state(state) };
            let presence = SetPresence { invisible: hides, ..shown };
            client.session.set_presence(presence)
        };
        if result.is_ok() {
            client.shows = (!goes).then_some(Shows { state, note, until, order });
            client.is_invisible = hides && !goes;
            if goes {
                client.saw.clear();
            }
        }
        self.history.say(format_args!("{result:?}"));
        let came = match result {
            // It has ended; reading it says so.
            Err(error) if error.kind == ErrorKind::Closed && self.engine(machine)?.failure().is_none() => {
                self.machines[machine].clients.remove(&number);
                return Ok(());
            }
            result => self.came(machine, result.map(|()| Answer::Done))?,
        };
        self.has_failed(machine, "presence", &came)
    }

    /// What a user's watchers are to see: the winning state, and the note of who shows it since last, when that is sure.
    pub(super) fn aggregate(&self, user: User) -> Shown {
        let clients = self.machines[machine_of(user)].clients.values();
        let is_over = |shows: &Shows| shows.until.is_some_and(|until| until <= self.now);
        let shown: Vec<(State, &Shows)> = clients
            // Who hides stays hidden when what they set ends.
            .filter(|client| client.reader.user == user && !client.is_invisible)
            .filter(|client| client.ends_at.is_none_or(|ends_at| self.now < ends_at))
            .filter_map(|client| client.shows.as_ref())
            .map(|shows| (if is_over(shows) { State::Online } else { shows.state }, shows))
            .collect();
        let best =
            order::states(self.seed).into_iter().find(|state| shown.iter().any(|(one, _)| one == state));
        let Some(best) = best else {
            let is_reached = self.machines[machine_of(user)].ledger.is_reached(user) == Ok(true);
            return (if is_reached { State::Online } else { State::Offline }, Ok(None));
        };
        let winners = || shown.iter().filter(|(state, _)| *state == best).map(|(_, shows)| *shows);
        // Who is plainly online since an end that came by itself is so since then, whatever was set in between.
        let note = match winners().any(is_over) {
            true => Err(Unsure),
            false => Ok(winners().max_by_key(|shows| shows.order).and_then(|shows| shows.note.clone())),
        };
        (best, note)
    }

    /// Every session sees what it may see, and nothing else.
    pub(super) fn look_at_presence(&mut self, machine: usize, _: &mut Random) -> Step {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        self.check_ended(machine)?;
        let numbers: Vec<u32> = self.machines[machine]
            .clients
            .iter()
            .filter(|(_, c)| c.ends_at.is_none() && c.host.is_none() && c.shows.is_some())
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            // Everything, so that nothing newer waits behind.
            loop {
                let before = self.next_seq(machine, number);
                if !self.take_events(machine, number, 1_000)? {
                    break;
                }
                self.acknowledge(machine, number);
                if self.next_seq(machine, number) == before {
                    break;
                }
            }
            let Some(client) = self.machines[machine].clients.get(&number) else { continue };
            let viewer = client.reader.user;
            for subject in ORDINARY.into_iter().filter(|s| machine_of(*s) == machine && *s != viewer) {
                let ledger = &self.machines[machine].ledger;
                let blocked = ledger.value(Place::Blocked(subject, viewer));
                let visible = ledger.value(Place::Visibility(subject, viewer));
                let (Ok(view), Ok(blocked), Ok(visible)) = (ledger.view(subject, viewer), blocked, visible)
                else {
                    continue;
                };
                // Where no session shows anything a contact counts.
                let Ok(is_reached) = ledger.is_reached(subject) else { continue };
                let seen = match visible.map(visibility) {
                    _ if !view.from() || blocked == Some(1) => Visibility::Hidden,
                    visible => visible.unwrap_or_default(),
                };
                let expected = match (seen, self.aggregate(subject)) {
                    (Visibility::Full, shown) => shown,
                    (Visibility::StateOnly, (state, _)) => (state, Ok(None)),
                    (Visibility::Hidden, _) => (State::Offline, Ok(None)),
                };
                let saw = client.saw.get(&subject).cloned().unwrap_or((State::Offline, None));
                let is_as_expected =
                    saw.0 == expected.0 && expected.1.as_ref().is_ok_and(|note| *note == saw.1);
                if !client.is_behind && !is_as_expected && (saw.0 != expected.0 || expected.1.is_ok()) {
                    return Err(format!(
                        "user{viewer} saw user{subject} {saw:?}, who shows {expected:?} to them: {view:?}, {seen:?}, blocked {blocked:?}"
                    ));
                }
                if !client.is_behind {
                    self.cover_sight(subject, seen, &expected);
                    if is_reached && expected.0 == State::Online {
                        self.covered.add("registration.presence");
                    }
                }
            }
        }
        Ok(())
    }

    /// What was shown to hold by somebody who sees so much of a subject having seen what was expected.
    fn cover_sight(&self, subject: User, seen: Visibility, expected: &Shown) {
        let is_there = self.aggregate(subject).0 != State::Offline;
        let shows: Vec<&Client> = self.machines[machine_of(subject)]
            .clients
            .values()
            .filter(|client| client.reader.user == subject && client.shows.is_some())
            .collect();
        if seen == Visibility::Hidden && is_there {
            self.covered.add("presence.who-sees");
        }
        if seen == Visibility::StateOnly && is_there {
            self.covered.add("presence.visibility");
        }
        if seen != Visibility::Hidden && shows.iter().any(|client| client.is_invisible) {
            self.covered.add("presence.invisible");
        }
        if seen != Visibility::Hidden && is_there {
            self.covered.add("presence.aggregate");
            self.covered.add("presence.snapshot");
            if shows.len() > 1 {
                self.covered.add("presence.aggregate-order");
                if order::is_another(self.seed) {
                    self.covered.add("presence.order-configurable");
                }
            }
            let is_over = |client: &&Client| {
                let until = client.shows.as_ref().and_then(|shows| shows.until);
                until.is_some_and(|until| until <= self.now)
            };
            if shows.iter().any(is_over) {
                self.covered.add("presence.end-time");
                self.covered.add("presence.ends-by-itself");
            }
        }
        let kept = &self.machines[machine_of(subject)].kept;
        if seen != Visibility::Hidden && !is_there && shows.is_empty() && kept.shown_before.contains(&subject)
        {
            self.covered.add("presence.restart");
        }
        if matches!(&expected.1, Ok(Some(_))) {
            self.covered.add("presence.note");
        }
    }

    fn next_seq(&self, machine: usize, number: u32) -> (usize, usize) {
        let client = self.machines[machine].clients.get(&number);
        client.map_or((0, 0), |client| (client.in_hand.len(), self.machines[machine].ledger.acked.len()))
    }

    /// Whose lease has run out has ended, and knows it.
    pub(super) fn check_ended(&mut self, machine: usize) -> Step {
        let now = self.now;
        let over: Vec<u32> = self.machines[machine]
            .clients
            .iter()
            .filter(|(_, client)| client.ends_at.is_some_and(|ends_at| ends_at <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            let Some(client) = self.machines[machine].clients.remove(&number) else { continue };
            let mut has_ended = false;
            while let Ok(events) = client.session.next_events(1_000, Duration::ZERO) {
                has_ended |= events.iter().any(|event| matches!(event.body, EventBody::Ended(_)));
                if events.is_empty() {
                    break;
                }
            }
            if !has_ended {
                return Err(format!("the session of {:?} is there, long after its lease", client.reader));
            }
            self.covered.add("presence.lease-expires");
        }
        Ok(())
    }
}
