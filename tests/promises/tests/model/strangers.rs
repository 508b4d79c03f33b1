//! What waits in quarantine, and what becomes of it.

use crate::run::{Run, Step};
use rosterkit::{Actor, Address, Answer, Command, ErrorKind, Position};
use rosterkit_promises::reference::{Row, SeenBy, Who};

impl Run {
    /// Admits somebody, or refuses them, whether something of theirs is held or not.
    pub(crate) fn decide_on_stranger(&mut self) -> Step {
        let Some((who, account)) = self.any_account() else { return Ok(()) };
        self.eventually(|run| run.compare_quarantine(who, &account))?;
        let sender = self.any_user();
        // Without history what was admitted may be gone before anybody could look where it stands.
        if self.random.bool() && self.model.accounts[who].keep_history {
            return self.admit_sender(who, &account, &sender);
        }
        let block = self.random.u8(..4) == 0;
        let actor = Actor { account: account.clone(), session: None };
        let command = Command::RefuseSender { sender: sender.clone(), block };
        self.engine().call(&actor, command).map_err(|e| format!("refusing {sender}: {e}"))?;
        self.say(format!("{account} refuses {sender}, blocks {block}"));
        for number in self.model.held(who, &sender) {
            self.model.accounts[who].quarantine.remove(&number);
        }
        let peer = self.model.who(&sender);
        let model = &mut self.model.accounts[who];
        peer.map(|peer| model.admitted.remove(&peer));
        if block {
            model.blocked.insert(sender);
        }
        self.settle();
        Ok(())
    }

    fn admit_sender(&mut self, who: Who, account: &Address, sender: &Address) -> Step {
        let actor = Actor { account: account.clone(), session: None };
        let (held, peer) = (self.model.held(who, sender), self.model.who(sender));
        let result = self.engine().call(&actor, Command::AdmitSender(sender.clone()));
        self.say(format!("{account} admits {sender}, of whom it holds {held:?}: {result:?}"));
        match result {
            Ok(Answer::Done) if peer.is_some() || !held.is_empty() => {}
            Err(error) if error.kind == ErrorKind::NotFound && peer.is_none() && held.is_empty() => {
                return Ok(());
            }
            other => return Err(format!("admitting {sender} was answered {other:?}")),
        }
        self.model.accounts[who].admitted.extend(peer);
        // Where they stand now is all that the model cannot know.
        let history = self.pages(account, None)?;
        let mut rows = Vec::new();
        for number in held {
            self.model.accounts[who].quarantine.remove(&number);
            let row = &self.model.log[number];
            let Some(message) = history.iter().find(|message| Some(message.id) == row.id) else {
                return Err(format!("{number} was admitted, and is not in the history"));
            };
            rows.push(Row {
                position: Some(message.position),
                id: row.id,
                sender: row.sender,
                recipient: who,
                text: row.text.clone(),
                earlier: Vec::new(),
                amends: None,
                device: None,
                session: None,
                seen_by: SeenBy::Recipient,
            });
        }
        self.absorb(rows)
    }

    /// What is held is what the model holds.
    fn compare_quarantine(&self, who: Who, account: &Address) -> Step {
        let actor = Actor { account: account.clone(), session: None };
        let command = Command::ReadQuarantined { after: Position::ZERO, limit: 1_000 };
        let answer = self.engine().call(&actor, command);
        let Ok(Answer::History(page)) = answer else { return Err(format!("{answer:?}")) };
        let got: Vec<(Position, String)> =
            (page.messages.iter()).map(|m| (m.position, m.content.as_text().unwrap().to_owned())).collect();
        let held = self.model.accounts[who].quarantine.iter().map(|number| &self.model.log[*number]);
        let all: Vec<(Position, String)> =
            held.map(|row| (row.position.unwrap(), row.text.clone().unwrap())).collect();
        if got == all { Ok(()) } else { Err(format!("{account} holds {got:?} instead of {all:?}")) }
    }

    /// Of every account.
    pub(crate) fn compare_quarantines(&mut self) -> Step {
        let accounts = self.model.accounts.iter().enumerate().filter(|(_, account)| account.alive);
        let accounts: Vec<(Who, Address)> = accounts.map(|(who, a)| (who, a.address.clone())).collect();
        accounts.into_iter().try_for_each(|(who, account)| self.compare_quarantine(who, &account))
    }
}
