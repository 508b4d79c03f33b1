//! Rosters, accounts, domains, and the end of an engine.

use crate::world::{World, account, kinds};
use crate::{online, overrides, seen};
use rosterkit::{
    AcceptedSenders, Actor, Address, Answer, Command, Domain, EndReason, EngineOptions, ErrorKind, Event,
    EventBody, Listener, ListenerError, Op, Overrides, RosterEdit, Session, SessionId, State, Status,
};
use std::sync::Mutex;
use std::time::Duration;

// ---- roster -------------------------------------------------------------------------------------------------

// behaviour: roster.versions
#[test]
fn a_client_that_names_its_version_gets_only_what_changed() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    for user in ["bob", "carol"] {
        world.create(user);
        alice.add_buddy(&account(user), None, None).unwrap();
    }
    let version = alice.roster().unwrap().version;
    assert!(alice.roster_since(version).unwrap().buddies.is_empty());
    alice.remove_buddy(&account("bob")).unwrap();
    let changed = alice.roster_since(version).unwrap();
    assert_eq!(changed.buddies.len(), 1);
    assert!(!changed.buddies[0].listed && changed.buddies[0].address == account("bob"));
    assert_eq!(alice.roster().unwrap().buddies.len(), 1);
}

// behaviour: roster.pushed, roster.one-direction
#[test]
fn other_sessions_are_told_and_one_direction_is_possible() {
    let world = World::new();
    let [alice, other, bob] = world.sessions(["alice", "alice", "bob"]);
    let edit = |op| RosterEdit { note: "hi".into(), ..RosterEdit::new(&account("bob"), op) };
    alice.edit_roster(edit(Op::Subscribe)).unwrap();
    let told = world.drain(&other);
    assert!(
        matches!(told[0].body, EventBody::RosterChanged { status: Status::Requested, .. }),
        "{:?}",
        kinds(&told)
    );
    let asked = world.drain(&bob);
    assert!(asked.iter().any(|e| matches!(&e.body, EventBody::BuddyRequest { note, .. } if &**note == "hi")));
    bob.edit_roster(RosterEdit { peer: account("alice"), ..edit(Op::Subscribed) }).unwrap();
    online(&alice);
    online(&bob);
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Online);
    assert_eq!(seen(&world.drain(&bob), "alice"), None, "bob sees nothing of alice");
    assert_eq!(bob.presence_of(&account("alice")).unwrap().state, State::Offline);
}

// behaviour: roster.request-waits
#[test]
fn a_request_waits_for_who_is_away() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    world.create("bob");
    alice.add_buddy(&account("bob"), None, None).unwrap();
    let world = world.reopen();
    let [bob] = world.sessions(["bob"]);
    assert!(world.drain(&bob).iter().any(|e| matches!(e.body, EventBody::BuddyRequest { .. })));
    let world = world.reopen();
    let [bob] = world.sessions(["bob"]);
    assert!(world.drain(&bob).is_empty(), "acknowledged, it is told once");
}

// ---- accounts and domains -----------------------------------------------------------------------------------

// behaviour: account.deleted, account.incarnation
#[test]
fn deleting_an_account_tells_its_buddies_and_a_new_one_inherits_nothing() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    alice.send(&account("bob"), "old").unwrap();
    world.engine.delete_account(&account("bob")).unwrap();
    assert_eq!(world.drain(&bob).pop().unwrap().body, EventBody::Ended(EndReason::AccountDeleted));
    assert_eq!(seen(&world.drain(&alice), "bob").unwrap().state, State::Offline);
    assert_eq!(alice.roster().unwrap().buddies[0].status(), Status::None);
    assert_eq!(alice.send(&account("bob"), "x").unwrap_err().kind, ErrorKind::NotFound);
    world.create("bob");
    let [bob] = world.sessions(["bob"]);
    assert!(world.drain(&bob).is_empty());
    assert!(bob.roster().unwrap().buddies.is_empty());
    assert_eq!(alice.presence_of(&account("bob")).unwrap().state, State::Offline);
    alice.add_buddy(&account("bob"), None, None).unwrap();
    assert!(world.drain(&bob).iter().any(|e| matches!(e.body, EventBody::BuddyRequest { .. })));
}

