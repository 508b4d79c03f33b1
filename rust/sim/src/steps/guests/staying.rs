//! Sessions that stand for somebody elsewhere: how long they count without a sign of life, and when their account was last
//! there.

use super::Guest;
use super::Random;
use crate::people::{actor, wall};
use crate::world::{Step, World};
use rosterkit::{
    Activity, Answer, Command, EndReason, EventBody, LastSeen, LastSeenPrecision, Overrides, PresenceLayer,
    Session, SessionOptions, SetPresence, State, Visibility,
};
use std::sync::Arc;

/// The longest that a lease lasts, by what the person does with the app.
const FOREGROUND: u64 = 90_000;
const BACKGROUND: u64 = 900_000;

/// What a session shows: to everybody who sees its account, or, when it hides, to nobody.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Shows {
    #[default]
    Nothing,
    Hides,
    Something,
}

/// A session with a lease.
struct Leased {
    session: Session,
    asked: u64,
    renewed: u64,
    activity: Activity,
    person: Shows,
    program: Shows,
}

impl Leased {
    fn ends_at(&self) -> u64 {
        let bound = if self.activity == Activity::Foreground { FOREGROUND } else { BACKGROUND };
        self.renewed + self.asked.min(bound)
    }

    /// What a person set stands before what a program did.
    fn is_seen(&self) -> bool {
        let shows = if self.person == Shows::Nothing { self.program } else { self.person };
        shows == Shows::Something
    }
}

/// Somebody who is there by a lease, and a buddy who asks.
struct Scene {
    machine: usize,
    somebody: Guest,
    buddy: Guest,
    leased: Option<Leased>,
    precision: LastSeenPrecision,
    /// When a person last acted where it could be seen; never, at first.
    last: Option<u64>,
    /// Since when the buddy sees nothing: as if the account had gone then.
    hidden_at: Option<Option<u64>>,
}

impl Scene {
    fn acts(&mut self, was_seen: bool, now: u64) {
        if was_seen || self.leased.as_ref().is_some_and(Leased::is_seen) {
            self.last = Some(now);
        }
    }

    fn says(&self, at: Option<u64>) -> Option<LastSeen> {
        match self.precision {
            LastSeenPrecision::Exact => at.map(|at| LastSeen::At(wall(at))),
            // Nobody here is gone for days.
            LastSeenPrecision::Rough => at.map(|_| LastSeen::Recently),
            LastSeenPrecision::Nothing => None,
        }
    }

    /// What the buddy is to be told of when they were last there.
    fn last_seen(&self) -> Option<LastSeen> {
        if let Some(at) = self.hidden_at {
            return self.says(at);
        }
        match self.leased.as_ref().is_some_and(Leased::is_seen) {
            true if self.precision == LastSeenPrecision::Nothing => None,
            true => Some(LastSeen::Online),
            false => self.says(self.last),
        }
    }
}

impl World {
    pub(super) fn stay(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let [somebody, buddy] = self.guests(machine)?;
        self.befriend_guests(machine, &somebody, &buddy)?;
        let precision = [LastSeenPrecision::Exact, LastSeenPrecision::Rough, LastSeenPrecision::Nothing];
        let precision = precision[random.usize(..4).saturating_sub(1)];
        let overrides = Overrides { last_seen: Some(precision), ..Overrides::default() };
        somebody.ask(Command::SetPreferences(overrides))?;
        let (leased, last, hidden_at) = (None, None, None);
        let mut scene = Scene { machine, somebody, buddy, leased, precision, last, hidden_at };
        for _ in 0..random.usize(6..18) {
            if scene.leased.is_none() {
                self.lease(&mut scene, random)?;
            }
            self.live(&mut scene, random)?;
            self.compare_leased(&mut scene)?;
        }
        // The session that shows nothing and has no lease was there all the time.
        scene.somebody.shows(State::Online)?;
        let told = self.told(machine, &scene.somebody.session)?;
        if told.iter().any(|body| matches!(body, EventBody::Ended(_))) {
            return Err(format!("a session without a lease has ended: {told:?}"));
        }
        self.covered.add("presence.open-session-lives");
        Ok(())
    }

    fn lease(&mut self, scene: &mut Scene, random: &mut Random) -> Step {
        let asked = [20_000, 60_000, 600_000, u64::MAX][random.usize(..4)];
        let options = SessionOptions { lease_ms: Some(asked), ..SessionOptions::default() };
        let session = self.session_of(scene.machine, &scene.somebody.address, options)?;
        scene.leased = Some(Leased {
            session,
            asked,
            renewed: self.now,
            activity: Activity::Foreground,
            person: Shows::Nothing,
            program: Shows::Nothing,
        });
        Ok(())
    }

