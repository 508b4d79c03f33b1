//! Who is reached without a session: contacts that count as somebody who is there, devices that are woken, and what of it
//! the host is asked to do.

use super::Random;
use super::{Guest, edit};
use crate::people::wall;
use crate::world::{Step, World};
use rosterkit::{
    Activity, Answer, Command, DeviceName, ErrorKind, EventBody, HostEvent, MessageId, Op, Overrides,
    Position, PushReason, Registration, RegistrationKind, Send, Session, SessionOptions, State, Word,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many registrations an account has at most, and how much the host may leave untaken.
const MOST: usize = 64;
const ROOM: usize = 8_192;

/// What the host is asked: of a message to be delivered, or a device to be woken.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Deliver(String, MessageId),
    Wake(String, PushReason, usize),
}

/// An account, who writes to it, and what is there of it.
struct Scene {
    machine: usize,
    account: Guest,
    sender: Guest,
    delivers: bool,
    registered: BTreeMap<String, (RegistrationKind, u64)>,
    /// A session that is there, whether it is suspended, and what it shows.
    session: Option<(Session, bool, Option<State>)>,
    waits: Vec<(MessageId, Position)>,
}

impl Scene {
    fn live(&self, kind: RegistrationKind, now: u64) -> Vec<String> {
        let live = self.registered.iter().filter(|(_, (of, until))| *of == kind && *until > now);
        live.map(|(name, _)| name.clone()).collect()
    }
}

fn registration(name: &str, kind: RegistrationKind, until: u64) -> Result<Registration, String> {
    let name = DeviceName::new(name).map_err(|error| error.to_string())?;
    let contact = format!("to {}", name.as_str()).into();
    Ok(Registration { name, kind, contact, expires: wall(until) })
}

impl World {
    pub(super) fn reach(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let [account, sender] = self.guests(machine)?;
        self.befriend_guests(machine, &account, &sender)?;
        self.told(machine, &account.session)?;
        account.session.close();
        self.host_events(machine)?;
        let mut scene = Scene {
            machine,
            account,
            sender,
            delivers: random.bool(),
            registered: BTreeMap::new(),
            session: None,
            waits: Vec::new(),
        };
        let overrides = Overrides { deliver_to_devices: Some(scene.delivers), ..Overrides::default() };
        self.of_account(&scene, Command::SetPreferences(overrides))?;
        self.register(&mut scene, random)?;
        for _ in 0..random.usize(4..10) {
            match random.u8(0..8) {
                0 => self.register(&mut scene, random)?,
                1 | 2 => self.come_or_go(&mut scene, random)?,
                3 => self.advance(random.u64(1_000..60_000))?,
                4 => self.claim(&mut scene, random)?,
                _ => self.write_to(&mut scene)?,
            }
            self.compare_reached(&scene)?;
        }
        self.ask_to_be_buddy(&mut scene)?;
        self.take_what_waits(&mut scene)?;
        if random.u8(0..4) == 0 {
            self.register_too_much(&scene, random.bool())?;
        }
        Ok(())
    }

    fn of_account(&self, scene: &Scene, command: Command) -> Result<Answer, String> {
        let said = format!("{command:?}");
        let answer = self.engine(scene.machine)?.call(&scene.account.actor(), command);
        answer.map_err(|error| format!("{said}: {error}"))
    }

    /// What the host is asked to do, and takes.
    fn host_events(&self, machine: usize) -> Result<Vec<HostEvent>, String> {
        self.settle(machine)?;
        let mut all = Vec::new();
        loop {
            let events = self.engine(machine)?.next_host_events(10_000, Duration::ZERO);
            let events = events.map_err(|error| error.to_string())?;
            if events.is_empty() {
                return Ok(all);
            }
            all.extend(events);
        }
    }

    /// A contact or a device, under a name that may be there.
    fn register(&mut self, scene: &mut Scene, random: &mut Random) -> Step {
        let name = ["desk", "phone", "tablet"][random.usize(..3)];
        let kind = if random.bool() { RegistrationKind::Contact } else { RegistrationKind::Push };
        let until = self.now + random.u64(5_000..200_000);
        self.of_account(scene, Command::AddRegistration(registration(name, kind, until)?))?;
        scene.registered.insert(name.to_owned(), (kind, until));
        Ok(())
    }