/// A roster has each address once: who is there under the name of an account that is gone stands in its place.
// behaviour: account.incarnation
#[test]
fn a_new_account_stands_where_the_old_one_stood_on_a_roster() {
    for asks in [false, true] {
        let world = World::new();
        let [alice, bob] = world.sessions(["alice", "bob"]);
        world.befriend(&alice, &bob);
        let edit = |op, name| {
            let groups = Some(vec!["friends".to_owned()]);
            let edit = RosterEdit { name, groups, ..RosterEdit::new(&account("bob"), op) };
            alice.edit_roster(edit).unwrap();
        };
        edit(Op::Update, Some("Bobby".into()));
        let version = alice.roster().unwrap().version;
        world.engine.delete_account(&account("bob")).unwrap();
        world.create("bob");
        let [bob] = world.sessions(["bob"]);
        match asks {
            true => bob.add_buddy(&account("alice"), None, None).unwrap(),
            false => alice.add_buddy(&account("bob"), None, None).unwrap(),
        }
        let world = world.reopen();
        let [alice, bob] = world.sessions(["alice", "bob"]);
        let roster = alice.roster().unwrap().buddies;
        assert_eq!(roster.len(), 1, "{roster:?}");
        assert_eq!((&*roster[0].name, &*roster[0].groups[0]), ("Bobby", "friends"));
        let expected = if asks { Status::Asking } else { Status::Requested };
        assert_eq!(roster[0].status(), expected);
        let changed = alice.roster_since(version).unwrap().buddies;
        assert!(changed.iter().all(|buddy| buddy.listed && buddy.status() == expected), "{changed:?}");
        world.befriend(&alice, &bob);
        assert_eq!(alice.roster().unwrap().buddies.len(), 1);
        world.engine.delete_account(&account("bob")).unwrap();
        alice.remove_buddy(&account("bob")).unwrap();
        assert!(alice.roster().unwrap().buddies.is_empty());
    }
}

// behaviour: domain.run-time, domain.refused
#[test]
fn domains_come_and_go_at_run_time() {
    let world = World::new();
    let net = Domain::new("example.net").unwrap();
    world
        .engine
        .set_domain(net.clone(), Overrides { keep_history: Some(false), ..Overrides::default() })
        .unwrap();
    let carol = Address::account("carol@example.net").unwrap();
    world.engine.create_account(&carol).unwrap();
    let actor = Actor { account: carol.clone(), session: None };
    let keeps = || match world.engine.call(&actor, Command::ReadPreferences).unwrap() {
        Answer::Preferences(preferences) => preferences.keep_history,
        other => panic!("{other:?}"),
    };
    assert!(!keeps(), "the domain's preference is in force");
    world.engine.set_domain(net.clone(), Overrides::default()).unwrap();
    assert!(keeps(), "at once");
    assert_eq!(world.engine.domains().len(), 2);
    assert!(world.engine.remove_domain(net.clone()).is_err(), "it has an account");
    world.engine.delete_account(&carol).unwrap();
    world.engine.remove_domain(net.clone()).unwrap();
    assert_eq!(world.engine.create_account(&carol).unwrap_err().kind, ErrorKind::NotFound);
    // A file that holds a domain that the host does not answer for is refused.
    world.engine.set_domain(net, Overrides::default()).unwrap();
    let path = world.path();
    world.engine.shutdown(true).unwrap();
    let only_org = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    let refused = rosterkit::Engine::open_file(&path, only_org).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
}

/// Reads its session while it is called with what was read of it.
struct ReadsToo<'a> {
    session: &'a Session,
    told: Mutex<Vec<ErrorKind>>,
}

