//! What crosses the link beside messages: presence, its end when there is no connection, who is blocked, who is deleted; and
//! that nobody speaks for others.

use super::Random;
use super::edit;
use crate::facts::{Fact, Place};
use crate::ledger::{Left, roster_view};
use crate::people::{ORDINARY, Reader, User, actor, address, domain, machine_of};
use crate::world::{Came, Client, Shows, Step, World};
use rosterkit::{
    Answer, ChatState, Command, Content, Contents, ErrorKind, EventBody, Notice, Op, Overrides, Parcel,
    Presence, RelayedMessage, Serves, SessionOptions, SetPresence, State, Status,
};

impl World {
    pub(in crate::steps) fn look_across(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.is_pair || !self.mend()? {
            return Ok(());
        }
        let (viewer, subject) = (self.here(machine, random), self.here(1 - machine, random));
        let scene = random.u8(0..8);
        self.history.say(format_args!("scene {scene}"));
        match scene {
            0 => self.forge(machine, viewer),
            1 => self.delete_across(machine, random),
            2 => self.lose_sight(machine, viewer, subject),
            3 | 4 => self.block_across(machine, viewer, [1, 7][1 - machine]),
            5 => {
                self.meet(machine, viewer, subject)?;
                self.count_fault("a restart in good order");
                self.restart(1 - machine)?;
                self.compare_across(machine)
            }
            _ => self.meet(machine, viewer, subject),
        }
    }

    /// Both machines are well, and there is a new connection: everybody is asked and told anew.
    fn mend(&mut self) -> Result<bool, String> {
        for machine in 0..self.machines.len() {
            if !self.calm(machine)? {
                return Ok(false);
            }
        }
        self.cut_link();
        self.flow()
    }

    fn cut_link(&mut self) {
        if let [a, b] = self.machines.as_slice()
            && let (Some(left), Some(right)) = (&a.relay, &b.relay)
        {
            self.link.cut([left, right], &mut Random::with_seed(self.seed ^ self.now));
        }
    }

    /// Everything that is on its way comes, in order. False when it does not.
    fn flow(&mut self) -> Result<bool, String> {
        self.link.is_good = true;
        for _ in 0..12 {
            self.connect();
            self.advance(1_000)?;
            if self.link.is_quiet() {
                break;
            }
        }
        self.link.is_good = false;
        Ok(self.machines.iter().all(|machine| !machine.disk.is_off()) && self.link.is_quiet())
    }

    /// Two become buddies over the link, and show themselves: once it is quiet each sees the other.
    fn meet(&mut self, machine: usize, viewer: User, subject: User) -> Step {
        for (owner, peer) in [(viewer, subject), (subject, viewer)] {
            let of = machine_of(owner);
            self.note(of, Left::LostSightOf(owner, peer));
            self.note(1 - of, Left::LostSightOf(owner, peer));
            self.call(of, &actor(owner), edit(&address(peer), Op::Add))?;
        }
        self.across.insert((viewer.min(subject), viewer.max(subject)));
        for user in [viewer, subject] {
            self.show_up(user)?;
        }
        if !self.flow()? {
            return Ok(());
        }
        self.compare_across(machine)?;
        self.compare_across(1 - machine)
    }

    /// Somebody blocks their buddy over the link, who sees them go, and come back when that is over.
    fn block_across(&mut self, machine: usize, viewer: User, subject: User) -> Step {
        self.meet(machine, viewer, subject)?;
        for blocked in [1, 0] {
            self.set(Fact { place: Place::Blocked(subject, viewer), value: blocked })?;
            self.compare_across(machine)?;
        }
        Ok(())
    }

    /// A session of a user that shows something, when there is none.
    fn show_up(&mut self, user: User) -> Step {
        let machine = machine_of(user);
        let is_there =
            |client: &Client| client.reader.user == user && client.host.is_none() && client.shows.is_some();
        let reader: Option<Reader> = Reader::of(user).first().copied();
        let Some(reader) = reader.filter(|_| !self.machines[machine].clients.values().any(is_there)) else {
            return Ok(());
        };
        let options = SessionOptions { device: reader.device_name(), ..SessionOptions::default() };
        let session = self.session_of(machine, &address(user), options)?;
        let order = self.number();
        session.set_presence(SetPresence::state(State::Chat)).map_err(|error| error.to_string())?;
        let shows = Some(Shows { state: State::Chat, note: None, until: None, order });
        self.come(machine, Client { shows, ..Client::new(reader, session) })
    }

    /// Whether one sees another over the link by what both believe, when they agree and nobody is unsure who blocks whom.
    fn sees_across(&self, viewer: User, subject: User) -> Result<Option<(bool, bool)>, String> {
        let of_subject = roster_view(self.engine(machine_of(subject))?, subject, viewer)?;
        let of_viewer = roster_view(self.engine(machine_of(viewer))?, viewer, subject)?;
        let blocks = |one, other| self.machines[machine_of(one)].ledger.value(Place::Blocked(one, other));
        let (Ok(blocked), Ok(Some(0))) = (blocks(subject, viewer), blocks(viewer, subject)) else {
            return Ok(None);
        };
        if of_subject.from() != of_viewer.to() {
            return Ok(None);
        }
        Ok(Some((of_subject.from(), blocked == Some(1))))
    }

