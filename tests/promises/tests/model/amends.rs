//! What an author does to a message later, what was read, and what both sides know of it.

use crate::run::{Run, Step, address};
use rosterkit::{
    Actor, Amend, Amendment, Answer, Command, Content, Conversation, ConversationsRequest, ErrorKind,
    Message, ReceiptState,
};
use rosterkit_promises::reference::{Row, Who};

/// So far back an author's message is found for sure.
const RECENT: usize = 50;

impl Run {
    /// An edit or a retraction of something that was sent lately, perhaps by somebody else.
    pub(crate) fn amend(&mut self) -> Step {
        let recent = &self.past[self.past.len().saturating_sub(RECENT)..];
        if recent.is_empty() {
            return Ok(());
        }
        let past = &recent[self.random.usize(..recent.len())];
        let (recipient, message_id) = (past.recipient.clone(), past.receipt.id);
        let Some(number) = self.model.log.iter().position(|row| row.id == Some(message_id)) else {
            return Ok(());
        };
        let mut author = self.model.log[number].sender;
        if self.random.u8(..6) == 0 {
            let Some((other, _)) = self.any_account() else { return Ok(()) };
            author = other;
        }
        if !self.model.accounts[author].alive {
            return Ok(());
        }
        let retract = self.random.u8(..3) == 0;
        let text = if retract { String::new() } else { format!("{} as edited", self.next_text()) };
        let amendment = if retract { Amendment::Retract } else { Amendment::Edit(Content::text(&text)) };
        let amend = Amend { recipient: recipient.clone(), message_id, amendment, client_id: None };
        let from = self.model.accounts[author].address.clone();
        let session = self.session_of(author);
        let expected = self.amendment_is_expected(author, number, &recipient);
        let result = self.engine().call(&Actor { account: from.clone(), session }, Command::Amend(amend));
        self.say(format!("{from} {session:?} amends {number}: {text:?}: {result:?}"));
        // Without history it may be there for a while.
        let sure = self.model.accounts[author].keep_history;
        match (result, expected) {
            (Err(error), Err(kind)) if error.kind == kind => Ok(()),
            (Err(error), _) if !sure && error.kind == ErrorKind::NotFound => Ok(()),
            (Ok(Answer::Receipt(receipt)), Ok(word)) if receipt.outcome == word => {
                let row = self.row(author, session, &recipient, text, receipt);
                self.absorb(vec![Row { amends: Some(number), ..row }])
            }
            (other, expected) => Err(format!("amending was answered {other:?} instead of {expected:?}")),
        }
    }

    fn amendment_is_expected(
        &self,
        author: Who,
        number: usize,
        recipient: &rosterkit::Address,
    ) -> Result<rosterkit::Word, ErrorKind> {
        let row = &self.model.log[number];
        if row.sender != author || self.model.who(recipient) != Some(row.recipient) {
            return Err(ErrorKind::NotFound);
        }
        if row.is_retracted() {
            return Err(ErrorKind::Conflict);
        }
        let word = self.model.word(author, recipient)?;
        // What was taken before its author was held is not theirs to change.
        let same = |other: &&Row| other.id == row.id && other.amends.is_none();
        let theirs = self.model.log.iter().filter(same).any(|other| other.is_of(row.recipient));
        if self.model.quarantines(row.recipient, author) && theirs {
            return Err(ErrorKind::Forbidden);
        }
        Ok(word)
    }

    /// A person has read what somebody sent, up to one of it.
    pub(crate) fn mark_read(&mut self) -> Step {
        let Some((who, account)) = self.any_account() else { return Ok(()) };
        let peer = self.any_user();
        let received: Vec<_> = match self.model.who(&peer) {
            Some(peer) => (self.model.log.iter())
                // What waits in quarantine nobody has seen.
                .filter(|row| row.is_of(who) && row.recipient == who && row.sender == peer)
                .filter_map(|row| row.position)
                .collect(),
            None => Vec::new(),
        };
        if received.is_empty() && self.model.who(&peer).is_some() {
            return Ok(());
        }
        let upto = match received.len() {
            0 => self.highest,
            count => received[self.random.usize(..count)],
        };
        let actor = Actor { account: account.clone(), session: self.session_of(who) };
        let result = self.engine().call(&actor, Command::MarkRead { peer: peer.clone(), upto });
        self.say(format!("{account} has read {peer} up to {upto:?}: {result:?}"));
        match (result, self.model.who(&peer)) {
            (Ok(Answer::Done), Some(peer)) => {
                self.model.has_read(who, peer, upto);
                Ok(())
            }
            (Err(error), None) if error.kind == ErrorKind::NotFound => Ok(()),
            other => Err(format!("what was read was answered {other:?}")),
        }
    }

    /// Every account's conversations, and what its history says of its own messages.
    pub(crate) fn compare_conversations(&mut self) -> Step {
        self.eventually(|run| {
            for who in 0..run.model.accounts.len() {
                let account = &run.model.accounts[who];
                if !account.alive || !account.keep_history {
                    continue;
                }
                let request = ConversationsRequest { before: None, limit: 1_000 };
                let actor = Actor { account: account.address.clone(), session: None };
                let answer = run.engine().call(&actor, Command::ReadConversations(request));
                let Ok(Answer::Conversations(page)) = answer else { return Err(format!("{answer:?}")) };
                let mut got: Vec<_> = page.conversations.iter().map(shown).collect();
                let mut all = run.model.conversations(who);
                got.sort_unstable();
                all.sort_unstable();
                if got != all {
                    return Err(format!(
                        "{}'s conversations are {got:?} instead of {all:?}",
                        account.address
                    ));
                }
                for message in run.pages(&account.address, None)? {
                    run.compare_receipt(who, &message)?;
                }
            }
            Ok(())
        })
    }

    /// Nobody is said to have taken what nobody claimed; and read is exactly what was.
    fn compare_receipt(&self, who: Who, message: &Message) -> Step {
        let number = self.model.log.iter().position(|row| row.position == Some(message.position));
        let Some(number) = number.filter(|_| message.copy) else { return Ok(()) };
        let recipient = self.model.log[number].recipient;
        let displayed = self.model.displayed(who, recipient) >= message.position;
        let told = message.receipt;
        let unclaimed = self.model.accounts[recipient].unclaimed.contains_key(&number);
        if (told == Some(ReceiptState::Displayed)) != displayed
            || told == Some(ReceiptState::Delivered) && unclaimed
        {
            return Err(format!("{number} is said to be {told:?}; read {displayed}, unclaimed {unclaimed}"));
        }
        Ok(())
    }
}

fn shown(conversation: &Conversation) -> (rosterkit::Address, String, u32) {
    let text = conversation.latest.content.as_text().unwrap_or_default().to_owned();
    (address(conversation.peer.as_str()), text, conversation.unread)
}
