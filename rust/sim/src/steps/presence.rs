//! What sessions show, and what others see of it.

use super::Random;
use crate::facts::{Place, visibility};
use crate::people::{ORDINARY, User, machine_of};
use crate::world::{Step, World};
use rosterkit::{Answer, ErrorKind, EventBody, SetPresence, State, Visibility};
use std::time::Duration;

const STATES: [State; 5] = [State::Online, State::Busy, State::Away, State::Chat, State::ExtendedAway];

impl World {
    pub(super) fn set_presence(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some(number) = self.any_client(machine, random) else { return self.open(machine, random) };
        let (state, goes, hides) =
            (STATES[random.usize(..STATES.len())], random.u8(0..5) == 0, random.u8(0..6) == 0);
        let now = self.now;
        let Some(client) = self.machines[machine].clients.get_mut(&number) else { return Ok(()) };
        let result = if goes {
            client.session.go_offline()
        } else {
            let presence = SetPresence { invisible: hides, ..SetPresence::state(state) };
            client.session.set_presence(presence)
        };
        if result.is_ok() {
            client.shows = (!goes).then_some((state, now));
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

    /// What a user's watchers are to see.
    pub(super) fn aggregate(&self, user: User) -> State {
        const ORDER: [State; 5] = [State::Busy, State::Chat, State::Online, State::Away, State::ExtendedAway];
        let clients = self.machines[machine_of(user)].clients.values();
        let shown: Vec<State> = clients
            .filter(|client| client.reader.user == user && !client.is_invisible)
            .filter(|client| client.ends_at.is_none_or(|ends_at| self.now < ends_at))
            .filter_map(|client| client.shows.map(|(state, _)| state))
            .collect();
        ORDER.into_iter().find(|state| shown.contains(state)).unwrap_or(State::Offline)
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
                let is_hidden = visible.map(visibility) == Some(Visibility::Hidden);
                let expected = if view.from() && blocked != Some(1) && !is_hidden {
                    self.aggregate(subject)
                } else {
                    State::Offline
                };
                let saw = client.saw.get(&subject).copied().unwrap_or(State::Offline);
                if !client.is_behind && saw != expected {
                    return Err(format!(
                        "user{viewer} saw user{subject} {saw:?}, who shows {expected:?} to them: {view:?}, blocked {blocked:?}"
                    ));
                }
                if expected == State::Offline {
                    self.covered.add("presence.who-sees");
                } else {
                    self.covered.add("presence.aggregate");
                    self.covered.add("presence.aggregate-order");
                    self.covered.add("presence.snapshot");
                    self.covered.add("presence.invisible");
                    self.covered.add("presence.visibility");
                }
            }
        }
        Ok(())
    }

    pub(super) fn next_seq(&self, machine: usize, number: u32) -> (usize, usize) {
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
            self.covered.add("presence.lease-bounds");
        }
        Ok(())
    }
}
