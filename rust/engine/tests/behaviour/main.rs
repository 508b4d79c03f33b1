//! Sentences of docs/behaviour.md that only a running engine can show, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accounts;
mod amending;
mod backup;
mod devices;
mod expiry;
mod explaining;
mod files;
mod history;
mod invitations;
mod listeners;
mod observing;
mod presence;
mod queries;
mod receipts;
mod registrations;
mod rules;
mod sending;
mod sight;
mod strangers;
#[path = "../world/mod.rs"]
mod world;

use rosterkit::{
    Actor, Anchor, Command, Direction, Event, EventBody, HistoryRequest, Overrides, Presence, Session,
    SetPresence, State,
};
use world::{World, account};

fn online(session: &Session) {
    session.set_presence(SetPresence::state(State::Online)).unwrap();
}

/// The last presence of somebody among events.
fn seen(events: &[Event], user: &str) -> Option<Presence> {
    events.iter().rev().find_map(|e| match &e.body {
        EventBody::Presence { subject, presence } if *subject == account(user) => Some(presence.clone()),
        _ => None,
    })
}

fn overrides(world: &World, user: &str, overrides: Overrides) {
    let actor = Actor { account: account(user), session: None };
    world.engine.call(&actor, Command::SetPreferences(overrides)).unwrap();
}

fn page(session: &Session, anchor: Anchor, direction: Direction, limit: usize) -> rosterkit::History {
    session.history(HistoryRequest { peer: None, anchor, direction, limit }).unwrap()
}
