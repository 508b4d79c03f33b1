//! Invitations, as those know them who gave and who brought them.

use crate::people::{User, actor, address, domain, wall};
use crate::report::Coverage;
use rosterkit::{Actor, Address, Answer, Command, Engine, InvitationToken, Op, Position, RosterEdit, Status};
use std::collections::BTreeMap;
use std::path::Path;

/// An invitation that was asked for.
#[derive(Clone, Debug)]
pub struct Invited {
    pub host: User,
    pub token: InvitationToken,
    pub expires: u64,
    pub is: Is,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Is {
    /// It was asked for, and nobody follows whether it is there.
    Asked,
    Open,
    /// Somebody brings it, and nobody has answered.
    Brought(Address),
    /// They were answered.
    Used(Address),
}

/// All of an engine's.
#[derive(Clone, Debug, Default)]
pub struct Invitations(pub BTreeMap<u32, Invited>);

fn call(engine: &Engine, account: &Address, command: Command) -> Result<Answer, String> {
    let said = format!("{account} asks {command:?}");
    let actor = Actor { account: account.clone(), session: None };
    engine.call(&actor, command).map_err(|error| format!("{said}: {error}"))
}

/// What one has another as on its roster.
fn status(engine: &Engine, of: &Address, peer: &Address) -> Result<Status, String> {
    match call(engine, of, Command::ReadRoster { since: Position::ZERO })? {
        Answer::Roster(roster) => {
            let buddy = roster.buddies.iter().find(|buddy| buddy.address == *peer);
            Ok(buddy.map_or(Status::None, rosterkit::Buddy::status))
        }
        other => Err(format!("the roster of {of} was answered {other:?}")),
    }
}

/// What both have each other as.
pub fn statuses(engine: &Engine, a: &Address, b: &Address) -> Result<(Status, Status), String> {
    Ok((status(engine, a, b)?, status(engine, b, a)?))
}

impl Invitations {
    /// Somebody whom nobody knows brings the token.
    fn bring(
        engine: &Engine,
        number: u32,
        invited: &Invited,
        which: &str,
    ) -> Result<(Status, Status), String> {
        let host = address(invited.host);
        let name = format!("bringer{number}{which}@{}", host.domain());
        let bringer = Address::account(&name).map_err(|error| error.to_string())?;
        call(engine, &bringer, Command::CreateAccount)?;
        let edit = RosterEdit { token: Some(invited.token.clone()), ..RosterEdit::new(&host, Op::Add) };
        call(engine, &bringer, Command::Roster(edit))?;
        engine.advance(0).map_err(|error| error.to_string())?;
        statuses(engine, &bringer, &host)
    }

    /// What was brought and answered holds on both sides; one that is open lets in the first who brings it, and nobody else.
    /// These are brought here: it is for an engine that nobody asks any more.
    pub fn check(
        &self,
        engine: &Engine,
        machine: usize,
        until: u64,
        covered: &Coverage,
    ) -> Result<(), String> {
        let here = |invited: &&Invited| *address(invited.host).domain() == *domain(machine).to_string();
        for invited in self.0.values().filter(here) {
            let (by, is_sure) = match &invited.is {
                Is::Used(by) => (by, true),
                Is::Brought(by) => (by, false),
                _ => continue,
            };
            let found = statuses(engine, by, &address(invited.host))?;
            let is_nothing = !is_sure && found == (Status::None, Status::None);
            if found != (Status::Confirmed, Status::Confirmed) && !is_nothing {
                return Err(format!("{invited:?} was brought, and the two are {found:?}"));
            }
            covered.add("invitations.killed");
        }
        let open = self
            .0
            .iter()
            .rev()
            .find(|(_, one)| one.is == Is::Open && one.expires > until + 10_000 && here(one));
        if let Some((number, invited)) = open {
            let first = Self::bring(engine, *number, invited, "a")?;
            if first != (Status::Confirmed, Status::Confirmed) {
                return Err(format!("{invited:?} was open, and who brought it is {first:?}"));
            }
            covered.add("invitations.restart");
            let second = Self::bring(engine, *number, invited, "b")?;
            Self::is_as_any(invited, second)?;
            covered.add("invitations.once");
        }
        let used = self.0.iter().rev().find(|(_, one)| matches!(one.is, Is::Used(_)) && here(one));
        if let Some((number, invited)) = used {
            Self::is_as_any(invited, Self::bring(engine, *number, invited, "c")?)?;
            covered.add("invitations.once");
        }
        Ok(())
    }

    /// A request as any other: it waits, or, where too many do, is not heard.
    pub fn is_as_any(invited: &Invited, found: (Status, Status)) -> Result<(), String> {
        match found {
            (Status::Requested, Status::Asking | Status::None) => Ok(()),
            found => Err(format!("{invited:?} lets nobody in any more, and who brought it is {found:?}")),
        }
    }

    /// No file has the token of one that nobody has brought.
    pub fn check_secret(&self, directory: &Path, covered: &Coverage) -> Result<(), String> {
        let Some(one) = self.0.values().find(|one| one.is == Is::Open) else { return Ok(()) };
        if format!("{one:?}").contains(one.token.as_str()) {
            return Err(format!("what is printed of an invitation has its token: {one:?}"));
        }
        let token = one.token.as_str().as_bytes();
        let files = std::fs::read_dir(directory).map_err(|error| error.to_string())?;
        for file in files {
            let path = file.map_err(|error| error.to_string())?.path();
            let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
            if bytes.windows(token.len()).any(|window| window == token) {
                return Err(format!("{} holds the token of an invitation", path.display()));
            }
        }
        covered.add("invitations.token");
        Ok(())
    }
}

impl Invited {
    pub fn command(&self) -> Command {
        Command::Invite { token: self.token.clone(), expires: wall(self.expires) }
    }

    pub fn by(&self) -> Actor {
        actor(self.host)
    }
}