    /// Every session that shows something, with whose it is.
    fn viewers(&self, machine: usize) -> Vec<(u32, User)> {
        let clients = self.machines[machine].clients.iter();
        clients
            .filter(|(_, client)| client.ends_at.is_none() && client.host.is_none() && client.shows.is_some())
            .map(|(number, client)| (*number, client.reader.user))
            .collect()
    }

    /// Every session sees of the other machine what it may see, and nothing else.
    fn compare_across(&mut self, machine: usize) -> Step {
        if !self.flow()? {
            return Ok(());
        }
        let there = 1 - machine;
        for (number, viewer) in self.viewers(machine) {
            if !self.take_all(machine, number)? {
                continue;
            }
            for subject in ORDINARY.into_iter().filter(|user| machine_of(*user) == there) {
                let Some((is_buddy, is_blocked)) = self.sees_across(viewer, subject)? else { continue };
                if self.machines[there].ledger.is_reached(subject).is_err() {
                    continue;
                }
                let Some(client) = self.machines[machine].clients.get(&number) else { continue };
                let (state, note) = self.aggregate(subject);
                let sees = is_buddy && !is_blocked;
                let saw = client.saw.get(&subject).cloned();
                let is_right = match &saw {
                    Some((saw, with)) if sees => {
                        *saw == state && note.as_ref().ok().is_none_or(|note| note == with)
                    }
                    None if sees => state == State::Offline,
                    // Of whom nobody has heard nobody knows.
                    saw => saw.as_ref().is_none_or(|(saw, _)| matches!(saw, State::Offline | State::Unknown)),
                };
                if !client.is_behind && !is_right {
                    return Err(format!(
                        "user{viewer} saw user{subject} {saw:?} over the link, who shows {state:?} {note:?}; they see them: {sees}, blocked: {is_blocked}"
                    ));
                }
                if client.is_behind {
                    continue;
                }
                self.cover_across(machine, number, (sees, is_blocked && is_buddy, state), saw.is_some());
            }
            let boots = self.machines[there].boots;
            self.machines[machine].kept.looked_across.insert(number, boots);
        }
        Ok(())
    }

    fn cover_across(&self, machine: usize, number: u32, is: (bool, bool, State), was_told: bool) {
        let (sees, is_blocked, state) = is;
        if sees && state != State::Offline {
            self.covered.add("relay.presence");
        }
        if is_blocked && was_told && state != State::Offline {
            self.covered.add("relay.blocked-sees-offline");
        }
        // It was there before the other machine started again.
        let kept = &self.machines[machine].kept;
        let boots = self.machines[1 - machine].boots;
        if sees && was_told && kept.looked_across.get(&number).is_some_and(|before| *before < boots) {
            self.covered.add("relay.presence-after-restart");
        }
    }

    /// The connection is lost: what was seen holds for a while, then nobody knows; and with the next it is seen again.
    fn lose_sight(&mut self, machine: usize, viewer: User, subject: User) -> Step {
        self.meet(machine, viewer, subject)?;
        if !self.link.is_quiet() || self.machines.iter().any(|machine| machine.disk.is_off()) {
            return Ok(());
        }
        self.cut_link();
        let before = self.seen_across(machine, viewer, subject)?;
        self.advance(80_000)?;
        let held = self.seen_across(machine, viewer, subject)?;
        self.advance(11_000)?;
        let after = self.seen_across(machine, viewer, subject)?;
        let is_buddy = self.sees_across(viewer, subject)?.is_some_and(|(is_buddy, _)| is_buddy);
        if is_buddy {
            let unknown = after.as_ref().is_none_or(|state| *state == State::Unknown);
            if before != held || !unknown {
                return Err(format!(
                    "without a connection user{viewer} sees user{subject} {before:?}, {held:?}, {after:?}"
                ));
            }
            match self.call(machine, &actor(viewer), Command::ReadPresence(address(subject)))? {
                Came::Done(Answer::Presence(shown)) if shown.state == State::Unknown => {}
                Came::Done(other) => {
                    return Err(format!("nobody has heard of user{subject}, and it is {other:?}"));
                }
                _ => return Ok(()),
            }
            if after.is_some() {
                self.covered.add("relay.away");
            }
            self.covered.add("presence.unknown-outside");
        }
        self.connect();
        self.compare_across(machine)
    }