    /// A person does something, or a program, or nobody does.
    fn live(&mut self, scene: &mut Scene, random: &mut Random) -> Step {
        let now = self.now;
        let Some(leased) = &mut scene.leased else { return Ok(()) };
        let was_seen = leased.is_seen();
        let (session, history) = (leased.session.clone(), Arc::clone(&self.history));
        let ask = |command: Command| {
            let said = format!("{command:?}");
            history.say(format_args!("{said}"));
            session.call(command).map_err(|error| format!("{said}: {error}"))
        };
        match random.u8(0..12) {
            0..3 => {
                let (layer, hides) = (
                    [PresenceLayer::Manual, PresenceLayer::Automatic][random.usize(..2)],
                    random.u8(0..4) == 0,
                );
                let shows = if hides { Shows::Hides } else { Shows::Something };
                leased.renewed = now;
                let presence = SetPresence { layer, invisible: hides, ..SetPresence::state(State::Busy) };
                match layer {
                    PresenceLayer::Manual => leased.person = shows,
                    PresenceLayer::Automatic => leased.program = shows,
                }
                ask(Command::SetPresence(presence))?;
                if layer == PresenceLayer::Manual {
                    scene.acts(was_seen, now);
                }
            }
            3 | 4 => {
                let all = [Activity::Foreground, Activity::Background, Activity::Suspended];
                leased.activity = all[random.usize(..3)];
                leased.renewed = now;
                ask(Command::SetActivity(leased.activity))?;
                scene.acts(was_seen, now);
            }
            5 => {
                session.touch();
                leased.renewed = now;
            }
            6 if random.bool() => {
                session.close();
                scene.acts(was_seen, now);
                scene.leased = None;
            }
            7 => self.hide_from_buddy(scene, random)?,
            _ => {
                let most = if leased.activity == Activity::Foreground { 70_000 } else { 500_000 };
                self.advance(random.u64(1_000..most))?;
            }
        }
        Ok(())
    }

    /// The buddy is to see nothing, or everything again.
    fn hide_from_buddy(&mut self, scene: &mut Scene, random: &mut Random) -> Step {
        let is_seen = scene.leased.as_ref().is_some_and(Leased::is_seen);
        let viewer = scene.buddy.address.clone();
        if scene.hidden_at.take().is_some() {
            let lifts = Command::SetVisibility { viewer: viewer.clone(), visibility: Visibility::Full };
            scene.somebody.ask(lifts)?;
            scene.somebody.ask(Command::Block { address: viewer, blocked: false })?;
            return Ok(());
        }
        scene.hidden_at = Some(if is_seen { Some(self.now) } else { scene.last });
        scene.somebody.ask(match random.bool() {
            true => Command::Block { address: viewer, blocked: true },
            false => Command::SetVisibility { viewer, visibility: Visibility::Hidden },
        })?;
        Ok(())
    }

    /// The session is there as long as its lease, and the buddy learns what they may.
    fn compare_leased(&mut self, scene: &mut Scene) -> Step {
        self.settle(scene.machine)?;
        if let Some(leased) = &scene.leased {
            let told = self.told(scene.machine, &leased.session)?;
            let has_ended = told.contains(&EventBody::Ended(EndReason::LeaseExpired));
            let (ends_at, asked) = (leased.ends_at(), leased.asked);
            if has_ended != (ends_at <= self.now) {
                return Err(format!(
                    "a lease of {asked} ms is over at {ends_at}; at {} it was told {told:?}",
                    self.now
                ));
            }
            let is_short = leased.activity == Activity::Foreground;
            if asked > if is_short { FOREGROUND } else { BACKGROUND } && has_ended {
                self.covered.add("presence.lease-bounds");
            }
            if !is_short && self.now > leased.renewed + FOREGROUND {
                self.covered.add("presence.background-lease");
            }
            if has_ended {
                self.covered.add("presence.lease-expires");
                self.covered.add("last-seen.lease");
                scene.leased = None;
            }
        }
        let is_seen = scene.hidden_at.is_none() && scene.leased.as_ref().is_some_and(Leased::is_seen);
        let subject = scene.somebody.address.clone();
        let asked = scene.buddy.ask(Command::ReadPresence(subject.clone()))?;
        if !matches!(&asked, Answer::Presence(shown) if (shown.state != State::Offline) == is_seen) {
            return Err(format!(
                "{} sees {subject}, who is there: {is_seen}; {asked:?}",
                scene.buddy.address
            ));
        }
        let expected = scene.last_seen();
        match scene.buddy.ask(Command::ReadLastSeen(subject.clone()))? {
            Answer::LastSeen(found) if found == expected => {}
            other => {
                return Err(format!(
                    "{subject} was last there {other:?}, and by what they did {expected:?}, {:?}",
                    scene.hidden_at
                ));
            }
        }
        self.covered.add("last-seen.precision");
        if matches!(expected, Some(LastSeen::At(_))) {
            self.covered.add(if scene.hidden_at.is_some() { "last-seen.hidden" } else { "last-seen.acts" });
        }
        // Of strangers nobody learns anything.
        let stranger = actor([0, 7][scene.machine]);
        match self.engine(scene.machine)?.call(&stranger, Command::ReadLastSeen(subject)) {
            Ok(Answer::LastSeen(None)) => self.covered.add("last-seen.read"),
            other => return Err(format!("a stranger asks when they were last there: {other:?}")),
        }
        Ok(())
    }
}
