//! Somebody shows this and that, and others watch: what they are told is what they may see, the newest of it, and nothing
//! where nothing is another.

use super::Random;
use super::shown::{Set, Shown, Sight, aggregate, nothing};
use super::{Guest, edit};
use crate::order;
use crate::people::wall;
use crate::world::{Step, World};
use rosterkit::{
    Answer, ChatState, Command, EventBody, Op, PresenceLayer, Session, SessionOptions, SetPresence, State,
    Visibility,
};
use std::sync::Arc;

const STATES: [State; 6] =
    [State::Online, State::Busy, State::Away, State::Chat, State::ExtendedAway, State::InMeeting];

/// How long somebody is typing who does not say so again.
const TYPING: u64 = 30_000;

/// Who looks, and what they are owed.
struct Watcher {
    guest: Guest,
    /// What they see of it, and whether it is another since they were told last; or may be told again.
    sees: Sight,
    is_owed: bool,
    may_be_told: bool,
}

/// Somebody, and their watchers.
struct Scene {
    machine: usize,
    subject: Guest,
    sessions: [Session; 2],
    shown: [Shown; 2],
    /// A buddy, whom they block; one who is subscribed, to whom they show as much as they like; a stranger.
    buddy: Watcher,
    follower: Watcher,
    stranger: Watcher,
    is_blocked: bool,
    is_stranger_blocked: bool,
    visibility: Visibility,
    /// What is shown to the stranger besides, and by which session.
    directed: Option<(usize, Sight)>,
    /// Until when the buddy is typing, and what each session is owed of that.
    typing: Option<u64>,
    typed: [Option<ChatState>; 2],
}

impl Watcher {
    fn new(guest: Guest) -> Self {
        Watcher { guest, sees: nothing(), is_owed: false, may_be_told: false }
    }

    fn now_sees(&mut self, sight: Sight) {
        self.is_owed |= self.sees != sight;
        self.sees = sight;
    }
}

impl World {
    pub(super) fn watch(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let mut scene = self.set_scene(machine)?;
        for _ in 0..random.usize(8..20) {
            self.act(&mut scene, random)?;
            self.see(&mut scene);
            if random.bool() {
                self.compare(&mut scene)?;
            }
        }
        self.compare(&mut scene)?;
        self.part(&mut scene)
    }

    /// Two are there and become buddies: each at once gets the other's presence. Another sees one of them, and is not seen.
    fn set_scene(&mut self, machine: usize) -> Result<Scene, String> {
        let [subject, buddy, follower, stranger] = self.guests(machine)?;
        let other = self.session_of(machine, &subject.address, SessionOptions::default())?;
        let sessions = [subject.session.clone(), other];
        for guest in [&subject, &buddy, &follower, &stranger] {
            guest.shows(State::Online)?;
        }
        let mut shown = [Shown::default(), Shown::default()];
        let online = SetPresence::state(State::Online);
        shown[0].set(PresenceLayer::Manual, Set::new(&online, None, self.number()));
        self.befriend_guests(machine, &subject, &buddy)?;
        follower.ask(edit(&subject.address, Op::Subscribe))?;
        subject.ask(edit(&follower.address, Op::Subscribed))?;
        for (who, whom, sees) in [
            (&subject, &buddy, true),
            (&buddy, &subject, true),
            (&follower, &subject, true),
            (&subject, &follower, false),
        ] {
            let told = self.told(machine, &who.session)?;
            let is_seen = seen(&told, &whom.address).iter().any(|sight| sight.0 == State::Online);
            if sees != is_seen && !(who.address == subject.address && sees) {
                return Err(format!("{} sees {}: {told:?}", who.address, whom.address));
            }
            if sees && who.address == subject.address && !is_seen {
                return Err(format!("{} does not see their buddy: {told:?}", who.address));
            }
            let asked = who.ask(Command::ReadPresence(whom.address.clone()))?;
            let is_shown = matches!(&asked, Answer::Presence(shown) if shown.state == State::Online);
            if is_shown != sees {
                return Err(format!("{} asks for {}: {asked:?}", who.address, whom.address));
            }
        }
        self.covered.add("presence.confirmed-see-each-other");
        self.covered.add("roster.one-direction");
        self.told(machine, &stranger.session)?;
        let sight = aggregate(&order::states(self.seed), &shown);
        let watches = |guest| Watcher { sees: sight.clone(), ..Watcher::new(guest) };
        Ok(Scene {
            machine,
            buddy: watches(buddy),
            follower: watches(follower),
            stranger: Watcher::new(stranger),
            subject,
            sessions,
            shown,
            is_blocked: false,
            is_stranger_blocked: false,
            visibility: Visibility::Full,
            directed: None,
            typing: None,
            typed: [None, None],
        })
    }

