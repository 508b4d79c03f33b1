//! What an engine keeps beside messages, as its clients know it: each is a place with a value, which is set by a command
//! and read back by another.
//!
//! Values are numbers. What a number stands for is written out here, so that half of one and half of another is seen.

use crate::people::{User, actor, address, domain, user_of, wall};
use rosterkit::{
    AcceptedSenders, Answer, Command, ConversationsRequest, DeviceName, Engine, Op, Overrides, Position,
    Receipts, Registration, RegistrationKind, RosterEdit, Visibility,
};

/// Something that has one value at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// What an account set for itself.
    Preferences(User),
    /// The rules of an account.
    Rules(User),
    /// One of its files.
    File(User, u8),
    /// Its vCard.
    Card(User),
    /// Its registration for push.
    Registration(User),
    /// Whether it blocks somebody.
    Blocked(User, User),
    /// What it calls a buddy.
    Name(User, User),
    /// How much of it somebody sees. Of who sees nothing anyway nobody can tell.
    Visibility(User, User),
    /// How far it has read what another sent. It only rises.
    Read(User, User),
    /// A contact of it that is no session. Its value is when it ends.
    Contact(User),
    /// What is set for the domain of a machine.
    Domain(usize),
}

/// A place, and a value for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    pub place: Place,
    pub value: u64,
}

/// How many sorts of preferences there are: a value says which, by its rest.
const SORTS: u64 = 5;

/// Whose messages an account with these preferences takes.
pub const fn accepted(value: u64) -> AcceptedSenders {
    match value % SORTS {
        1 => AcceptedSenders::Quarantine,
        2 => AcceptedSenders::Nobody,
        3 => AcceptedSenders::SameDomain,
        _ => AcceptedSenders::Everybody,
    }
}

/// What somebody sees of an account, by value, and how an explanation calls it.
const VISIBILITIES: [(&str, Visibility); 3] =
    [("subscribed", Visibility::Full), ("state-only", Visibility::StateOnly), ("hidden", Visibility::Hidden)];

pub fn visibility(value: u64) -> Visibility {
    VISIBILITIES[value as usize % VISIBILITIES.len()].1
}

/// Whether an account's history stays.
pub const fn keeps_history(user: User) -> bool {
    user != 2
}

fn overrides(user: User, value: u64) -> Overrides {
    Overrides {
        accepted_senders: Some(accepted(value)),
        keep_history: Some(keeps_history(user)),
        receipts: (value % SORTS == 4).then_some(Receipts::Nothing),
        // The value itself, where it does no harm.
        utc_offset_minutes: Some((value % 1_000) as i16),
        ..Overrides::default()
    }
}

