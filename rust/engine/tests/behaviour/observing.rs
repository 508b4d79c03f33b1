//! Observers: sessions that are told the state of their account.

use crate::online;
use crate::world::{World, account, texts};
use rosterkit::{
    Conversation, DeviceName, Event, EventBody, Position, Session, SessionOptions, SetPresence, State,
    Status, Word,
};
use std::collections::BTreeMap;

/// What an observer knows, folded as a host would.
#[derive(Debug, Default, PartialEq)]
struct Known {
    roster: BTreeMap<String, Status>,
    presence: BTreeMap<String, State>,
    conversations: BTreeMap<String, (String, u32)>,
    is_whole: bool,
}

impl Known {
    fn learn(&mut self, events: &[Event]) {
        for event in events {
            match &event.body {
                EventBody::RosterChanged { buddy, status } => {
                    self.roster.insert(buddy.address.to_string(), *status);
                }
                EventBody::Presence { subject, presence } => {
                    self.presence.insert(subject.to_string(), presence.state);
                }
                EventBody::ConversationChanged(conversation) => {
                    let Conversation { peer, latest, unread, .. } = &**conversation;
                    let text = latest.content.as_text().unwrap_or_default().to_owned();
                    self.conversations.insert(peer.to_string(), (text, *unread));
                }
                EventBody::SnapshotEnd => self.is_whole = true,
                EventBody::QuarantineChanged { .. } | EventBody::PreferencesChanged => {}
                other => panic!("an observer is told {other:?}"),
            }
        }
    }
}

fn observer(world: &World, user: &str) -> Session {
    world.create(user);
    let options = SessionOptions { observes: true, ..SessionOptions::default() };
    world.engine.open_session(&account(user), options).unwrap()
}

fn name(user: &str) -> String {
    account(user).to_string()
}

// behaviour: observers.snapshot, observers.newest-wins, observers.not-there
#[test]
fn an_observer_is_told_what_is_and_then_the_newest_of_what_changes() {
    let world = World::new();
    let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
    world.befriend(&alice, &carol);
    alice.add_buddy(&account("bob"), None, None).unwrap();
    bob.send(&account("alice"), "one").unwrap();
    alice.close();
    let [first, second] = [(); 2].map(|()| observer(&world, "alice"));
    // Before the end mark comes everything.
    let snapshot = world.drain(&first);
    assert!(matches!(snapshot.last().unwrap().body, EventBody::SnapshotEnd), "{snapshot:?}");
    let (mut known, mut late) = (Known::default(), Known::default());
    known.learn(&snapshot);
    let roster = [(name("bob"), Status::Requested), (name("carol"), Status::Confirmed)];
    assert_eq!(known.roster, BTreeMap::from(roster));
    assert_eq!(known.presence[&name("carol")], State::Online);
    assert_eq!(known.conversations, BTreeMap::from([(name("bob"), ("one".into(), 1))]));
    // Nobody is there for it: it is not seen, and takes nothing.
    assert_eq!(bob.send(&account("alice"), "two").unwrap().outcome, Word::Stored);
    bob.confirm_buddy(&account("alice")).unwrap();
    bob.set_presence(SetPresence::state(State::Busy)).unwrap();
    assert_eq!(bob.presence_of(&account("alice")).unwrap().state, State::Offline);
    world.engine.advance(2_000).unwrap();
    known.learn(&world.drain(&first));
    assert_eq!(known.roster[&name("bob")], Status::Confirmed);
    assert_eq!(known.presence[&name("bob")], State::Busy);
    assert_eq!(known.conversations[&name("bob")], ("two".into(), 2));
    let [alice] = world.sessions(["alice"]);
    let waiting = world.drain(&alice);
    assert_eq!(texts(&waiting), ["one", "two"]);
    let latest = alice.conversations(rosterkit::ConversationsRequest { before: None, limit: 1 }).unwrap();
    alice.mark_read(&account("bob"), latest.conversations[0].position).unwrap();
    // One that looks seldom finds of each the newest, once.
    for n in 0..500 {
        alice.send(&account("bob"), &format!("{n}")).unwrap();
        bob.set_presence(SetPresence::state(if n % 2 == 0 { State::Away } else { State::Chat })).unwrap();
    }
    world.engine.advance(2_000).unwrap();
    let events = world.drain(&second);
    assert!(events.len() < 10, "{}", events.len());
    late.learn(&events);
    known.learn(&world.drain(&first));
    assert_eq!(known.conversations[&name("bob")], ("499".into(), 0));
    assert_eq!(known, late);
    assert_eq!(late.presence[&name("bob")], State::Chat);
}

// behaviour: observers.newest-wins
#[test]
fn an_observer_is_told_that_an_unread_message_has_expired() {
    let world = World::new();
    let [bob] = world.sessions(["bob"]);
    let alice = observer(&world, "alice");
    bob.send(&account("alice"), "stays").unwrap();
    let expires = Some(rosterkit::Timestamp(1_700_000_000_000 + 60_000));
    bob.send_message(rosterkit::Send { expires, ..rosterkit::Send::text(&account("alice"), "lunch?") })
        .unwrap();
    let mut known = Known::default();
    world.engine.advance(2_000).unwrap();
    known.learn(&world.drain(&alice));
    assert_eq!(known.conversations[&name("bob")], ("lunch?".into(), 2));
    world.engine.advance(62_000).unwrap();
    known.learn(&world.drain(&alice));
    assert_eq!(known.conversations[&name("bob")], ("stays".into(), 1));
}

// behaviour: observers.large
#[test]
fn an_observer_of_a_large_roster_is_left_nothing_out() {
    let world = World::new();
    let items: String =
        (0..4_500).map(|n| format!("<item jid='user{n}@example.net' subscription='to'/>")).collect();
    let file = world.path().with_file_name("roster.xml");
    let export = format!(
        "<server-data xmlns='urn:xmpp:pie:0'><host jid='example.org'><user name='alice'>\
         <query xmlns='jabber:iq:roster'>{items}</query></user></host></server-data>"
    );
    std::fs::write(&file, export).unwrap();
    world.engine.import_xep0227(&file, |_| Ok(())).unwrap();
    let seen = observer(&world, "alice");
    world.engine.advance(10).unwrap();
    let mut known = Known::default();
    known.learn(&world.drain(&seen));
    assert!(known.is_whole && known.roster.len() == 4_500 && known.presence.len() >= 4_500);
}

// behaviour: observers.own-device
#[test]
fn an_observer_with_a_device_still_takes_no_messages() {
    let world = World::new();
    let [bob] = world.sessions(["bob"]);
    world.create("alice");
    let device = Some(DeviceName::new("widget").unwrap());
    let options = SessionOptions { observes: true, device, ..SessionOptions::default() };
    let widget = world.engine.open_session(&account("alice"), options).unwrap();
    bob.send(&account("alice"), "hello").unwrap();
    online(&bob);
    let mut known = Known::default();
    known.learn(&world.drain(&widget));
    assert_eq!(known.conversations[&name("bob")], ("hello".into(), 1));
    let [alice] = world.sessions(["alice"]);
    assert_eq!(texts(&world.drain(&alice)), ["hello"]);
    assert_eq!(alice.roster_since(Position::ZERO).unwrap().buddies.len(), 0);
}
