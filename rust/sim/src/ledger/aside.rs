//! What those are owed who are there for one step: of each account what it may find when it asks, line by line.
//!
//! While somebody changes it there are two of them, before and behind; an answer leaves one.

use crate::people::wall;
use rosterkit::{
    Actor, Address, Amended, Anchor, Answer, Command, ConversationsRequest, DeviceName, Direction, Engine,
    EventBody, HistoryRequest, Message, Position, SessionOptions,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What an account can ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// Its history, and behind it what waits in quarantine.
    Messages(Address),
    /// What its own messages say of those they went to.
    Marks(Address),
    /// Its conversations, the latest first, with what is unread.
    Conversations(Address),
    /// Its own files, with what is in them.
    Files(Address),
    /// Its rules, as they are written.
    Rules(Address),
    /// What its roster says, with groups.
    Roster(Address),
    /// Its devices.
    Devices(Address),
    /// What the next session gets, of a device or without a name. To ask is to take it.
    Waits(Address, Option<&'static str>),
}

/// What may be found, and which sentences it shows to hold.
#[derive(Clone, Debug)]
pub struct Owed {
    pub kept: Kept,
    /// Empty when nobody follows it any more.
    pub may_be: Vec<Vec<String>>,
    pub sentences: &'static [&'static str],
    /// From then on something expires: nobody follows it any more.
    pub until: Option<u64>,
}

/// What all of them are owed.
#[derive(Clone, Default)]
pub struct Aside(BTreeMap<Kept, Arc<Owed>>);

impl Aside {
    pub fn take(&mut self, owed: &Arc<Owed>) {
        match owed.may_be.is_empty() {
            true => drop(self.0.remove(&owed.kept)),
            false => drop(self.0.insert(owed.kept.clone(), Arc::clone(owed))),
        }
    }

    /// What can be asked for: without taking anything, or all of it.
    pub fn owed(&self, may_take: bool, now: u64) -> Vec<&Owed> {
        let all = self.0.values().map(|owed| &**owed);
        all.filter(|owed| may_take || !matches!(owed.kept, Kept::Waits(..)))
            .filter(|owed| owed.until.is_none_or(|until| now < until))
            .collect()
    }
}

impl Owed {
    /// What is found is what may be.
    pub fn check(&self, engine: &Engine) -> Result<(), String> {
        let found = self.kept.read(engine)?;
        if self.may_be.contains(&found) {
            return Ok(());
        }
        Err(format!("{:?} is {found:?}, and may be {:?}", self.kept, self.may_be))
    }
}

/// How a message is written down.
pub fn line(sender: &str, text: &str) -> String {
    format!("{sender}: {text}")
}

/// The same of one that is found. What was amended says so.
pub fn line_of(message: &Message) -> String {
    let text = message.content.as_text().unwrap_or("data");
    let after = match message.amended {
        None => "",
        Some(Amended::Edited(_)) => " (edited)",
        Some(Amended::Retracted(_)) => " (retracted)",
    };
    format!("{}{after}", line(message.sender.user().unwrap_or_default(), text))
}

/// All of a history, the oldest first.
pub fn history(engine: &Engine, account: &Address) -> Result<Vec<Message>, String> {
    let actor = Actor { account: account.clone(), session: None };
    let request =
        HistoryRequest { peer: None, anchor: Anchor::End, direction: Direction::Newer, limit: 1_000 };
    match engine.call(&actor, Command::ReadHistory(request)) {
        Ok(Answer::History(page)) => Ok(page.messages),
        other => Err(format!("the history of {account} was answered {other:?}")),
    }
}

impl Kept {
    fn account(&self) -> &Address {
        match self {
            Kept::Messages(account)
            | Kept::Marks(account)
            | Kept::Conversations(account)
            | Kept::Files(account)
            | Kept::Rules(account)
            | Kept::Roster(account)
            | Kept::Devices(account)
            | Kept::Waits(account, _) => account,
        }
    }

    /// What is found there.
    pub fn read(&self, engine: &Engine) -> Result<Vec<String>, String> {
        let actor = Actor { account: self.account().clone(), session: None };
        let ask = |command| engine.call(&actor, command).map_err(|e| format!("{self:?}: {e}"));
        let other = |answer: Answer| Err(format!("{self:?} was answered {answer:?}"));
        match self {
            Kept::Messages(account) => {
                let mut lines: Vec<String> = history(engine, account)?.iter().map(line_of).collect();
                let read = Command::ReadQuarantined { after: Position::ZERO, limit: 1_000 };
                match ask(read)? {
                    Answer::History(page) => {
                        lines.extend(page.messages.iter().map(|m| format!("waits {}", line_of(m))));
                    }
                    answer => return other(answer),
                }
                Ok(lines)
            }
            Kept::Marks(account) => {
                let all = history(engine, account)?;
                let own = all.iter().filter(|message| message.copy);
                Ok(own.map(|m| format!("{} {:?}", line_of(m), m.receipt)).collect())
            }
            Kept::Conversations(_) => {
                match ask(Command::ReadConversations(ConversationsRequest { before: None, limit: 1_000 }))? {
                    Answer::Conversations(page) => Ok(page
                        .conversations
                        .iter()
                        .map(|one| format!("{} {} {}", one.peer, line_of(&one.latest), one.unread))
                        .collect()),
                    answer => other(answer),
                }
            }
            Kept::Files(_) => match ask(Command::ListFiles { prefix: String::new() })? {
                Answer::Files(files) => {
                    let mut lines = Vec::new();
                    for file in files {
                        let read = Command::ReadFile { owner: None, path: file.path.clone() };
                        match ask(read)? {
                            Answer::File(bytes) => {
                                lines.push(format!("{}: {}", file.path, String::from_utf8_lossy(&bytes)));
                            }
                            answer => return other(answer),
                        }
                    }
                    Ok(lines)
                }
                answer => other(answer),
            },
            Kept::Rules(_) => match ask(Command::ReadRules)? {
                Answer::Rules(json) => Ok(vec![json]),
                answer => other(answer),
            },
            Kept::Roster(_) => match ask(Command::ReadRoster { since: Position::ZERO })? {
                Answer::Roster(roster) => {
                    let buddies = roster.buddies.iter();
                    Ok(buddies.map(|buddy| format!("{} {:?}", buddy.address, buddy.groups)).collect())
                }
                answer => other(answer),
            },
            Kept::Devices(_) => match ask(Command::ReadDevices)? {
                Answer::Devices(devices) => {
                    Ok(devices.iter().map(|device| device.as_str().to_owned()).collect())
                }
                answer => other(answer),
            },
            Kept::Waits(account, device) => waits(engine, account, *device),
        }
    }
}

/// Opens a session, and takes what it is given.
fn waits(engine: &Engine, account: &Address, device: Option<&str>) -> Result<Vec<String>, String> {
    let device = device.map(DeviceName::new).transpose().map_err(|e| e.to_string())?;
    let options = SessionOptions { device, reads_messages: true, ..SessionOptions::default() };
    let session =
        engine.open_session(account, options).map_err(|e| format!("a session of {account}: {e}"))?;
    let mut lines = Vec::new();
    loop {
        let events = session.next_events(1_000, Duration::ZERO).map_err(|e| format!("{account}: {e}"))?;
        let Some(last) = events.last() else { return Ok(lines) };
        session.ack(last.seq);
        for event in events {
            if let EventBody::Message(message) = event.body {
                lines.push(line_of(&message));
            }
        }
    }
}

/// When it is that time of the wall clock, in ms since the world began.
pub const fn since_start(wall_ms: i64) -> u64 {
    (wall_ms - wall(0).0) as u64
}