    /// A session comes, sleeps, wakes, shows something or goes.
    fn come_or_go(&mut self, scene: &mut Scene, random: &mut Random) -> Step {
        let Some((session, is_suspended, shows)) = &mut scene.session else {
            let options = SessionOptions { lease_ms: Some(u64::MAX), ..SessionOptions::default() };
            let session = self.session_of(scene.machine, &scene.account.address, options)?;
            // It sleeps, and holds for a quarter of an hour: longer than all of this.
            session.set_activity(Activity::Suspended).map_err(|error| error.to_string())?;
            scene.session = Some((session, true, None));
            return Ok(());
        };
        match random.u8(0..3) {
            0 => {
                let state = [State::Away, State::Busy][random.usize(..2)];
                let shown = session.set_presence(rosterkit::SetPresence::state(state));
                shown.map_err(|error| error.to_string())?;
                *shows = Some(state);
            }
            1 => {
                *is_suspended = true;
                session.set_activity(Activity::Suspended).map_err(|error| error.to_string())?;
            }
            _ => {
                session.close();
                scene.session = None;
            }
        }
        Ok(())
    }

    /// A message: its word says whether somebody is there for the sender, and the host is asked what is to be done.
    fn write_to(&mut self, scene: &mut Scene) -> Step {
        let send = Command::Send(Send::text(&scene.account.address, "are you there?"));
        let Answer::Receipt(receipt) = scene.sender.ask(send)? else { return Err("no receipt".to_owned()) };
        scene.waits.push((receipt.id, receipt.position));
        let contacts = match scene.delivers {
            true => scene.live(RegistrationKind::Contact, self.now),
            false => Vec::new(),
        };
        let is_there = scene.session.is_some() || !contacts.is_empty();
        if receipt.outcome != if is_there { Word::Delivered } else { Word::Stored } {
            return Err(format!("somebody is there: {is_there}, and the answer was {receipt:?}"));
        }
        let mut expected: Vec<Asked> =
            contacts.into_iter().map(|name| Asked::Deliver(name, receipt.id)).collect();
        if !expected.is_empty() {
            self.covered.add("registration.delivery");
        }
        expected.extend(self.wakes(scene, PushReason::NewMessage, scene.waits.len()));
        self.compare_asked_of_host(scene, expected)
    }

    /// Devices are woken where no session is there, or only ones that sleep.
    fn wakes(&self, scene: &Scene, reason: PushReason, badge: usize) -> Vec<Asked> {
        if scene.session.as_ref().is_some_and(|(_, is_suspended, _)| !is_suspended) {
            return Vec::new();
        }
        let devices = scene.live(RegistrationKind::Push, self.now);
        devices.into_iter().map(|name| Asked::Wake(name, reason, badge)).collect()
    }

    fn compare_asked_of_host(&self, scene: &Scene, mut expected: Vec<Asked>) -> Step {
        let mut asked = Vec::new();
        for event in self.host_events(scene.machine)? {
            match event {
                HostEvent::Deliver { account, registration, message, contact }
                    if account == scene.account.address =>
                {
                    if *contact != *format!("to {}", registration.as_str()) {
                        return Err(format!("{registration:?} is at {contact}"));
                    }
                    asked.push(Asked::Deliver(registration.as_str().to_owned(), message.id));
                }
                HostEvent::Push { account, registration, reason, badge, .. }
                    if account == scene.account.address =>
                {
                    asked.push(Asked::Wake(registration.as_str().to_owned(), reason, badge));
                }
                HostEvent::Missed { count } => {
                    return Err(format!("{count} of what the host was asked is lost"));
                }
                // Of others that live here.
                _ => {}
            }
        }
        let key = |one: &Asked| format!("{one:?}");
        asked.sort_by_key(key);
        expected.sort_by_key(key);
        if asked != expected {
            return Err(format!("the host is asked for {asked:?}, not {expected:?}; {:?}", scene.registered));
        }
        if asked.iter().any(|one| matches!(one, Asked::Wake(..))) {
            self.covered.add("registration.push");
        }
        Ok(())
    }

    /// The host has delivered some of what waits.
    fn claim(&mut self, scene: &mut Scene, random: &mut Random) -> Step {
        // What is in a session's hands is that session's.
        if scene.waits.is_empty() || !scene.delivers || scene.session.is_some() {
            return Ok(());
        }
        let (_, position) = scene.waits.remove(random.usize(..scene.waits.len()));
        self.of_account(scene, Command::Claim(vec![position]))?;
        self.covered.add("registration.claim");
        Ok(())
    }