    /// Somebody does something.
    fn act(&mut self, scene: &mut Scene, random: &mut Random) -> Step {
        let at = random.usize(..2);
        let (session, history) = (scene.sessions[at].clone(), Arc::clone(&self.history));
        let ask = |command: Command| -> Result<Answer, String> {
            let said = format!("{command:?}");
            history.say(format_args!("{said}"));
            session.call(command).map_err(|error| format!("{said}: {error}"))
        };
        let layer = if random.u8(0..3) == 0 { PresenceLayer::Automatic } else { PresenceLayer::Manual };
        match random.u8(0..16) {
            0..6 => {
                let order = self.number();
                let until = (random.u8(0..4) == 0).then(|| self.now + random.u64(1_000..40_000));
                let asked = SetPresence {
                    note: random.bool().then(|| format!("note {order}")),
                    until: until.map(wall),
                    invisible: random.u8(0..5) == 0,
                    layer,
                    extensions: if random.bool() { order.to_le_bytes().to_vec() } else { Vec::new() },
                    ..SetPresence::state(STATES[random.usize(..STATES.len())])
                };
                scene.shown[at].set(layer, Set::new(&asked, until, order));
                ask(Command::SetPresence(asked))?;
            }
            6 => {
                scene.shown[at].clear(layer);
                ask(Command::ClearPresence(layer))?;
            }
            7 => {
                scene.shown[at] = Shown::default();
                ask(Command::GoOffline)?;
            }
            8 => {
                let all = [Visibility::Full, Visibility::StateOnly, Visibility::Hidden];
                scene.visibility = all[random.usize(..3)];
                let (viewer, visibility) = (scene.follower.guest.address.clone(), scene.visibility);
                ask(Command::SetVisibility { viewer, visibility })?;
            }
            9 => {
                scene.is_blocked = !scene.is_blocked;
                let (address, blocked) = (scene.buddy.guest.address.clone(), scene.is_blocked);
                ask(Command::Block { address, blocked })?;
                scene.buddy.may_be_told = true;
            }
            10 => self.direct(scene, at, random)?,
            11 if scene.is_stranger_blocked || random.u8(0..3) == 0 => {
                // Who is blocked is shown nothing any more, and is not shown it again when that is over.
                scene.is_stranger_blocked = !scene.is_stranger_blocked;
                scene.directed = None;
                let (address, blocked) = (scene.stranger.guest.address.clone(), scene.is_stranger_blocked);
                ask(Command::Block { address, blocked })?;
            }
            11 => self.direct(scene, at, random)?,
            12 => self.type_to(scene, random)?,
            _ => {
                let before = self.now;
                self.advance(random.u64(500..45_000))?;
                // What is between two ends was told, and is told otherwise since.
                let ends: usize = scene.shown.iter().map(|shown| shown.ends(before, self.now)).sum();
                if ends > 1 {
                    (scene.buddy.may_be_told, scene.follower.may_be_told) = (true, true);
                }
                for shown in &mut scene.shown {
                    shown.end(self.now);
                }
                if scene.typing.is_some_and(|until| until <= self.now) {
                    scene.typing = None;
                    scene.typed = [Some(ChatState::Paused); 2];
                }
            }
        }
        // What a session shows to one address goes with it.
        if let Some((by, _)) = scene.directed
            && scene.shown[by].counts().is_none()
        {
            scene.directed = None;
        }
        Ok(())
    }

    /// A session that is online shows itself to a stranger, or takes that back.
    fn direct(&mut self, scene: &mut Scene, at: usize, random: &mut Random) -> Step {
        let recipient = scene.stranger.guest.address.clone();
        let (by, sight) = match &scene.directed {
            Some((by, _)) if random.bool() => (*by, None),
            // Another session's word would stand beside it.
            Some((by, _)) => (*by, Some(())),
            None => (at, Some(())),
        };
        if scene.shown[by].counts().is_none() {
            return Ok(());
        }
        let order = self.number();
        let presence = sight.map(|()| SetPresence {
            note: Some(format!("for you {order}")),
            ..SetPresence::state(STATES[random.usize(..STATES.len())])
        });
        // Who is blocked is shown nothing, and the account need not know that it asked for it.
        scene.directed = presence
            .as_ref()
            .filter(|_| !scene.is_stranger_blocked)
            .map(|shown| (by, (shown.state, shown.note.clone(), Vec::new())));
        let asked = scene.sessions[by].direct_presence(&recipient, presence);
        asked.map_err(|error| format!("presence for one address: {error}"))
    }

