//! Accounts that are deleted, or not, when the disk fails meanwhile; who comes under their name; and domains that come and go.

use super::Guest;
use super::Random;
use crate::disk::Fault;
use crate::facts::{Fact, Place};
use crate::people::{domain, visitors, wall};
use crate::world::{Came, Step, World};
use rosterkit::store::vfs::Failure;
use rosterkit::{
    AcceptedSenders, Actor, Address, Anchor, Answer, Command, ConversationsRequest, DeviceName, Direction,
    EndReason, ErrorKind, EventBody, HistoryRequest, InvitationToken, Op, Overrides, Position, Preferences,
    Registration, RegistrationKind, RosterEdit, Send, State, Status,
};

impl World {
    pub(super) fn leave(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        if random.u8(0..3) == 0 {
            let [strict, other] = self.guests(machine)?;
            return self.host_another(machine, &strict, &other);
        }
        let [leaves, stays] = self.guests(machine)?;
        self.befriend_guests(machine, &leaves, &stays)?;
        leaves.shows(State::Online)?;
        stays.shows(State::Online)?;
        self.tell_of_settings(machine, &leaves, &stays)?;
        let token = InvitationToken::from_random(random.u128(..).to_le_bytes());
        self.furnish(machine, &leaves, &stays, token.clone())?;
        let before = self.belongings(machine, &leaves.address)?;
        self.told(machine, &stays.session)?;
        // It is gone wholly, or not at all.
        let fails = random.bool();
        if fails {
            self.plan(machine, Fault::Call { after: random.u64(0..14), failure: Failure::Io });
        }
        let came = self.call(machine, &leaves.actor(), Command::DeleteAccount)?;
        if !self.calm(machine)? {
            return Ok(());
        }
        match came {
            Came::Done(_) => {}
            Came::Not(error) if !fails => return Err(format!("deleting {}: {error}", leaves.address)),
            // What nobody answered may have been done; whatever is there is whole.
            came => {
                let is_there = !self.is_nobody(machine, &leaves.address)?;
                if !is_there && matches!(came, Came::Not(_)) {
                    return Err(format!("{} was surely not deleted, and is gone", leaves.address));
                }
                if is_there {
                    let now = self.belongings(machine, &leaves.address)?;
                    if now != before {
                        return Err(format!("{before:?} was to be deleted, or not, and is {now:?}"));
                    }
                    let again = self.engine(machine)?.call(&leaves.actor(), Command::DeleteAccount);
                    again.map_err(|error| format!("deleting {} at last: {error}", leaves.address))?;
                }
            }
        }
        self.compare_left(machine, &leaves, &stays)?;
        self.come_anew(machine, &leaves, &stays, token)
    }

    /// Sessions are told when whom their account blocks, or a preference in force, is another; and not when it is not.
    fn tell_of_settings(&mut self, machine: usize, one: &Guest, other: &Guest) -> Step {
        let block = |blocked| Command::Block { address: other.address.clone(), blocked };
        let set =
            |days| Command::SetPreferences(Overrides { history_days: Some(days), ..Overrides::default() });
        let of_domain = Fact { place: Place::Domain(machine), value: u64::from(self.number()) };
        self.told(machine, &one.session)?;
        for (command, expected) in [
            (Some(block(true)), Some(EventBody::BlockListChanged)),
            (Some(block(true)), None),
            (Some(block(false)), Some(EventBody::BlockListChanged)),
            (Some(set(9)), Some(EventBody::PreferencesChanged)),
            (Some(set(9)), None),
            (None, Some(EventBody::PreferencesChanged)),
        ] {
            let said = format!("{command:?}");
            match command {
                Some(command) => drop(one.ask(command)?),
                None => self.set(of_domain)?,
            }
            let told = self.told(machine, &one.session)?;
            let settings = |body: &&EventBody| {
                matches!(body, EventBody::BlockListChanged | EventBody::PreferencesChanged)
            };
            let told: Vec<&EventBody> = told.iter().filter(settings).collect();
            if told != expected.iter().collect::<Vec<_>>() {
                return Err(format!("{said} was told as {told:?}, not {expected:?}"));
            }
        }
        // The domain's is in force where the account says nothing, at once.
        match one.ask(Command::ReadPreferences)? {
            Answer::Preferences(found) if u64::from(found.max_roster_items) == 1_000 + of_domain.value => {}
            other => return Err(format!("{of_domain:?} is in force, and read is {other:?}")),
        }
        self.covered.add("account.told");
        Ok(())
    }

