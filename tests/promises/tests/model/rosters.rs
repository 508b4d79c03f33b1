//! Rosters, blocking and presence.

use crate::run::{Drive, Run, Step};
use rosterkit::{
    Actor, Address, Answer, Command, ErrorKind, InvitationToken, Op, Position, RosterEdit, SessionId,
    SetPresence, State, Timestamp, Visibility,
};
use rosterkit_promises::mortal::Fate;
use rosterkit_promises::reference::Shown;
use std::time::SystemTime;

impl Run {
    pub(crate) fn edit(&mut self, fate: Fate) -> Step {
        let Some((owner, account)) = self.any_account() else { return Ok(()) };
        let ops = [
            Op::Add,
            Op::Add,
            Op::Add,
            Op::Remove,
            Op::Subscribe,
            Op::Subscribed,
            Op::Unsubscribe,
            Op::Unsubscribed,
            Op::Update,
        ];
        let op = ops[self.random.usize(..ops.len())];
        let peer = self.any_user();
        if self.model.who(&peer).is_none() && !matches!(op, Op::Add | Op::Subscribe) {
            return Ok(());
        }
        let edit = || {
            let name = (op == Op::Update).then(|| "a name".to_owned());
            Command::Roster(RosterEdit { name, ..RosterEdit::new(&peer, op) })
        };
        let actor = Actor { account: account.clone(), session: None };
        self.store.decide(fate);
        let mut result = self.engine().call(&actor, edit());
        if fate == Fate::Dead {
            self.restart_from_death()?;
            result = self.engine().call(&actor, edit());
        }
        if matches!(self.met(fate), Some(Fate::Lost | Fate::WrittenUnknown)) {
            self.model.attach_all_again();
        }
        while matches!(&result, Err(error) if matches!(error.kind, ErrorKind::Storage { .. })) {
            result = self.engine().call(&actor, edit());
        }
        self.say(format!("{account} {op:?} {peer}: {result:?}"));
        let expected = self.model.edit(owner, &peer, op);
        let got = result.map(drop).map_err(|e| e.kind);
        if got != expected {
            return Err(format!("the edit was answered {got:?} instead of {expected:?}"));
        }
        self.compare_rosters()
    }

    /// Both sides' rosters are the model's.
    pub(crate) fn compare_rosters(&mut self) -> Step {
        self.eventually(|run| {
            for (who, account) in run.model.accounts.iter().enumerate().filter(|(_, a)| a.alive) {
                let actor = Actor { account: account.address.clone(), session: None };
                let answer = run.engine().call(&actor, Command::ReadRoster { since: Position::ZERO });
                let Ok(Answer::Roster(roster)) = answer else { return Err(format!("{answer:?}")) };
                let mut got: Vec<_> =
                    roster.buddies.iter().map(|b| (b.address.clone(), b.listed, b.status())).collect();
                let mut expected: Vec<_> = run.model.accounts[who]
                    .roster
                    .iter()
                    .filter(|(_, view)| view.listed || view.status() != rosterkit::Status::None)
                    .map(|(p, view)| (run.model.accounts[*p].address.clone(), view.listed, view.status()))
                    .collect();
                got.sort_by(|a, b| a.0.cmp(&b.0));
                expected.sort_by(|a, b| a.0.cmp(&b.0));
                if got != expected {
                    return Err(format!("{}'s roster is {got:?} instead of {expected:?}", account.address));
                }
            }
            Ok(())
        })
    }

    pub(crate) fn block(&mut self) -> Step {
        let Some((who, account)) = self.any_account() else { return Ok(()) };
        let whom = match self.random.u8(..4) {
            0 => Address::new("example.net").unwrap(),
            _ => self.any_user(),
        };
        let blocked = self.random.bool();
        let actor = Actor { account: account.clone(), session: None };
        let command = Command::Block { address: whom.clone(), blocked };
        self.engine().call(&actor, command).map_err(|e| format!("blocking: {e}"))?;
        self.say(format!("{account} {whom} {blocked}"));
        let list = &mut self.model.accounts[who].blocked;
        let _ = if blocked { list.insert(whom) } else { list.remove(&whom) };
        self.settle();
        Ok(())
    }

