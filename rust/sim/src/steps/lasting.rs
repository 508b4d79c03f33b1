//! Observers that stay, whatever the disk does, and sessions that come while it fails.

use super::Random;
use crate::disk::Fault;
use crate::facts::keeps_history;
use crate::kept::{Observer, is_something, seen};
use crate::ledger::Sent;
use crate::people::{actor, address};
use crate::world::{Came, Step, World};
use rosterkit::store::vfs::Failure;
use rosterkit::{
    Address, Answer, Buddy, Command, ConversationsRequest, EventBody, MessageId, Position, SessionOptions,
    SetPresence, State,
};
use std::collections::BTreeMap;
use std::time::Duration;

impl Observer {
    /// Takes what it was told. False when it has ended.
    fn learn(&mut self) -> bool {
        loop {
            let Ok(events) = self.session.next_events(1_000, Duration::ZERO) else { return false };
            let Some(last) = events.last() else { return true };
            self.session.ack(last.seq);
            for event in events {
                match event.body {
                    EventBody::RosterChanged { buddy, .. } => {
                        self.buddies.insert(buddy.address.clone(), (*buddy).clone());
                    }
                    EventBody::ConversationChanged(one) => {
                        self.conversations.insert(one.peer.clone(), (one.latest.id, one.unread));
                    }
                    EventBody::SnapshotEnd => self.is_whole = true,
                    EventBody::Ended(_) => return false,
                    _ => {}
                }
            }
        }
    }
}

impl World {
    /// An observer comes, or what it was told since is looked at: it is what is so, after whatever failed.
    pub(super) fn keep_observing(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some(mut observer) = self.machines[machine].kept.observer.take() else {
            return self.begin_to_observe(machine, random);
        };
        if !self.calm(machine)? {
            return Ok(());
        }
        // What failed is read again each second, and marks are told when they are written.
        self.advance(3_500)?;
        if !observer.learn() {
            return Err(format!("an observer of user{} has ended", observer.user));
        }
        let all = ConversationsRequest { before: None, limit: 1_000 };
        let user = observer.user;
        let page = self.call(machine, &actor(user), Command::ReadConversations(all))?;
        let roster = self.call(machine, &actor(user), Command::ReadRoster { since: Position::ZERO })?;
        let (Came::Done(Answer::Conversations(page)), Came::Done(Answer::Roster(roster))) = (page, roster)
        else {
            return Err(format!("user{user} cannot read what an observer is told"));
        };
        // What was forgotten since is in no page, and was told otherwise.
        let now: BTreeMap<Address, (MessageId, u32)> =
            page.conversations.into_iter().map(|one| (one.peer, (one.latest.id, one.unread))).collect();
        let told = |peer: &Address| observer.conversations.get(peer).copied();
        // That a message has expired is told when it is written.
        let (ledger, now_is) = (&self.machines[machine].ledger, self.now);
        let dated = |peer: &Address| {
            let of_peer = |sent: &Sent| address(sent.sender) == *peer && sent.reaches().contains(&user);
            let just_now = |expires: u64| expires <= now_is && expires + 5_000 > now_is;
            ledger.mails.values().any(|mail| mail.sent.expires.is_some_and(just_now) && of_peer(&mail.sent))
        };
        if let Some((peer, is)) = now.iter().find(|(peer, is)| told(peer) != Some(**is) && !dated(peer)) {
            return Err(format!(
                "an observer of user{user} was told {:?} of {peer}, and it is {is:?}",
                told(peer)
            ));
        }
        let whole_of = |buddies: &mut dyn Iterator<Item = &Buddy>| {
            let mut all: Vec<_> = buddies.filter(|buddy| is_something(buddy)).map(seen).collect();
            all.sort();
            all
        };
        let (known, buddies) =
            (whole_of(&mut observer.buddies.values()), whole_of(&mut roster.buddies.iter()));
        if !observer.is_whole || known != buddies {
            return Err(format!("an observer of user{user} was told {known:?}, and there is {buddies:?}"));
        }
        self.covered.add("observers.newest-wins");
        let failed = self.machines[machine].disk.counts().failed;
        if failed > observer.failed_before {
            self.covered.add("observers.again");
        }
        observer.failed_before = failed;
        if random.u8(0..4) > 0 {
            self.machines[machine].kept.observer = Some(observer);
        }
        Ok(())
    }

    fn begin_to_observe(&mut self, machine: usize, random: &mut Random) -> Step {
        let user = self.here(machine, random);
        if !keeps_history(user) {
            // What was taken goes out of its conversations.
            return Ok(());
        }
        let options = SessionOptions { observes: true, ..SessionOptions::default() };
        let failed_before = self.machines[machine].disk.counts().failed;
        let opened = self.engine(machine)?.open_session(&address(user), options);
        match opened {
            Ok(session) if !self.machines[machine].disk.is_off() => {
                let (buddies, conversations) = (BTreeMap::new(), BTreeMap::new());
                let is_whole = false;
                self.machines[machine].kept.observer =
                    Some(Observer { user, session, buddies, conversations, is_whole, failed_before });
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                let came = self.came(machine, Err(error))?;
                self.has_failed(machine, "an observer", &came)
            }
        }
    }

    /// A session comes online while the disk fails under what it is to be shown: once it works again it is whole.
    pub(super) fn come_while_it_fails(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let user = self.here(machine, random);
        let failed_before = self.machines[machine].disk.counts().failed;
        // It takes no messages: those are for the sessions that stay.
        let session = match self.engine(machine)?.open_session(&address(user), SessionOptions::default()) {
            Ok(session) => session,
            Err(error) => return Err(format!("a session on a good disk: {error}")),
        };
        let failure = if random.bool() { Failure::Io } else { Failure::Full };
        self.plan(machine, Fault::Call { after: random.u64(0..4), failure });
        let shown = session.set_presence(SetPresence::state(State::Online)).map(|()| Answer::Done);
        let came = self.came(machine, shown)?;
        self.has_failed(machine, "presence on a failing disk", &came)?;
        if !matches!(came, Came::Done(_)) || !self.calm(machine)? {
            return Ok(());
        }
        self.advance(2_500)?;
        let told = self.told(machine, &session)?;
        if !told.contains(&EventBody::SnapshotEnd) {
            return Err(format!(
                "a session of user{user} came online, and its snapshot has no end: {told:?}"
            ));
        }
        let told = |of: &Address| {
            told.iter().rev().find_map(|body| match body {
                EventBody::Presence { subject, presence } if subject == of => Some(presence.clone()),
                _ => None,
            })
        };
        let read = Command::ReadRoster { since: Position::ZERO };
        let Answer::Roster(roster) = session.call(read).map_err(|error| error.to_string())? else {
            return Err("a roster is none".to_owned());
        };
        let here = |buddy: &&Buddy| buddy.halves.to() && buddy.address.domain() == address(user).domain();
        for buddy in roster.buddies.iter().filter(here) {
            let asked = session.presence_of(&buddy.address).map_err(|error| error.to_string())?;
            if told(&buddy.address).as_ref() != Some(&asked) {
                let told = told(&buddy.address);
                return Err(format!("user{user} was told {told:?} of {}, who is {asked:?}", buddy.address));
            }
        }
        self.covered.add("presence.snapshot");
        if self.machines[machine].disk.counts().failed > failed_before {
            self.covered.add("presence.snapshot-again");
        }
        Ok(())
    }
}
