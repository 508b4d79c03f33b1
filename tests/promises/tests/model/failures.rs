//! Time, failing commits, death, and starting again.

use crate::listeners::{Host, Manner};
use crate::run::{Drive, Run, Step};
use rosterkit::{
    Actor, ClientId, Command, Consumer, Content, Durability, EndReason, Error, ErrorKind, Event, EventBody,
    Op, RosterEdit, Send, SessionId, SessionOptions,
};
use rosterkit_promises::mortal::Fate;
use std::sync::Arc;
use std::time::Duration;

impl Run {
    /// Lets time pass, so that everything lazy is on disk.
    pub(crate) fn advance(&mut self) -> Step {
        self.engine().advance(3_000).map_err(|e| e.to_string())
    }

    /// Lets so little time pass that of what is lazy some is on disk, some on its way and some in memory only.
    pub(crate) fn wait_a_moment(&mut self) -> Step {
        let millis = self.random.u64(1..1_500);
        self.engine().advance(millis).map_err(|e| e.to_string())
    }

    /// A send or an edit whose commit fails: nothing is lost, doubled or half done.
    pub(crate) fn fail_commit(&mut self) -> Step {
        self.absorb(Vec::new())?;
        self.advance()?;
        let fate = [Fate::RolledBack, Fate::Lost, Fate::WrittenUnknown][self.random.usize(..3)];
        self.say(format!("{fate:?}"));
        // A relaxed engine has answered a send by then, and loses it.
        if !self.is_relaxed() && self.random.bool() { self.send(fate) } else { self.edit(fate) }
    }

    /// What the command met of what was decided for it. One that was refused wrote nothing, and met nothing.
    pub(crate) fn met(&mut self, fate: Fate) -> Option<Fate> {
        let met = self.store.fate() == Fate::Written;
        self.store.decide(Fate::Written);
        met.then_some(fate)
    }

    /// The process dies right after a command that was answered, or before; nothing it had in memory is left.
    pub(crate) fn kill(&mut self) -> Step {
        // A listener's acknowledgement may be lost with the process: those are looked at elsewhere.
        self.close_listeners()?;
        self.advance()?;
        self.dying = true;
        match self.random.u8(..5) {
            0 if !self.is_relaxed() => self.send(Fate::Dead),
            1 => self.edit(Fate::Dead),
            2 => self.delete_unsettled(),
            _ => {
                // Answered, and then dead.
                if self.random.bool() { self.edit_unsettled() } else { self.send_unsettled() }
            }
        }
    }

    pub(crate) fn is_relaxed(&self) -> bool {
        self.options.durability == Durability::Relaxed
    }

    pub(crate) fn close_listeners(&mut self) -> Step {
        let listened: Vec<SessionId> =
            self.live.iter().filter(|(_, l)| l.host.is_some()).map(|(id, _)| *id).collect();
        listened.into_iter().try_for_each(|id| self.close_session(id))
    }

    /// Sends with nothing in between, so that the index is behind when the process dies.
    pub(crate) fn send_unsettled(&mut self) -> Step {
        let Some((sender, from)) = self.any_account() else { return Ok(()) };
        let to = self.any_user();
        let expected = self.model.word(sender, &to);
        let mut rows = Vec::new();
        for _ in 0..self.random.usize(1..14) {
            let text = self.next_text();
            let send =
                Send { recipient: to.clone(), content: Content::text(&text), client_id: None, expires: None };
            let result = self.engine().send(&from, send);
            let got = result.as_ref().map(|r| r.outcome).map_err(|e| e.kind);
            if got != expected {
                return Err(format!("{text} was answered {result:?} instead of {expected:?}"));
            }
            rows.extend(result.ok().map(|receipt| self.row(sender, None, &to, text, receipt)));
        }
        if self.is_relaxed() {
            // Answered, and on disk a little later.
            self.engine().advance(200).map_err(|e| e.to_string())?;
        }
        self.say(format!("{from} to {to}: {} messages, and died", rows.len()));
        self.store.decide(Fate::Dead);
        self.restart_from_death()?;
        self.absorb(rows)
    }

    /// An edit whose signal is still under way when the process dies.
    pub(crate) fn edit_unsettled(&mut self) -> Step {
        let Some((owner, account)) = self.any_account() else { return Ok(()) };
        let Some((_, peer)) = self.any_account() else { return Ok(()) };
        if account == peer {
            return Ok(());
        }
        let edit = RosterEdit::new(&peer, Op::Add);
        let actor = Actor { account: account.clone(), session: None };
        self.engine().call(&actor, Command::Roster(edit)).map_err(|e| e.to_string())?;
        self.store.decide(Fate::Dead);
        self.restart_from_death()?;
        self.model.edit(owner, &peer, Op::Add).map_err(|e| format!("{e:?}"))?;
        self.say(format!("{account} Add {peer}, and died"));
        self.compare_rosters()
    }