    /// The buddy types, or pauses: every session that reads is told, where they are let in.
    fn type_to(&mut self, scene: &mut Scene, random: &mut Random) -> Step {
        let state = if random.u8(0..3) == 0 { ChatState::Paused } else { ChatState::Composing };
        let recipient = scene.subject.address.clone();
        scene.buddy.guest.ask(Command::Typing { recipient, state })?;
        if !scene.is_blocked {
            scene.typing = (state == ChatState::Composing).then(|| self.now + TYPING);
            scene.typed = [Some(state); 2];
        }
        Ok(())
    }

    /// What each of them sees by now.
    fn see(&self, scene: &mut Scene) {
        let whole = aggregate(&order::states(self.seed), &scene.shown);
        let of_follower = match scene.visibility {
            Visibility::Full => whole.clone(),
            Visibility::StateOnly => (whole.0, None, Vec::new()),
            Visibility::Hidden => nothing(),
        };
        scene.buddy.now_sees(if scene.is_blocked { nothing() } else { whole });
        scene.follower.now_sees(of_follower);
        scene.stranger.now_sees(scene.directed.as_ref().map_or_else(nothing, |(_, sight)| sight.clone()));
    }

    /// Everybody looks at what they were told: the newest, once, and nothing when nothing is another.
    fn compare(&mut self, scene: &mut Scene) -> Step {
        let machine = scene.machine;
        let whole = aggregate(&order::states(self.seed), &scene.shown);
        let subject = &scene.subject.address;
        for (number, watcher) in
            [&mut scene.buddy, &mut scene.follower, &mut scene.stranger].into_iter().enumerate()
        {
            let told = seen(&self.told(machine, &watcher.guest.session)?, subject);
            let is_right = match told.as_slice() {
                [] => !watcher.is_owed,
                [one] => *one == watcher.sees && (watcher.is_owed || watcher.may_be_told),
                _ => false,
            };
            if !is_right {
                return Err(format!(
                    "{} was told {told:?} of {subject}, and is to see {:?}, news: {}; it shows {:?}",
                    watcher.guest.address, watcher.sees, watcher.is_owed, scene.shown
                ));
            }
            if number < 2 {
                self.compare_asked(subject, watcher)?;
            }
            self.cover_told(number, watcher, &whole);
            (watcher.is_owed, watcher.may_be_told) = (false, false);
        }
        if order::is_another(self.seed) && scene.shown.iter().all(|shown| shown.counts().is_some()) {
            self.covered.add("presence.order-configurable");
        }
        if scene.shown.iter().any(Shown::is_covered) {
            self.covered.add("presence.layers");
        }
        self.compare_explained(scene)?;
        for at in 0..2 {
            let told = self.told(machine, &scene.sessions[at])?;
            let typed: Vec<ChatState> = told
                .iter()
                .filter_map(|body| match body {
                    EventBody::Typing { state, .. } => Some(*state),
                    _ => None,
                })
                .collect();
            if typed != scene.typed[at].take().into_iter().collect::<Vec<_>>() {
                return Err(format!("{subject} was told that the buddy {typed:?}, until {:?}", scene.typing));
            }
            if let Some(state) = typed.first() {
                self.covered.add(if *state == ChatState::Paused {
                    "typing.ends"
                } else {
                    "typing.ephemeral"
                });
            }
        }
        Ok(())
    }

    fn cover_told(&self, number: usize, watcher: &Watcher, whole: &Sight) {
        let is_nothing = watcher.sees == nothing();
        let sentence = match (number, watcher.is_owed) {
            (0, false) => "presence.unchanged-aggregate",
            (0, true) if is_nothing && whole.0 != State::Offline => "presence.blocked-sees-offline",
            (1, _) if whole.1.is_some() => "presence.visibility",
            (2, true) => "presence.directed",
            _ => "presence.newest-wins",
        };
        self.covered.add(sentence);
        if !watcher.sees.2.is_empty() {
            self.covered.add("presence.extensions");
        }
    }

