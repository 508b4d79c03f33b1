//! Questions, and what must be true of the answers.

use super::Random;
use crate::audit::Depth;
use crate::people::{actor, address};
use crate::world::{Came, Step, World};
use rosterkit::{Answer, ChatState, Command, ConversationsRequest, SearchRequest};

impl World {
    pub(super) fn look(&mut self, machine: usize, random: &mut Random) -> Step {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        self.advance(1_500)?;
        if self.machines[machine].disk.is_off() {
            return Ok(());
        }
        self.audit(machine, Depth::Some(random.u64(..))).running()
    }

    /// Questions that change nothing, whatever the disk does meanwhile.
    pub(super) fn ask(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((user, other)) = self.two(machine, random) else { return Ok(()) };
        let ask = match random.u8(0..6) {
            0 => Command::ReadConversations(ConversationsRequest { before: None, limit: 10 }),
            1 => Command::SearchHistory(SearchRequest {
                text: "NUMBER".into(),
                peer: None,
                before: None,
                limit: 20,
            }),
            2 => Command::ExplainPresence { viewer: address(other) },
            3 => Command::ExplainAdmission { sender: address(other) },
            4 => Command::ListFiles { prefix: String::new() },
            _ => Command::Typing { recipient: address(other), state: ChatState::Composing },
        };
        let came = self.call(machine, &actor(user), ask)?;
        match &came {
            Came::Done(Answer::Found(found)) => {
                if found.messages.iter().any(|message| message.content.as_text().is_none()) {
                    return Err("a search found what is no text".into());
                }
                self.covered.add("history.search");
            }
            Came::Done(Answer::Conversations(page)) => {
                if !page.conversations.is_sorted_by(|a, b| a.position > b.position) {
                    return Err("conversations are not the latest first".into());
                }
                self.covered.add("conversations.pages");
            }
            Came::Done(Answer::Explanation(_)) => self.covered.add("explain.admission"),
            _ => {}
        }
        self.has_failed(machine, "a question", &came)
    }

    pub(super) fn wait(&mut self, _: usize, random: &mut Random) -> Step {
        let millis = match random.u8(0..10) {
            0..5 => random.u64(1..1_500),
            5..8 => random.u64(1_500..8_000),
            8 => random.u64(60_000..200_000),
            _ => random.u64(600_000..2_000_000),
        };
        self.advance(millis)?;
        for machine in 0..self.machines.len() {
            self.check_ended(machine)?;
        }
        Ok(())
    }
}