    /// It has something of everything.
    fn furnish(&mut self, machine: usize, one: &Guest, other: &Guest, token: InvitationToken) -> Step {
        let rules = r#"{"rules": [{"name": "looks", "priority": 5, "actions": [{"write-to-log": "it"}]}]}"#;
        let registration = Registration {
            name: DeviceName::new("desk").map_err(|error| error.to_string())?,
            kind: RegistrationKind::Push,
            contact: "desk".into(),
            expires: wall(self.now + 3_600_000),
        };
        let stranger = Address::account("somebody@example.com").map_err(|error| error.to_string())?;
        let mut commands: Vec<(Actor, Command)> = [
            Command::SetRules(rules.to_owned()),
            Command::WriteFile { path: "private/diary".to_owned(), bytes: b"of old".to_vec() },
            Command::AddRegistration(registration),
            Command::Block { address: stranger, blocked: true },
            Command::Invite { token, expires: wall(self.now + 3_600_000) },
        ]
        .into_iter()
        .map(|command| (one.actor(), command))
        .collect();
        commands.push((other.actor(), Command::Send(Send::text(&one.address, "to who goes"))));
        self.all_done(machine, commands)
    }

    /// What an account has, as it says itself.
    fn belongings(&self, machine: usize, account: &Address) -> Result<Vec<String>, String> {
        let all = ConversationsRequest { before: None, limit: 100 };
        let page =
            HistoryRequest { peer: None, anchor: Anchor::End, direction: Direction::Newer, limit: 100 };
        let mut found = Vec::new();
        for command in [
            Command::ReadRoster { since: Position::ZERO },
            Command::ReadBlocked,
            Command::ReadPreferences,
            Command::ReadRules,
            Command::ReadRegistrations,
            Command::ReadDevices,
            Command::ListFiles { prefix: String::new() },
            Command::ReadConversations(all),
            Command::ReadHistory(page),
        ] {
            let said = format!("{command:?}");
            let actor = Actor { account: account.clone(), session: None };
            let answer = self.engine(machine)?.call(&actor, command);
            let answer = answer.map_err(|error| format!("{account} asks {said}: {error}"))?;
            found.push(match answer {
                // A version says nothing of what there is.
                Answer::Roster(roster) => format!("{:?}", roster.buddies),
                answer => format!("{answer:?}"),
            });
        }
        Ok(found)
    }

    fn is_nobody(&self, machine: usize, account: &Address) -> Result<bool, String> {
        let actor = Actor { account: account.clone(), session: None };
        match self.engine(machine)?.call(&actor, Command::ReadDevices) {
            Ok(_) => Ok(false),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(format!("whether {account} is there: {error}")),
        }
    }

    /// Its session has ended; its buddy has it on the roster as nobody, and sees it offline.
    fn compare_left(&mut self, machine: usize, left: &Guest, stays: &Guest) -> Step {
        // What follows a failing disk follows within a second.
        self.advance(1_500)?;
        let told = self.told(machine, &left.session)?;
        if told.last() != Some(&EventBody::Ended(EndReason::AccountDeleted)) {
            return Err(format!("{} is deleted, and its session was told {told:?}", left.address));
        }
        if !self.is_nobody(machine, &left.address)? {
            return Err(format!("{} is deleted, and there", left.address));
        }
        let told = self.told(machine, &stays.session)?;
        let seen = told.iter().rev().find_map(|body| match body {
            EventBody::Presence { subject, presence } if *subject == left.address => Some(presence.state),
            _ => None,
        });
        let status = self.status(machine, &stays.address, &left.address)?;
        if (seen, status) != (Some(State::Offline), Status::None) {
            return Err(format!(
                "{} is deleted, and its buddy has it as {status:?} and sees it {seen:?}",
                left.address
            ));
        }
        match stays.session.send(&left.address, "too late") {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            other => return Err(format!("{} is deleted, and sending there came to {other:?}", left.address)),
        }
        self.covered.add("account.deleted");
        Ok(())
    }