    /// What a session of one sees of another by now, when it is there.
    fn seen_across(&mut self, machine: usize, viewer: User, subject: User) -> Result<Option<State>, String> {
        let session = self.viewers(machine).into_iter().find(|(_, user)| *user == viewer);
        let Some((number, _)) = session else { return Ok(None) };
        if !self.take_all(machine, number)? {
            return Ok(None);
        }
        let client = self.machines[machine].clients.get(&number);
        Ok(client
            .filter(|client| !client.is_behind)
            .and_then(|client| client.saw.get(&subject))
            .map(|saw| saw.0))
    }

    /// Whom a relay does not serve it does not speak for.
    fn forge(&mut self, machine: usize, user: User) -> Step {
        let Some(relay) = &self.machines[machine].relay else { return Ok(()) };
        let elsewhere =
            rosterkit::Address::account("somebody@example.com").map_err(|error| error.to_string())?;
        let others: Vec<User> = ORDINARY.into_iter().filter(|other| machine_of(*other) == machine).collect();
        for sender in others.into_iter().map(address).chain([elsewhere]) {
            let message = RelayedMessage::new(Content::text("it is me"));
            let contents = Contents::Messages(vec![message]);
            let parcel = Parcel { sender: sender.clone(), recipient: address(user), contents };
            let presence = Presence::plain(State::Busy);
            let notice = Notice::Presence { subject: sender.clone(), watcher: address(user), presence };
            let came = (relay.receive(parcel).map(drop), relay.notify(notice));
            let is_forbidden = |result: &rosterkit::Result<()>| {
                result.as_ref().is_err_and(|error| error.kind == ErrorKind::Forbidden)
            };
            if !is_forbidden(&came.0) || !is_forbidden(&came.1) {
                return Err(format!("a relay spoke for {sender}: {came:?}"));
            }
        }
        let engine = self.engine(machine)?;
        let is_conflict =
            |error: Option<rosterkit::Error>| error.is_some_and(|error| error.kind == ErrorKind::Conflict);
        let serves = |of: usize| engine.open_relay(Serves::Domains(vec![domain(of)])).err();
        let hosts = engine.set_domain(domain(1 - machine), Overrides::default()).err();
        if !is_conflict(serves(machine)) || !is_conflict(serves(1 - machine)) || !is_conflict(hosts) {
            return Err("a domain is served twice, or served and hosted".to_owned());
        }
        self.covered.add("relay.speaks-for");
        Ok(())
    }

    /// An account that has a buddy over the link is deleted, and there is another of its name.
    fn delete_across(&mut self, machine: usize, _: &mut Random) -> Step {
        let ([leaves], [stays]) = (self.guests(machine)?, self.guests(1 - machine)?);
        leaves.shows(State::Online)?;
        stays.shows(State::Online)?;
        leaves.ask(edit(&stays.address, Op::Add))?;
        stays.ask(edit(&leaves.address, Op::Add))?;
        if !self.flow()? {
            return Ok(());
        }
        let state = ChatState::Composing;
        leaves.ask(Command::Typing { recipient: stays.address.clone(), state })?;
        if !self.flow()? {
            return Ok(());
        }
        let told = self.told(1 - machine, &stays.session)?;
        let is_seen = told.iter().any(|body| {
            matches!(body, EventBody::Presence { subject, presence }
                if *subject == leaves.address && presence.state == State::Online)
        });
        let types =
            |body: &EventBody| matches!(body, EventBody::Typing { sender, .. } if *sender == leaves.address);
        if !is_seen || !told.iter().any(types) {
            return Err(format!(
                "{} shows itself and types over the link, and told is {told:?}",
                leaves.address
            ));
        }
        leaves.session.call(Command::DeleteAccount).map_err(|error| error.to_string())?;
        if !self.flow()? {
            return Ok(());
        }
        let status = self.status(1 - machine, &stays.address, &leaves.address)?;
        let told = self.told(1 - machine, &stays.session)?;
        let last = told.iter().rev().find_map(|body| match body {
            EventBody::Presence { subject, presence } if *subject == leaves.address => Some(presence.state),
            _ => None,
        });
        if (status, last) != (Status::None, Some(State::Offline)) {
            return Err(format!("{} is deleted, and over the link {status:?}, {last:?}", leaves.address));
        }
        self.all_done(machine, vec![(leaves.actor(), Command::CreateAccount)])?;
        self.all_done(machine, vec![(leaves.actor(), edit(&stays.address, Op::Add))])?;
        if !self.flow()? {
            return Ok(());
        }
        // What is overtaken by what it follows is said again.
        self.advance(5_000)?;
        if !self.flow()? {
            return Ok(());
        }
        stays.ask(edit(&leaves.address, Op::Add))?;
        if !self.flow()? {
            return Ok(());
        }
        let both = (
            self.status(1 - machine, &stays.address, &leaves.address)?,
            self.status(machine, &leaves.address, &stays.address)?,
        );
        if both != (Status::Confirmed, Status::Confirmed) {
            return Err(format!("{} is new, and its buddy over the link {both:?}", leaves.address));
        }
        self.covered.add("relay.deleted");
        Ok(())
    }
}