    /// A deletion whose rows are not cleared yet when the process dies.
    fn delete_unsettled(&mut self) -> Step {
        // Accounts are few, and most of what else can happen needs some.
        if self.random.u8(..3) > 0 {
            return self.send_unsettled();
        }
        let Some((who, account)) = self.any_account() else { return Ok(()) };
        self.engine().delete_account(&account).map_err(|e| e.to_string())?;
        self.store.decide(Fate::Dead);
        self.restart_from_death()?;
        self.say(format!("{account} deleted, and died"));
        self.model.delete(who);
        self.compare_rosters()
    }

    pub(crate) fn restart_from_death(&mut self) -> Step {
        for live in self.live.values() {
            if let Some(host) = &live.host {
                host.forget();
            }
        }
        self.dying = false;
        drop(self.engine.take());
        self.live.clear();
        self.model.close_all();
        self.store.decide(Fate::Written);
        self.open_engine();
        Ok(())
    }

    /// Shut down and opened again, with another number of shards and another cap on idle accounts.
    pub(crate) fn reopen(&mut self) -> Step {
        self.absorb(Vec::new())?;
        for live in self.live.values() {
            if let Some(host) = &live.host {
                host.let_go_on();
                host.forget();
            }
        }
        self.absorb(Vec::new())?;
        self.engine().shutdown(true).map_err(|e| e.to_string())?;
        self.model.close_all();
        self.end_those_gone(EndReason::Shutdown)?;
        drop(self.engine.take());
        self.options.shards = [1, 2, 8][self.random.usize(..3)];
        self.options.idle_accounts = [0, 1, 2, 10_000][self.random.usize(..4)];
        self.open_engine();
        Ok(())
    }

    /// A listener drops the last handle of the engine that calls it, and fails: what it was given comes again.
    pub(crate) fn end_in_a_listener(&mut self) -> Step {
        let (Some((sender, from)), Some((_, to))) = (self.any_account(), self.any_account()) else {
            return self.reopen();
        };
        if from == to || self.model.word(sender, &to).is_err() {
            return self.reopen();
        }
        self.close_listeners()?;
        let none = SessionOptions::default();
        let speaker = self.engine().open_session(&from, none.clone()).map_err(|e| e.to_string())?;
        let host = Arc::new(Host::new(Manner::Drops, self.engine(), to.clone()));
        if self.drive == Drive::Threads {
            // Failing three times before the engine is down would park the message.
            host.stand_still();
        }
        let consumer = Consumer::Listener(Arc::clone(&host) as Arc<_>);
        let options = SessionOptions { reads_messages: true, consumer, ..none };
        let _listening = self.engine().open_session(&to, options).map_err(|e| e.to_string())?;
        drop(self.engine.take());
        let text = self.next_text();
        let client_id = Some(ClientId::new(&text).unwrap());
        let send = Send { recipient: to.clone(), content: Content::text(&text), client_id, expires: None };
        let first = speaker.send_message(send.clone());
        self.eventually(|_| match speaker.next_events(100, Duration::ZERO).as_deref() {
            Ok([.., Event { body: EventBody::Ended(EndReason::Shutdown), .. }]) => Ok(()),
            other => Err(format!("{from} to {to}: {first:?}: the engine that was dropped told {other:?}")),
        })?;
        if self.drive == Drive::Threads {
            // The speaker's end was told; the listening session's comes with it, and may be a moment later.
            std::thread::sleep(Duration::from_millis(20));
        }
        host.let_go_on();
        self.live.clear();
        self.model.close_all();
        self.open_engine();
        let second = self.engine().send(&from, send);
        self.say(format!("{from} to {to}, who drops the engine: {first:?}, then {second:?}"));
        let receipt = match (first, second) {
            (Ok(first), Ok(second)) if first == second => first,
            (Err(error), Ok(second)) if error.kind == ErrorKind::Closed => second,
            (Err(Error { kind: ErrorKind::Closed, .. }), Err(_)) => return Ok(()),
            other => return Err(format!("a send to one who drops the engine: {other:?}")),
        };
        let row = self.row(sender, None, &to, text, receipt);
        self.absorb(vec![row])
    }
}
