//! Accounts and sessions: made, opened, closed, retired.

use crate::listeners::{Host, Manner};
use crate::run::{Drive, Live, Run, Step};
use rosterkit::{
    AcceptedSenders, Actor, Address, Command, Consumer, DeviceName, EndReason, ErrorKind, Event, EventBody,
    Overrides, SessionId, SessionOptions,
};
use rosterkit_promises::reference::Account;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Run {
    pub(crate) fn create(&mut self) -> Step {
        let address = self.any_user();
        self.create_as(address)
    }

    pub(crate) fn create_as(&mut self, address: Address) -> Step {
        let there = self.model.who(&address).is_some();
        let result = self.engine().create_account(&address);
        self.say(format!("{address}: {result:?}"));
        match result {
            Ok(()) if !there => {}
            Err(error) if there && error.kind == ErrorKind::Conflict => return Ok(()),
            other => return Err(format!("creating {address}, there {there}: {other:?}")),
        }
        let keep_history = self.random.u8(..4) > 0;
        let (accepted_senders, offline_storage) = self.prefer(&address, keep_history)?;
        self.model.accounts.push(Account {
            address: address.clone(),
            alive: true,
            keep_history,
            offline_storage,
            accepted_senders,
            admitted: Default::default(),
            viewers: Default::default(),
            blocked: Default::default(),
            roster: Default::default(),
            devices: Default::default(),
            unclaimed: Default::default(),
            quarantine: Default::default(),
        });
        if !keep_history {
            // Its only device is there from the beginning: what an account without history has left for a device that
            // comes later depends on when it was swept.
            self.open_as(&address, Some("phone"), true, None)?;
        }
        Ok(())
    }

    /// Sets what the account prefers, by lot.
    fn prefer(&mut self, address: &Address, keep_history: bool) -> Result<(AcceptedSenders, bool), String> {
        let policies = [
            AcceptedSenders::Everybody,
            AcceptedSenders::Everybody,
            AcceptedSenders::SameDomain,
            AcceptedSenders::Nobody,
            AcceptedSenders::Quarantine,
        ];
        let accepted_senders = policies[self.random.usize(..policies.len())];
        let offline_storage = self.random.u8(..4) > 0;
        let overrides = Overrides {
            accepted_senders: Some(accepted_senders),
            offline_storage: Some(offline_storage),
            keep_history: Some(keep_history),
            ..Overrides::default()
        };
        let actor = Actor { account: address.clone(), session: None };
        self.engine().call(&actor, Command::SetPreferences(overrides)).map_err(|e| e.to_string())?;
        self.say(format!("{address} accepts {accepted_senders:?}, stores {offline_storage}"));
        Ok((accepted_senders, offline_storage))
    }

    pub(crate) fn set_preferences(&mut self) -> Step {
        let Some((who, address)) = self.any_account() else { return Ok(()) };
        let (accepted, offline_storage) = self.prefer(&address, self.model.accounts[who].keep_history)?;
        let account = &mut self.model.accounts[who];
        (account.accepted_senders, account.offline_storage) = (accepted, offline_storage);
        Ok(())
    }

    pub(crate) fn delete(&mut self) -> Step {
        let Some((who, address)) = self.any_account() else { return Ok(()) };
        self.engine().delete_account(&address).map_err(|e| format!("deleting {address}: {e}"))?;
        self.say(address.to_string());
        self.model.delete(who);
        self.end_those_gone(EndReason::AccountDeleted)?;
        self.compare_rosters()
    }

    pub(crate) fn open(&mut self) -> Step {
        let Some((who, address)) = self.any_account() else { return Ok(()) };
        let names = if self.model.accounts[who].keep_history { 3 } else { 1 };
        let device = [None, Some("phone"), Some("tablet"), Some("laptop")][self.random.usize(..=names)];
        let manner = match self.random.u8(..8) {
            0 => Some(Manner::Takes),
            1 => Some(Manner::Fails),
            2 => Some(Manner::Answers),
            // In virtual time whoever stands still stops the world.
            3 if self.drive == Drive::Threads => Some(Manner::Blocks),
            _ => None,
        };
        let reads = self.random.u8(..6) > 0;
        self.open_as(&address, device, reads, manner)
    }

    pub(crate) fn open_as(
        &mut self,
        address: &Address,
        device: Option<&str>,
        reads: bool,
        manner: Option<Manner>,
    ) -> Step {
        let who = self.model.who(address).unwrap();
        let device = device.map(|name| DeviceName::new(name).unwrap());
        let host = manner.map(|manner| Arc::new(Host::new(manner, self.engine(), address.clone())));
        let consumer = match &host {
            Some(host) => Consumer::Listener(Arc::clone(host) as Arc<_>),
            None => Consumer::Pull,
        };
        let options =
            SessionOptions { device: device.clone(), reads_messages: reads, consumer, ..Default::default() };
        let session = self.engine().open_session(address, options).map_err(|e| format!("opening: {e}"))?;
        let id = session.id();
        self.say(format!("{address} {device:?} reads {reads} {manner:?}: session {}", id.0));
        let earlier = self
            .model
            .sessions
            .iter()
            .find(|(_, s)| s.who == who && device.is_some() && s.device == device)
            .map(|(id, _)| *id);
        if let Some(earlier) = earlier {
            self.model.close(earlier);
            self.end_those_gone(EndReason::Replaced)?;
        }
        self.model.open(id, who, device, reads);
        self.live.insert(id, Live { session, host, seen: BTreeMap::new() });
        // What it is owed is in its hands before another session comes and takes what nobody has.
        match self.drive {
            Drive::Threads if manner.is_none() => self.take_in_hand(id),
            Drive::Threads if manner == Some(Manner::Blocks) => self.eventually(|run| {
                let called = run.live[&id].host.as_ref().is_some_and(|host| host.was_called());
                let owed = !run.model.sessions[&id].queue.is_empty();
                if called || !owed { Ok(()) } else { Err("the listener that blocks was not called".into()) }
            }),
            _ => {
                self.settle();
                Ok(())
            }
        }
    }

    /// Everything a session is owed is in its hands.
    pub(crate) fn take_in_hand(&mut self, id: SessionId) -> Step {
        self.eventually(|run| {
            run.read_once(id, 10_000)?;
            if run.model.sessions[&id].queue.is_empty() { Ok(()) } else { Err("rows are missing".into()) }
        })
    }

    pub(crate) fn close(&mut self) -> Step {
        let listened = self.random.u8(..3) == 0;
        let Some(id) = self.any_session(listened) else { return Ok(()) };
        self.say(format!("session {}", id.0));
        self.close_session(id)
    }

    pub(crate) fn close_session(&mut self, id: SessionId) -> Step {
        self.absorb(Vec::new())?;
        self.live[&id].session.close();
        self.model.close(id);
        self.end_those_gone(EndReason::Closed)
    }

    /// Sessions that the model has no more have ended for this reason, and say so last.
    pub(crate) fn end_those_gone(&mut self, reason: EndReason) -> Step {
        let gone: Vec<SessionId> =
            self.live.keys().copied().filter(|id| !self.model.sessions.contains_key(id)).collect();
        for id in gone {
            let live = self.live.remove(&id).unwrap();
            let mut events: Vec<Event> = Vec::new();
            if let Some(host) = &live.host {
                host.let_go_on();
                self.eventually(|_| {
                    events.extend(host.take());
                    match events.last().map(|e| &e.body) {
                        Some(EventBody::Ended(_)) => Ok(()),
                        other => Err(format!("the listener of {} was last told {other:?}", id.0)),
                    }
                })?;
                host.forget();
            } else {
                self.eventually(|_| {
                    events.extend(live.session.next_events(10_000, Duration::ZERO).unwrap_or_default());
                    match events.last().map(|e| &e.body) {
                        Some(EventBody::Ended(_)) => Ok(()),
                        other => Err(format!("session {} was last told {other:?}", id.0)),
                    }
                })?;
            }
            if events.last().map(|e| &e.body) != Some(&EventBody::Ended(reason)) {
                return Err(format!("session {} ended {:?} instead of {reason:?}", id.0, events.last()));
            }
        }
        Ok(())
    }

    pub(crate) fn retire(&mut self) -> Step {
        let Some((who, account)) = self.any_account() else { return Ok(()) };
        let Some(name) = self.model.accounts[who].devices.keys().next().cloned() else { return Ok(()) };
        if !self.model.accounts[who].keep_history {
            return Ok(());
        }
        self.absorb(Vec::new())?;
        let actor = Actor { account: account.clone(), session: None };
        self.engine().call(&actor, Command::RetireDevice(name.clone())).map_err(|e| e.to_string())?;
        self.say(format!("{account} {name:?}"));
        self.model.retire(who, &name);
        let its =
            |s: &rosterkit_promises::reference::Session| s.who == who && s.device.as_ref() == Some(&name);
        let session = self.model.sessions.iter().find(|(_, s)| its(s)).map(|(id, _)| *id);
        if let Some(session) = session {
            self.model.close(session);
        }
        self.end_those_gone(EndReason::Replaced)
    }
}