    pub(crate) fn set_visibility(&mut self) -> Step {
        let Some((who, account)) = self.any_account() else { return Ok(()) };
        let viewer = self.any_user();
        let all = [Visibility::Full, Visibility::StateOnly, Visibility::Hidden];
        let visibility = all[self.random.usize(..3)];
        let actor = Actor { account: account.clone(), session: None };
        let command = Command::SetVisibility { viewer: viewer.clone(), visibility };
        let got = self.engine().call(&actor, command).map(drop).map_err(|e| e.kind);
        self.say(format!("{account} {viewer} {visibility:?}"));
        let expected = self.model.set_visibility(who, &viewer, visibility);
        if got != expected {
            return Err(format!("visibility was answered {got:?} instead of {expected:?}"));
        }
        self.settle();
        Ok(())
    }

    /// An invitation is made and brought, and whatever is left of it taken back.
    pub(crate) fn redeem(&mut self) -> Step {
        let (Some((host, host_address)), Some((guest, guest_address))) =
            (self.any_account(), self.any_account())
        else {
            return Ok(());
        };
        let token = InvitationToken::from_random([self.random.u8(..); 16]);
        let ask = |run: &Self, account: &Address, command| {
            let actor = Actor { account: account.clone(), session: None };
            run.engine().call(&actor, command).map(drop).map_err(|e| e.kind)
        };
        let now = match self.drive {
            Drive::Threads => SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64,
            Drive::Virtual => 1_700_000_000_000,
        };
        let expires = Timestamp(now + 300 * 86_400_000);
        ask(self, &host_address, Command::Invite { token: token.clone(), expires })
            .map_err(|e| format!("inviting: {e:?}"))?;
        let edit = RosterEdit { token: Some(token), ..RosterEdit::new(&host_address, Op::Add) };
        let got = ask(self, &guest_address, Command::Roster(edit));
        self.say(format!("{guest_address} brings an invitation of {host_address}: {got:?}"));
        let expected = self.model.redeem(guest, host);
        if got != expected {
            return Err(format!("redeeming was answered {got:?} instead of {expected:?}"));
        }
        self.compare_rosters()?;
        ask(self, &host_address, Command::RevokeInvitations(None)).map_err(|e| format!("revoking: {e:?}"))
    }

    pub(crate) fn set_presence(&mut self) -> Step {
        let Some(id) = self.any_session(false) else { return Ok(()) };
        let states = [State::Online, State::Away, State::Busy, State::Chat];
        let shown = Shown {
            state: states[self.random.usize(..states.len())],
            note: self.random.bool().then(|| format!("note {}", self.random.u8(..3))),
            invisible: self.random.u8(..5) == 0,
            priority: if self.random.u8(..6) == 0 { -1 } else { 0 },
            since: 0,
        };
        let presence = SetPresence {
            note: shown.note.clone(),
            priority: shown.priority,
            invisible: shown.invisible,
            ..SetPresence::state(shown.state)
        };
        // Whoever comes online starts with nothing seen: the snapshot says it all.
        let comes = self.model.sessions[&id].shows.is_none();
        let live = self.live.get_mut(&id).unwrap();
        if comes {
            live.seen.clear();
        }
        live.session.set_presence(presence.clone()).map_err(|e| e.to_string())?;
        self.say(format!("session {} {presence:?}", id.0));
        self.model.show(id, Some(shown));
        self.shown(id)
    }

    /// One that takes messages again is attached anew, and takes what nobody has before another session comes.
    fn shown(&mut self, id: SessionId) -> Step {
        if self.drive == Drive::Threads && self.model.sessions[&id].takes() {
            return self.take_in_hand(id);
        }
        self.settle();
        Ok(())
    }

    pub(crate) fn go_offline(&mut self) -> Step {
        let Some(id) = self.any_session(false) else { return Ok(()) };
        // What waits in its queue was true until now.
        self.read_all(id)?;
        self.live[&id].session.go_offline().map_err(|e| e.to_string())?;
        self.say(format!("session {}", id.0));
        self.model.show(id, None);
        self.shown(id)
    }

    pub(crate) fn take_presence(
        &mut self,
        id: SessionId,
        subject: &Address,
        seen: (State, Option<String>),
    ) -> Step {
        let session = &self.model.sessions[&id];
        let live = self.live.get_mut(&id).unwrap();
        if session.shows.is_none() {
            return Ok(());
        }
        live.seen.insert(subject.clone(), seen.clone());
        let expected = match self.model.who(subject) {
            Some(who) => self.model.sees(session.who, who),
            None => (State::Offline, None),
        };
        // On threads what was true a moment ago may still be on its way.
        if self.drive == Drive::Virtual && seen != expected {
            return Err(format!("session {} sees {subject} {seen:?} instead of {expected:?}", id.0));
        }
        Ok(())
    }
}
