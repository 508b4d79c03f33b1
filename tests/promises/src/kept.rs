//! What an engine keeps beside messages, as its clients know it: how far they have read, a registration, a file, who
//! redeemed an invitation.
//!
//! Values are numbered. After a cut the file holds a value at least as new as the last that was answered, and never one
//! that nobody tried to set.

use crate::workload::address;
use rosterkit::{
    Actor, Answer, Command, ConversationsRequest, DeviceName, Engine, ErrorKind, InvitationToken, Op,
    Position, Registration, RegistrationKind, RosterEdit, Status, Timestamp,
};
use std::collections::BTreeMap;

/// Something that is set, with its new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Read {
        user: usize,
        peer: usize,
        upto: Position,
    },
    Registered {
        user: usize,
        number: u64,
    },
    Written {
        user: usize,
        number: u64,
    },
    /// The guest brought an invitation of the host's.
    Redeemed {
        host: usize,
        guest: usize,
    },
}

/// What is in a file of this number: long enough to be spread over pages.
fn content(number: u64) -> Vec<u8> {
    let length = 1 + number as usize * 977 % 20_000;
    number.to_le_bytes().into_iter().cycle().take(length.max(8)).collect()
}

fn token(host: usize, guest: usize) -> InvitationToken {
    let pair = (host * 1_000 + guest) as u128;
    InvitationToken::from_random(pair.to_le_bytes())
}

fn actor(user: usize) -> Actor {
    Actor { account: address(user), session: None }
}

fn tomorrow(now: Timestamp) -> Timestamp {
    Timestamp(now.0 + 86_400_000)
}

impl Kept {
    /// What a client asks for it.
    fn command(self, now: Timestamp) -> (Actor, Command) {
        match self {
            Kept::Read { user, peer, upto } => (actor(user), Command::MarkRead { peer: address(peer), upto }),
            Kept::Registered { user, number } => {
                let registration = Registration {
                    name: DeviceName::new("desk-phone").unwrap(),
                    kind: RegistrationKind::Push,
                    contact: number.to_string().into(),
                    expires: tomorrow(now),
                };
                (actor(user), Command::AddRegistration(registration))
            }
            Kept::Written { user, number } => {
                let path = "public/number".to_owned();
                (actor(user), Command::WriteFile { path, bytes: content(number) })
            }
            Kept::Redeemed { host, guest } => {
                let edit = RosterEdit {
                    token: Some(token(host, guest)),
                    ..RosterEdit::new(&address(host), Op::Add)
                };
                (actor(guest), Command::Roster(edit))
            }
        }
    }

    /// The host's part of it, before.
    fn invitation(self, now: Timestamp) -> Option<(Actor, Command)> {
        match self {
            Kept::Redeemed { host, guest } => {
                Some((actor(host), Command::Invite { token: token(host, guest), expires: tomorrow(now) }))
            }
            _ => None,
        }
    }

    /// Has it kept. That its invitation is there already, from a try that failed, is all right.
    pub fn keep(self, engine: &Engine, now: Timestamp) -> rosterkit::Result<()> {
        for (actor, command) in self.invitation(now).into_iter().chain([self.command(now)]) {
            match engine.call(&actor, command) {
                Err(error) if error.kind != ErrorKind::Conflict => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// What it is a value of.
    fn place(self) -> (u8, usize, usize) {
        match self {
            Kept::Read { user, peer, .. } => (0, user, peer),
            Kept::Registered { user, .. } => (1, user, 0),
            Kept::Written { user, .. } => (2, user, 0),
            Kept::Redeemed { host, guest } => (3, host, guest),
        }
    }

    fn number(self) -> u64 {
        match self {
            Kept::Read { upto, .. } => upto.0,
            Kept::Registered { number, .. } | Kept::Written { number, .. } => number,
            Kept::Redeemed { .. } => 1,
        }
    }

    /// The number that is found there.
    fn found(self, engine: &Engine) -> Option<u64> {
        let ask = |user, command| engine.call(&actor(user), command);
        match self {
            Kept::Read { user, peer, .. } => {
                let request = ConversationsRequest { before: None, limit: 1_000 };
                let Answer::Conversations(page) = ask(user, Command::ReadConversations(request)).unwrap()
                else {
                    panic!("no conversations")
                };
                let with = page.conversations.iter().find(|one| one.peer == address(peer));
                with.map(|one| one.marks.read.0)
            }
            Kept::Registered { user, .. } => {
                let Answer::Registrations(all) = ask(user, Command::ReadRegistrations).unwrap() else {
                    panic!("no registrations")
                };
                all.first().map(|one| one.contact.parse().unwrap())
            }
            Kept::Written { user, .. } => {
                let read = Command::ReadFile { owner: None, path: "public/number".into() };
                let Ok(Answer::File(bytes)) = ask(user, read) else { return None };
                let number = u64::from_le_bytes(*bytes.first_chunk().expect("a file of some number"));
                assert_eq!(bytes, content(number), "a file is half of one and half of another");
                Some(number)
            }
            Kept::Redeemed { host, guest } => {
                let confirmed = |of: usize, peer: usize| {
                    let Answer::Roster(roster) =
                        ask(of, Command::ReadRoster { since: Position::ZERO }).unwrap()
                    else {
                        panic!("no roster")
                    };
                    let buddy = roster.buddies.iter().find(|buddy| buddy.address == address(peer));
                    buddy.is_some_and(|buddy| buddy.status() == Status::Confirmed)
                };
                (confirmed(host, guest) && confirmed(guest, host)).then_some(1)
            }
        }
    }
}

/// What was tried and what was answered, of each place.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    tried: BTreeMap<(u8, usize, usize), u64>,
    answered: BTreeMap<(u8, usize, usize), Kept>,
}

impl Ledger {
    pub fn tries(&mut self, kept: Kept) {
        let tried = self.tried.entry(kept.place()).or_default();
        *tried = kept.number().max(*tried);
    }

    pub fn answers(&mut self, kept: Kept) {
        let newest = self.answered.entry(kept.place()).or_insert(kept);
        if kept.number() > newest.number() {
            *newest = kept;
        }
    }

    /// What an engine on the file has is what was answered, or newer and tried.
    pub fn check(&self, engine: &Engine) {
        for kept in self.answered.values() {
            let found = kept.found(engine);
            let allowed = kept.number()..=self.tried[&kept.place()];
            assert!(found.is_some_and(|found| allowed.contains(&found)), "{kept:?}, and there is {found:?}");
        }
    }

    /// How many values of each sort were answered: read marks, registrations, files, invitations.
    pub fn mix(&self) -> [usize; 4] {
        let mut mix = [0; 4];
        self.answered.keys().for_each(|(sort, ..)| mix[usize::from(*sort)] += 1);
        mix
    }
}