/// Rules by number. Those who send on do so whatever the number is; those of others look and do nothing.
fn rules(user: User, value: u64) -> String {
    let action = match user {
        crate::people::REDIRECTS => format!(r#"{{"redirect-to": ["{}"]}}"#, address(0)),
        crate::people::FORKS => format!(r#"{{"fork-to": ["{}"]}}"#, address(1)),
        _ => r#"{"write-to-log": "looked"}"#.to_owned(),
    };
    format!(r#"{{"rules": [{{"name": "rule {value}", "priority": 5, "actions": [{action}]}}]}}"#)
}

/// What is in a file of this number: long enough to be spread over pages.
pub fn content(value: u64) -> Vec<u8> {
    let length = 8 + value as usize * 977 % 12_000;
    value.to_le_bytes().into_iter().cycle().take(length).collect()
}

fn card(value: u64) -> String {
    // An image of its own each time, so that the avatar is another.
    let image = ["AAAA", "AAAB", "AAAC", "AAAD"][value as usize % 4];
    format!("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:card {value}\r\nPHOTO;ENCODING=b:{image}\r\nEND:VCARD\r\n")
}

fn path(file: u8) -> String {
    format!("{}/number-{file}", if file.is_multiple_of(2) { "public" } else { "private" })
}

impl Place {
    /// Whose account it is of.
    pub const fn owner(self) -> User {
        match self {
            Place::Preferences(user)
            | Place::Rules(user)
            | Place::File(user, _)
            | Place::Card(user)
            | Place::Registration(user)
            | Place::Blocked(user, _)
            | Place::Name(user, _)
            | Place::Visibility(user, _)
            | Place::Read(user, _)
            | Place::Contact(user) => user,
            Place::Domain(machine) => [0, 7][machine],
        }
    }

    /// Whether it may look as if nothing were there.
    pub const fn may_be_unseen(self) -> bool {
        matches!(self, Place::Read(..) | Place::Visibility(..))
    }

    /// Whether a lower value never takes the place of a higher one.
    pub const fn only_rises(self) -> bool {
        matches!(self, Place::Read(..))
    }

    /// The sentence of `docs/behaviour.md` that reading it back shows to hold, where there is one.
    pub const fn sentence(self) -> Option<&'static str> {
        match self {
            Place::Rules(_) => Some("rules.json"),
            Place::File(..) | Place::Card(_) => Some("files.replace"),
            Place::Registration(_) => Some("registration.replaced"),
            Place::Visibility(..) => Some("explain.presence"),
            Place::Read(..) => Some("receipts.read"),
            Place::Contact(_) => Some("registration.restored"),
            Place::Domain(_) => Some("domain.run-time"),
            Place::Preferences(_) | Place::Blocked(..) | Place::Name(..) => None,
        }
    }

    /// The value of the one registration of that name.
    fn registered(
        self,
        all: &[Registration],
        name: &str,
        kind: RegistrationKind,
    ) -> Result<Option<u64>, String> {
        let mut named = all.iter().filter(|one| one.name.as_str() == name);
        let Some(one) = named.next() else { return Ok(None) };
        if named.next().is_some() || one.kind != kind {
            return Err(format!("{self:?} was not replaced: {all:?}"));
        }
        let value = one.contact.parse::<u64>().ok();
        if kind == RegistrationKind::Contact && value.map(wall) != Some(one.expires) {
            return Err(format!("{self:?} is half of one and half of another: {one:?}"));
        }
        Ok(value)
    }

    /// The value that is found there.
    pub fn read(self, engine: &Engine) -> Result<Option<u64>, String> {
        let ask = |command| engine.call(&actor(self.owner()), command).map_err(|e| format!("{self:?}: {e}"));
        let other = |answer: Answer| format!("{self:?} was answered {answer:?}");
        Ok(match self {
            Place::Preferences(_) => match ask(Command::ReadPreferences)? {
                Answer::Preferences(found) => {
                    let value = found.utc_offset_minutes as u64;
                    if value > 0 && found.accepted_senders != accepted(value) {
                        return Err(format!("{self:?} is half of one and half of another: {found:?}"));
                    }
                    (value > 0).then_some(value)
                }
                answer => return Err(other(answer)),
            },
            Place::Rules(user) => match ask(Command::ReadRules)? {
                Answer::Rules(json) => {
                    let value = json.split("rule ").nth(1).and_then(|rest| {
                        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
                    });
                    let action = rules(user, 0);
                    let action = action.split("\"actions\":").nth(1).unwrap_or_default();
                    let names = |json: &str| json.matches("@example").count();
                    if value.is_some() && names(&json) != names(action) {
                        return Err(format!("{self:?} is half of one and half of another: {json}"));
                    }
                    value
                }
                answer => return Err(other(answer)),
            },
            Place::File(_, file) => {
                match engine.call(&actor(self.owner()), Command::ReadFile { owner: None, path: path(file) }) {
                    Ok(Answer::File(bytes)) => {
                        let value = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
                        if value.is_none_or(|value| bytes != content(value)) {
                            return Err(format!("{self:?} is half of one and half of another"));
                        }
                        value
                    }
                    Ok(answer) => return Err(other(answer)),
                    Err(error) if error.kind == rosterkit::ErrorKind::NotFound => None,
                    Err(error) => return Err(format!("{self:?}: {error}")),
                }
            }
            Place::Card(_) => {
                let read = Command::ReadFile { owner: None, path: "profile.vcf".into() };
                match engine.call(&actor(self.owner()), read) {
                    Ok(Answer::File(bytes)) => {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        let value = text
                            .split("FN:card ")
                            .nth(1)
                            .and_then(|rest| rest.split('\r').next()?.parse::<u64>().ok());
                        if value.is_none_or(|value| text != card(value)) {
                            return Err(format!("{self:?} is half of one and half of another: {text}"));
                        }
                        value
                    }
                    Ok(answer) => return Err(other(answer)),
                    Err(error) if error.kind == rosterkit::ErrorKind::NotFound => None,
                    Err(error) => return Err(format!("{self:?}: {error}")),
                }
            }
            Place::Registration(_) => match ask(Command::ReadRegistrations)? {
                Answer::Registrations(all) => self.registered(&all, "desk-phone", RegistrationKind::Push)?,
                answer => return Err(other(answer)),
            },
            Place::Contact(_) => match ask(Command::ReadRegistrations)? {
                Answer::Registrations(all) => self.registered(&all, "sip", RegistrationKind::Contact)?,
                answer => return Err(other(answer)),
            },
            Place::Domain(machine) => {
                let all = engine.domains();
                let overrides = all.iter().find(|(name, _)| *name == domain(machine).to_string());
                let set = overrides.and_then(|(_, overrides)| overrides.max_roster_items);
                match ask(Command::ReadPreferences)? {
                    // It is in force for its accounts.
                    Answer::Preferences(found) if set.is_some_and(|most| most != found.max_roster_items) => {
                        return Err(format!("{self:?} is {set:?}, and in force {found:?}"));
                    }
                    Answer::Preferences(_) => set.map(|most| u64::from(most) - 1_000),
                    answer => return Err(other(answer)),
                }
            }
            Place::Blocked(_, whom) => match ask(Command::ReadBlocked)? {
                Answer::Blocked(all) => Some(u64::from(all.iter().any(|a| user_of(a) == Some(whom)))),
                answer => return Err(other(answer)),
            },
            Place::Name(_, peer) => match ask(Command::ReadRoster { since: Position::ZERO })? {
                Answer::Roster(roster) => {
                    let buddy = roster.buddies.iter().find(|buddy| user_of(&buddy.address) == Some(peer));
                    buddy.and_then(|buddy| buddy.name.strip_prefix("name ")?.parse().ok())
                }
                answer => return Err(other(answer)),
            },
            Place::Visibility(_, viewer) => {
                match ask(Command::ExplainPresence { viewer: address(viewer) })? {
                    Answer::Explanation(json) => {
                        let because = |what: &str| json.contains(&format!(r#""because":"{what}""#));
                        let all = VISIBILITIES.iter().position(|(name, _)| because(name));
                        all.map(|value| value as u64)
                    }
                    answer => return Err(other(answer)),
                }
            }
            Place::Read(_, peer) => {
                let request = ConversationsRequest { before: None, limit: 1_000 };
                match ask(Command::ReadConversations(request))? {
                    Answer::Conversations(page) => {
                        let with = page.conversations.iter().find(|one| user_of(&one.peer) == Some(peer));
                        with.map(|one| one.marks.read.0)
                    }
                    answer => return Err(other(answer)),
                }
            }
        })
    }
}

impl Fact {
    /// Asks for it.
    pub fn ask(self, engine: &Engine, now: u64) -> rosterkit::Result<Answer> {
        let Fact { place, value } = self;
        if let Place::Domain(machine) = place {
            let most = Some(1_000 + value as u32);
            let overrides = Overrides { max_roster_items: most, ..Overrides::default() };
            return engine.set_domain(domain(machine), overrides).map(|()| Answer::Done);
        }
        engine.call(&actor(place.owner()), self.command(now))
    }

    /// What a client asks for it.
    fn command(self, now: u64) -> Command {
        let Fact { place, value } = self;
        match place {
            // It is the host's to set.
            Place::Domain(_) => Command::ReadPreferences,
            Place::Contact(_) => Command::AddRegistration(Registration {
                name: DeviceName::new("sip").expect("a name"),
                kind: RegistrationKind::Contact,
                contact: value.to_string().into(),
                expires: wall(value),
            }),
            Place::Preferences(user) => Command::SetPreferences(overrides(user, value)),
            Place::Rules(user) => Command::SetRules(rules(user, value)),
            Place::File(_, file) => Command::WriteFile { path: path(file), bytes: content(value) },
            Place::Card(_) => {
                Command::WriteFile { path: "profile.vcf".into(), bytes: card(value).into_bytes() }
            }
            Place::Registration(_) => Command::AddRegistration(Registration {
                name: DeviceName::new("desk-phone").expect("a name"),
                kind: RegistrationKind::Push,
                contact: value.to_string().into(),
                expires: wall(now + 7 * 24 * 3_600_000),
            }),
            Place::Blocked(_, whom) => Command::Block { address: address(whom), blocked: value > 0 },
            Place::Name(_, peer) => Command::Roster(RosterEdit {
                name: Some(format!("name {value}")),
                ..RosterEdit::new(&address(peer), Op::Update)
            }),
            Place::Visibility(_, viewer) => {
                Command::SetVisibility { viewer: address(viewer), visibility: visibility(value) }
            }
            Place::Read(_, peer) => Command::MarkRead { peer: address(peer), upto: Position(value) },
        }
    }
}