    /// What one has another as on its roster.
    pub(super) fn status(&self, machine: usize, of: &Address, peer: &Address) -> Result<Status, String> {
        let actor = Actor { account: of.clone(), session: None };
        match self.engine(machine)?.call(&actor, Command::ReadRoster { since: Position::ZERO }) {
            Ok(Answer::Roster(roster)) => {
                // Also when there was another account of that name.
                let named: Vec<_> = roster.buddies.iter().filter(|buddy| buddy.address == *peer).collect();
                match named[..] {
                    [] => Ok(Status::None),
                    [buddy] => Ok(buddy.status()),
                    _ => Err(format!("{of} has {peer} on the roster more than once: {named:?}")),
                }
            }
            other => Err(format!("the roster of {of} was answered {other:?}")),
        }
    }

    /// Somebody new under the old name has nothing of the old one's, and their word is not the old one's either.
    fn come_anew(&mut self, machine: usize, old: &Guest, stays: &Guest, token: InvitationToken) -> Step {
        self.all_done(machine, vec![(old.actor(), Command::CreateAccount)])?;
        let [fresh] = self.guests(machine)?;
        let (new, expected) =
            (self.belongings(machine, &old.address)?, self.belongings(machine, &fresh.address)?);
        if new != expected {
            return Err(format!("{} is new, and has {new:?}", old.address));
        }
        let session = self.session_of(machine, &old.address, rosterkit::SessionOptions::default())?;
        let told = self.told(machine, &session)?;
        if !told.is_empty() {
            return Err(format!("{} is new, and is told {told:?}", old.address));
        }
        stays.ask(Command::Roster(RosterEdit {
            token: Some(token),
            ..RosterEdit::new(&old.address, Op::Add)
        }))?;
        self.settle(machine)?;
        let statuses = (
            self.status(machine, &stays.address, &old.address)?,
            self.status(machine, &old.address, &stays.address)?,
        );
        if statuses != (Status::Requested, Status::Asking) {
            return Err(format!("who brought an invitation of the old {} is {statuses:?}", old.address));
        }
        session
            .edit_roster(RosterEdit::new(&stays.address, Op::Remove))
            .map_err(|error| error.to_string())?;
        self.covered.add("account.incarnation");
        Ok(())
    }

    /// A domain is hosted that was not, has its preferences and an account, and can go only without it.
    fn host_another(&mut self, machine: usize, strict: &Guest, other: &Guest) -> Step {
        let engine = self.engine(machine)?;
        let failed = |error: rosterkit::Error| error.to_string();
        let number = self.next;
        let overrides = Overrides { max_roster_items: Some(number), ..Overrides::default() };
        engine.set_domain(visitors(), overrides).map_err(failed)?;
        let visitor =
            Address::account(&format!("visitor{number}@{}", visitors())).map_err(|e| e.to_string())?;
        engine.create_account(&visitor).map_err(failed)?;
        let actor = Actor { account: visitor.clone(), session: None };
        let expected = Preferences { max_roster_items: number, ..Preferences::default() };
        match engine.call(&actor, Command::ReadPreferences) {
            Ok(Answer::Preferences(found)) if found == expected => {}
            other => return Err(format!("a domain has its preferences, and an account of it {other:?}")),
        }
        // Who takes messages of their own domain takes none of this one's.
        let own = Overrides { accepted_senders: Some(AcceptedSenders::SameDomain), ..Overrides::default() };
        strict.ask(Command::SetPreferences(own))?;
        other.ask(Command::Send(Send::text(&strict.address, "of your domain")))?;
        match engine.send(&visitor, Send::text(&strict.address, "of another")) {
            Err(error) if error.kind == ErrorKind::Forbidden => self.covered.add("admission.policy"),
            came => return Err(format!("of another domain than that of {}: {came:?}", strict.address)),
        }
        let hosted: Vec<String> = engine.domains().into_iter().map(|(name, _)| name).collect();
        let mut all = [domain(machine).to_string(), visitors().to_string()];
        all.sort();
        if hosted != all {
            return Err(format!("{all:?} are hosted, and listed are {hosted:?}"));
        }
        if let Ok(()) = engine.remove_domain(visitors()) {
            return Err("a domain was removed with an account in it".to_owned());
        }
        engine.delete_account(&visitor).map_err(failed)?;
        engine.remove_domain(visitors()).map_err(failed)?;
        match engine.create_account(&visitor) {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            other => return Err(format!("a domain is removed, and an account in it came to {other:?}")),
        }
        self.covered.add("domain.run-time");
        self.number();
        Ok(())
    }
}