    /// The sender sees what a session shows, else that a contact is there, else nobody; and the account reads what is left.
    fn compare_reached(&self, scene: &Scene) -> Step {
        self.settle(scene.machine)?;
        let contacts = scene.live(RegistrationKind::Contact, self.now);
        let shows = scene.session.as_ref().and_then(|(_, _, shows)| *shows);
        let otherwise = if contacts.is_empty() { State::Offline } else { State::Online };
        let asked = scene.sender.ask(Command::ReadPresence(scene.account.address.clone()))?;
        if !matches!(&asked, Answer::Presence(seen) if seen.state == shows.unwrap_or(otherwise)) {
            return Err(format!("{shows:?} is shown, else {otherwise:?}; and seen is {asked:?}"));
        }
        self.covered.add(match (shows, otherwise) {
            (Some(_), State::Online) => "registration.sessions-first",
            (None, State::Online) => "registration.presence",
            _ => "presence.aggregate",
        });
        let Answer::Registrations(all) = self.of_account(scene, Command::ReadRegistrations)? else {
            return Err("no registrations".to_owned());
        };
        let mut found: Vec<(String, RegistrationKind)> =
            all.iter().map(|one| (one.name.as_str().to_owned(), one.kind)).collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let live = scene.registered.iter().filter(|(_, (_, until))| *until > self.now);
        let expected: Vec<_> = live.map(|(name, (kind, _))| (name.clone(), *kind)).collect();
        if found != expected {
            return Err(format!("{found:?} are registered, not {expected:?}"));
        }
        if expected.len() < scene.registered.len() {
            self.covered.add("registration.expires");
        }
        self.covered.add("registration.replaced");
        Ok(())
    }

    /// A stranger asks: a device is woken for that too.
    fn ask_to_be_buddy(&mut self, scene: &mut Scene) -> Step {
        let [stranger] = self.guests(scene.machine)?;
        stranger.ask(edit(&scene.account.address, Op::Add))?;
        // The request waits beside the messages.
        let expected = self.wakes(scene, PushReason::BuddyRequest, scene.waits.len() + 1);
        self.compare_asked_of_host(scene, expected)
    }

    /// Whoever comes gets what nobody has delivered, in order.
    fn take_what_waits(&mut self, scene: &mut Scene) -> Step {
        if let Some((session, ..)) = scene.session.take() {
            session.close();
        }
        let session = self.session_of(scene.machine, &scene.account.address, SessionOptions::default())?;
        let told = self.told(scene.machine, &session)?;
        let came: Vec<_> = told
            .iter()
            .filter_map(|body| match body {
                EventBody::Message(message) => Some((message.id, message.position)),
                _ => None,
            })
            .collect();
        if came != scene.waits {
            return Err(format!("{:?} waited for whoever comes, who was told {came:?}", scene.waits));
        }
        scene.session = Some((session, false, None));
        scene.waits.clear();
        // A session that is awake takes it: nobody is woken.
        self.write_to(scene)
    }

    /// What is no registration is refused, and so is one too many; and what the host does not take is lost, and told.
    fn register_too_much(&mut self, scene: &Scene, is_left: bool) -> Step {
        let [account] = self.guests(scene.machine)?;
        let until = self.now + 3_600_000;
        let add = |one| Command::AddRegistration(one);
        let push = |name: &str, until| registration(name, RegistrationKind::Push, until);
        let empty = Registration { contact: "".into(), ..push("phone", until)? };
        for bad in [push("phone", self.now)?, empty] {
            match account.session.call(add(bad.clone())) {
                Err(error) if error.kind == ErrorKind::InvalidArgument => {}
                other => return Err(format!("{bad:?} was answered {other:?}")),
            }
        }
        let mut all = Vec::new();
        for number in 0..MOST {
            all.push((account.actor(), add(push(&format!("phone {number}"), until)?)));
        }
        self.all_done(scene.machine, all)?;
        match account.session.call(add(push("one more", until)?)) {
            Err(error) if matches!(error.kind, ErrorKind::LimitExceeded { .. }) => {}
            other => return Err(format!("{MOST} are registered, and one more was answered {other:?}")),
        }
        account.ask(add(push("phone 3", until)?))?;
        self.covered.add("registration.refused");
        if !is_left {
            return Ok(());
        }
        account.session.close();
        self.host_events(scene.machine)?;
        let count = ROOM / MOST + 1;
        // By turns: that much of one sender would be too fast, and too much that waits.
        let writers: [Guest; 2] = self.guests(scene.machine)?;
        let send = || Command::Send(Send::text(&account.address, "wake up"));
        let sends = (0..count).map(|number| (writers[number % writers.len()].actor(), send())).collect();
        self.all_done(scene.machine, sends)?;
        let events = self.host_events(scene.machine)?;
        let lost = (count * MOST - ROOM) as u64;
        if events.first() != Some(&HostEvent::Missed { count: lost }) || events.len() != ROOM + 1 {
            return Err(format!(
                "{lost} are lost, and the host is told {:?}, {}",
                events.first(),
                events.len()
            ));
        }
        self.covered.add("host.missed");
        Ok(())
    }
}
