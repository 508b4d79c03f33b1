//! What comes from outside: sends, accidents, failures of the disk.

use super::*;

impl Pipeline {
    pub(super) fn send(&self, state: &mut State, message: usize) {
        if state.known.contains(&message) {
            let row = state.cache.rows.iter().find(|row| state.message(row.attempt) == message).copied();
            let ring = state.cache.ring.iter().find(|(m, _)| *m == message).map(|(_, attempt)| *attempt);
            let answer =
                row.map(|row| (row.attempt, row.word)).or(ring.map(|attempt| (attempt, Answer::Delivered)));
            match answer {
                Some((attempt, word)) => {
                    self.show(state, attempt, "the answer to a repeat");
                    state.answers[message] = word;
                }
                None => state.answers[message] = Answer::Delivered,
            }
            return;
        }
        state.answers[message] = Answer::Waits;
        if state.in_flight.contains(&message) && self.rules.client_ids_in_flight {
            return;
        }
        let attempt = state.attempts.len() as u8;
        state.attempts.push(message);
        state.mailboxes[self.messages[message].1].push(attempt);
        if !state.in_flight.contains(&message) {
            state.in_flight.push(message);
        }
    }

    /// What people, processes and disks do.
    pub(super) fn outside(&self, state: &State) -> Vec<(String, State)> {
        let mut steps = Vec::new();
        for message in 0..self.messages.len() {
            let sender = self.messages[message].0;
            let earlier_sent =
                (0..message).all(|m| state.answers[m] != Answer::NotSent || self.messages[m].0 != sender);
            if state.answers[message] == Answer::NotSent && earlier_sent {
                let mut next = state.clone();
                self.send(&mut next, message);
                steps.push((format!("message {message} is sent"), next));
            }
            let sent = !matches!(state.answers[message], Answer::NotSent | Answer::Refused);
            if state.retries > 0 && sent && state.attempts.len() < 5 {
                let mut next = state.clone();
                next.retries -= 1;
                self.send(&mut next, message);
                steps.push((format!("message {message} is sent again, with the same client id"), next));
            }
        }
        if self.blocks && state.block_answered.is_none() && !state.changing && !state.blocked {
            let mut next = state.clone();
            next.block_answered = Some(false);
            next.changing = true;
            next.queue.push(Queued::Block);
            steps.push(("Bob's block of Alice is decided and queued".into(), next));
        }
        for d in (0..DEVICES).filter(|d| self.has(*d)) {
            if state.devices[d].link == Link::Away {
                let mut next = state.clone();
                let mark = state.installed[OWNER[d]];
                let read_first = self.rules.attach == Attach::ReadAllThenRegister;
                let queue = if read_first {
                    self.backlog(state, d, state.devices[d].cursor, u8::MAX)
                } else {
                    vec![]
                };
                let device = &mut next.devices[d];
                (device.link, device.mark, device.queue) = (Link::Attaching, mark, queue);
                device.told_now.clear();
                steps.push((format!("device {d} attaches"), next));
            } else if state.devices[d].link == Link::Live && state.left[DEATHS] > 0 {
                let mut next = state.clone();
                next.left[DEATHS] -= 1;
                let device = &mut next.devices[d];
                (device.link, device.in_hand) = (Link::Away, None);
                device.queue.clear();
                device.behind.clear();
                steps.push((format!("the session of device {d} dies"), next));
            }
        }
        let may_leave = state.in_flight.is_empty()
            && (!self.relaxed || !self.rules.relaxed_stays || state.queue.is_empty());
        if state.left[EVICTIONS] > 0 && may_leave {
            let mut next = state.clone();
            next.left[EVICTIONS] -= 1;
            next.known = self.known_on_disk(state);
            steps.push(("Alice is evicted and loaded again".into(), next));
        }
        self.fail(state, &mut steps);
        self.crash(state, &mut steps);
        steps
    }

    fn fail(&self, state: &State, steps: &mut Vec<(String, State)>) {
        if state.left[FAILURES] == 0 || state.queue.is_empty() {
            return;
        }
        for (kind, name) in [
            (failure::ROLLED_BACK, "rolled back"),
            (failure::KEPT, "kept"),
            (failure::IN_CACHE, "kept in the page cache only"),
            (failure::GHOST, "reads as rolled back, its frames still in the log"),
        ] {
            if self.failure_kinds & kind == 0 {
                continue;
            }
            let mut next = state.clone();
            next.left[FAILURES] -= 1;
            let (written, _) = self.written(&mut next, &state.cache, state.queue.len());
            match kind {
                failure::ROLLED_BACK => {}
                failure::KEPT => (next.cache, next.disk) = (written.clone(), written),
                failure::IN_CACHE => (next.cache, next.hole) = (written, true),
                _ => next.ghost = Some(written),
            }
            self.reopen(&mut next, false);
            steps.push((format!("a commit fails ({name}); the store is opened again"), next));
        }
    }

    fn crash(&self, state: &State, steps: &mut Vec<(String, State)>) {
        for count in 0..=state.queue.len() {
            if state.left[KILLS] > 0 {
                let mut next = state.clone();
                next.left[KILLS] -= 1;
                let (written, _) = self.written(&mut next, &state.cache, count);
                if count > 0 {
                    next.cache = written;
                } else if let Some(ghost) = next.ghost.take() {
                    next.cache = ghost;
                }
                next.ghost = None;
                self.reopen(&mut next, true);
                steps
                    .push((format!("kill, {count} of the queue written and not synced; opened again"), next));
            }
            if state.left[POWER_CUTS] > 0 {
                let mut next = state.clone();
                next.left[POWER_CUTS] -= 1;
                let (written, _) = self.written(&mut next, &state.disk, count);
                next.cache =
                    if count > 0 && state.disk == state.cache { written } else { state.disk.clone() };
                next.disk = next.cache.clone();
                next.hole = false;
                self.reopen(&mut next, true);
                steps.push((format!("power cut, {count} of the queue on disk; opened again"), next));
            }
        }
    }
}
