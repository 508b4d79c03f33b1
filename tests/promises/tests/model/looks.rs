//! Looking at everything that can be seen.

use crate::run::{Drive, Run, Step, USERS, address};
use rosterkit::store::Store;
use rosterkit::{
    Actor, Address, Anchor, Answer, Command, Direction, HistoryRequest, Message, Position, State,
};
use rosterkit_core::row::Side;

impl Run {
    /// Everything is read, and everything that can be seen is the model's.
    pub(crate) fn look(&mut self) -> Step {
        self.settle();
        self.compare_rosters()?;
        for id in self.live.keys().copied().collect::<Vec<_>>() {
            if self.live[&id].host.is_none() {
                self.read_all(id)?;
            }
        }
        self.compare_presence()?;
        self.ask_for_presence()?;
        self.compare_history()?;
        self.eventually(Run::compare_quarantines)?;
        self.compare_conversations()
    }

    /// The file holds nothing for an account that is gone.
    pub(crate) fn audit(&mut self) -> Step {
        if self.drive == Drive::Threads {
            // What is lazy needs time, which does not stand still there.
            return Ok(());
        }
        self.advance()?;
        self.engine().shutdown(true).map_err(|e| e.to_string())?;
        let mut opened = self.store.open().map_err(|e| e.to_string())?;
        let alive: Vec<_> = (self.model.accounts.iter().filter(|account| account.alive))
            .map(|account| opened.reader.address_id(&account.address).unwrap().unwrap())
            .collect();
        let positions: Vec<Position> = self.model.log.iter().filter_map(|row| row.position).collect();
        for row in opened.reader.rows_at(&positions).map_err(|e| e.to_string())? {
            for (side, id) in [(Side::Sender, row.entry.sender), (Side::Recipient, row.entry.recipient)] {
                if row.sides.needed_by(side) && !alive.contains(&id) {
                    return Err(format!("the account of {side:?} is gone, and keeps {row:?}"));
                }
            }
        }
        match &opened.facts.unswept[..] {
            [] => Ok(()),
            left => Err(format!("the rows of {left:?} are still to be cleared")),
        }
    }

    /// Whoever asks for somebody's presence is told what he may see.
    pub(crate) fn ask_for_presence(&mut self) -> Step {
        self.eventually(|run| {
            let alive = || run.model.accounts.iter().enumerate().filter(|(_, a)| a.alive);
            for (viewer, account) in alive() {
                let actor = Actor { account: account.address.clone(), session: None };
                for (subject, of) in alive() {
                    let answer = run.engine().call(&actor, Command::ReadPresence(of.address.clone()));
                    let Ok(Answer::Presence(presence)) = answer else { return Err(format!("{answer:?}")) };
                    let seen = (presence.state, presence.note.as_deref().map(str::to_owned));
                    let expected = run.model.sees(viewer, subject);
                    if seen != expected {
                        let (viewer, subject) = (&account.address, &of.address);
                        return Err(format!("{viewer} sees {subject} {seen:?} instead of {expected:?}"));
                    }
                }
            }
            Ok(())
        })
    }

    /// Each session that is online was told of everybody it sees.
    pub(crate) fn compare_presence(&mut self) -> Step {
        self.eventually(|run| {
            for id in run.live.keys().copied().collect::<Vec<_>>() {
                if run.drive == Drive::Threads && run.live[&id].host.is_none() {
                    run.read_all(id)?;
                }
                let session = &run.model.sessions[&id];
                if session.shows.is_none() {
                    continue;
                }
                let roster = &run.model.accounts[session.who].roster;
                let seen_by =
                    roster.iter().filter(|(p, v)| v.to() && run.model.accounts[**p].alive).map(|(p, _)| *p);
                for subject in seen_by {
                    let expected = run.model.sees(session.who, subject);
                    let address = &run.model.accounts[subject].address;
                    let seen = run.live[&id].seen.get(address).cloned().unwrap_or((State::Unknown, None));
                    if seen != expected {
                        return Err(format!(
                            "session {} saw {address} {seen:?} instead of {expected:?}",
                            id.0
                        ));
                    }
                }
            }
            Ok(())
        })
    }

    pub(crate) fn compare_history(&mut self) -> Step {
        self.eventually(|run| {
            for (who, account) in run.model.accounts.iter().enumerate().filter(|(_, a)| a.alive) {
                for peer in [None, Some(address(USERS[0])), Some(address(USERS[3]))] {
                    let got: Vec<(Position, String)> = run
                        .pages(&account.address, peer.as_ref())?
                        .iter()
                        .map(|m| (m.position, m.content.as_text().unwrap().to_owned()))
                        .collect();
                    let all: Vec<(Position, String)> = run
                        .model
                        .history(who, peer.as_ref())
                        .into_iter()
                        .map(|row| (row.position.unwrap(), row.text.clone().unwrap()))
                        .collect();
                    // Without history a row is there for a while, or is not; none is there that was not sent.
                    let wrong =
                        if account.keep_history { got != all } else { got.iter().any(|m| !all.contains(m)) };
                    if wrong {
                        return Err(format!(
                            "{}'s history with {peer:?} is {got:?} instead of {all:?}",
                            account.address
                        ));
                    }
                }
            }
            Ok(())
        })
    }

    /// The whole history, page by page.
    pub(crate) fn pages(&self, account: &Address, peer: Option<&Address>) -> Result<Vec<Message>, String> {
        let actor = Actor { account: account.clone(), session: None };
        let mut all = Vec::new();
        let mut anchor = Anchor::End;
        loop {
            let request =
                HistoryRequest { peer: peer.cloned(), anchor, direction: Direction::Newer, limit: 100 };
            // A session reads on its own thread, an account's page comes by way of the engine's.
            let session = self.live.values().find(|live| live.session.account() == account);
            let answer = match session {
                Some(live) => live.session.history(request).map(Answer::History),
                None => self.engine().call(&actor, Command::ReadHistory(request)),
            };
            match answer {
                Ok(Answer::History(page)) => {
                    all.extend(page.messages);
                    match all.last() {
                        Some(last) if !page.complete => anchor = Anchor::Row(last.position),
                        _ => return Ok(all),
                    }
                }
                other => return Err(format!("{other:?}")),
            }
        }
    }
}