impl Listener for ReadsToo<'_> {
    fn on_events(&self, _: SessionId, _: &[Event]) -> Result<(), ListenerError> {
        let read = self.session.next_events(1, Duration::ZERO);
        self.told.lock().unwrap().extend(read.err().map(|error| error.kind));
        Ok(())
    }
}

// behaviour: engine.shutdown, engine.one-consumer
#[test]
fn after_shutdown_everything_is_closed_and_two_consumers_are_a_mistake() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    bob.send(&account("alice"), "hello").unwrap();
    let second = ReadsToo { session: &alice, told: Mutex::default() };
    alice.run(&second).unwrap();
    assert_eq!(*second.told.lock().unwrap(), [ErrorKind::Misuse]);
    world.engine.shutdown(true).unwrap();
    world.engine.shutdown(true).unwrap();
    assert_eq!(world.drain_ended(&alice), Some(EndReason::Shutdown));
    assert_eq!(alice.send(&account("alice"), "x").unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(world.engine.create_account(&account("x")).unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(alice.next_events(1, Duration::ZERO).unwrap_err().kind, ErrorKind::Closed);
}

// behaviour: account.deleted
#[test]
fn buddies_are_told_of_a_deletion_when_no_idle_account_stays_in_memory() {
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    options.idle_accounts = 0;
    let world = World::with(options);
    let [alice, bob] = world.sessions(["alice", "bob"]);
    world.befriend(&alice, &bob);
    world.engine.delete_account(&account("bob")).unwrap();
    world.engine.advance(0).unwrap();
    assert_eq!(alice.roster().unwrap().buddies[0].status(), Status::None);
}

// behaviour: engine.bounded
#[test]
fn what_is_under_way_or_answered_and_not_taken_is_bounded() {
    let mut options = EngineOptions::hosting([Domain::new("example.org").unwrap()]);
    options.max_in_flight = 8;
    let world = World::with(options);
    world.create("alice");
    let actor = Actor { account: account("alice"), session: None };
    let submit = || world.engine.submit((0..10).map(|_| (actor.clone(), Command::ReadDevices)).collect());
    let full = ErrorKind::LimitExceeded { retry_after_ms: Some(10) };
    assert_eq!(submit().unwrap().len(), 8, "a prefix is taken");
    assert_eq!(submit().unwrap_err().kind, full, "under way");
    world.engine.advance(0).unwrap();
    assert_eq!(submit().unwrap_err().kind, full, "answered, and not taken");
    assert_eq!(world.engine.next_answers(3, Duration::MAX).unwrap().len(), 3);
    assert_eq!(submit().unwrap().len(), 3);
}

// behaviour: account.told
#[test]
fn sessions_are_told_of_another_block_list_and_of_other_preferences() {
    let world = World::new();
    let [alice, there] = world.sessions(["alice", "alice"]);
    let told = |session: &Session| {
        let events = world.drain(session);
        let of = |wanted: EventBody| events.iter().filter(|event| event.body == wanted).count();
        (of(EventBody::BlockListChanged), of(EventBody::PreferencesChanged))
    };
    let preferences = |keep| Overrides { keep_history: Some(keep), ..Overrides::default() };
    alice.block(&account("eve"), true).unwrap();
    assert_eq!(told(&there), (1, 0));
    alice.block(&account("eve"), true).unwrap();
    overrides(&world, "alice", preferences(true));
    assert_eq!(told(&there), (0, 0), "nothing is another");
    overrides(&world, "alice", preferences(false));
    assert_eq!((told(&there), told(&alice)), ((0, 1), (1, 1)));
    let domain = Domain::new("example.org").unwrap();
    let policy = Some(AcceptedSenders::Nobody);
    let of_domain = Overrides { accepted_senders: policy, ..Overrides::default() };
    world.engine.set_domain(domain, of_domain).unwrap();
    assert_eq!(told(&there), (0, 1));
}