    /// Who asks is answered what they were told.
    fn compare_asked(&self, subject: &rosterkit::Address, watcher: &Watcher) -> Step {
        match watcher.guest.ask(Command::ReadPresence(subject.clone()))? {
            Answer::Presence(shown) if sight(&shown) == watcher.sees => Ok(()),
            other => {
                Err(format!("{} asks, and sees {other:?}, not {:?}", watcher.guest.address, watcher.sees))
            }
        }
    }

    /// The account learns why they see that.
    fn compare_explained(&self, scene: &Scene) -> Step {
        for (watcher, because) in [
            (&scene.buddy, if scene.is_blocked { "blocked" } else { "subscribed" }),
            (
                &scene.follower,
                match scene.visibility {
                    Visibility::Full => "subscribed",
                    Visibility::StateOnly => "state-only",
                    Visibility::Hidden => "hidden",
                },
            ),
            (&scene.stranger, "not-subscribed"),
        ] {
            let viewer = watcher.guest.address.clone();
            let Answer::Explanation(json) = scene.subject.ask(Command::ExplainPresence { viewer })? else {
                return Err("an explanation is none".to_owned());
            };
            let found: serde_json::Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
            // What is directed to somebody is no part of what they see.
            let sees = if because == "not-subscribed" { State::Offline } else { watcher.sees.0 };
            let states: Vec<Option<&str>> =
                scene.shown.iter().map(|shown| shown.counts().map(|set| set.state.as_str())).collect();
            let sessions = found["sessions"].as_array().cloned().unwrap_or_default();
            let of_sessions: Vec<Option<&str>> = sessions.iter().map(|one| one["state"].as_str()).collect();
            if found["because"] != because
                || found["shown"]["state"] != sees.as_str()
                || of_sessions != states
            {
                return Err(format!("{because}, {sees:?}, {states:?} is explained by {json}"));
            }
        }
        self.covered.add("explain.presence");
        Ok(())
    }

    /// What goes on without being seen, and the end: who is removed sees the account go.
    fn part(&mut self, scene: &mut Scene) -> Step {
        let machine = scene.machine;
        if scene.is_blocked {
            let address = scene.buddy.guest.address.clone();
            scene.subject.ask(Command::Block { address, blocked: false })?;
            scene.is_blocked = false;
        }
        // The session that hides gets what the buddy sends and shows; nobody else is there to take it.
        let hides = SetPresence { invisible: true, ..SetPresence::state(State::Chat) };
        scene.sessions[1].close();
        scene.subject.ask(Command::SetPresence(SetPresence { layer: PresenceLayer::Manual, ..hides }))?;
        self.told(machine, &scene.subject.session)?;
        scene.buddy.guest.shows(State::Busy)?;
        let send = rosterkit::Send::text(&scene.subject.address, "to whom I do not see");
        scene.buddy.guest.ask(Command::Send(send))?;
        let told = self.told(machine, &scene.subject.session)?;
        let has_message = told.iter().any(|body| matches!(body, EventBody::Message(_)));
        let sees = seen(&told, &scene.buddy.guest.address).iter().any(|sight| sight.0 == State::Busy);
        if !has_message || !sees {
            return Err(format!("{} hides, and was told {told:?}", scene.subject.address));
        }
        self.covered.add("presence.invisible-receives");
        scene.subject.shows(State::Chat)?;
        let before = seen(&self.told(machine, &scene.buddy.guest.session)?, &scene.subject.address);
        scene.subject.ask(edit(&scene.buddy.guest.address, Op::Remove))?;
        let after = seen(&self.told(machine, &scene.buddy.guest.session)?, &scene.subject.address);
        if before.last().map(|sight| sight.0) != Some(State::Chat) || after != [nothing()] {
            return Err(format!(
                "{} was removed, and saw {before:?}, then {after:?}",
                scene.buddy.guest.address
            ));
        }
        self.covered.add("presence.removed-sees-offline");
        Ok(())
    }
}

fn sight(presence: &rosterkit::Presence) -> Sight {
    (presence.state, presence.note.as_ref().map(ToString::to_string), presence.extensions.to_vec())
}

/// What was told of somebody's presence.
fn seen(told: &[EventBody], of: &rosterkit::Address) -> Vec<Sight> {
    told.iter()
        .filter_map(|body| match body {
            EventBody::Presence { subject, presence } if subject == of => Some(sight(presence)),
            _ => None,
        })
        .collect()
}
