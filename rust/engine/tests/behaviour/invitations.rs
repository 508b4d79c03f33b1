//! Invitations: who brings the token is let in.

use crate::online;
use crate::world::{World, account};
use rosterkit::{Actor, Command, ErrorKind, EventBody, InvitationToken, Session, Status, Timestamp};

const HOUR_MS: i64 = 3_600_000;

/// When the world begins.
const START_MS: i64 = 1_700_000_000_000;

/// So many hours after that.
fn hour(number: i64) -> Timestamp {
    Timestamp(START_MS + number * HOUR_MS)
}

fn status(session: &Session, user: &str) -> Status {
    let roster = session.roster().unwrap().buddies;
    roster.iter().find(|buddy| buddy.address == account(user)).map_or(Status::None, |buddy| buddy.status())
}

fn asked(world: &World, session: &Session) -> usize {
    let events = world.drain(session);
    events.iter().filter(|event| matches!(event.body, EventBody::BuddyRequest { .. })).count()
}

// behaviour: invitations.redeemed, invitations.once
#[test]
fn who_brings_the_token_is_confirmed_on_both_sides_and_nobody_is_asked() {
    let world = World::new();
    let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
    let token = alice.invite(hour(1)).unwrap();
    // It lets in whoever asked before, too.
    bob.add_buddy(&account("alice"), Some("Alice"), None).unwrap();
    assert_eq!(asked(&world, &alice), 1);
    alice.decline_buddy(&account("bob")).unwrap();
    bob.redeem_invitation(&account("alice"), token.clone()).unwrap();
    assert_eq!((status(&alice, "bob"), status(&bob, "alice")), (Status::Confirmed, Status::Confirmed));
    assert_eq!(asked(&world, &alice), 0);
    assert_eq!(bob.roster().unwrap().buddies[0].name, "Alice");
    online(&alice);
    online(&bob);
    assert!(world.drain(&bob).iter().any(|event| matches!(&event.body,
        EventBody::Presence { subject, .. } if *subject == account("alice"))));
    // The second who brings it asks as everybody does.
    carol.redeem_invitation(&account("alice"), token).unwrap();
    assert_eq!((status(&alice, "carol"), status(&carol, "alice")), (Status::Asking, Status::Requested));
    assert_eq!(asked(&world, &alice), 1);
}

// behaviour: invitations.redeemed
#[test]
fn an_unanswered_request_becomes_a_confirmed_one_with_the_token() {
    let world = World::new();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    bob.add_buddy(&account("alice"), None, None).unwrap();
    assert_eq!(status(&alice, "bob"), Status::Asking);
    let token = alice.invite(hour(1)).unwrap();
    bob.redeem_invitation(&account("alice"), token).unwrap();
    assert_eq!((status(&alice, "bob"), status(&bob, "alice")), (Status::Confirmed, Status::Confirmed));
}

// behaviour: invitations.restart
#[test]
fn an_invitation_and_its_redemption_outlive_the_process() {
    let world = World::new();
    let [alice, _bob] = world.sessions(["alice", "bob"]);
    let token = alice.invite(hour(1)).unwrap();
    let world = world.killed();
    let [bob] = world.sessions(["bob"]);
    bob.redeem_invitation(&account("alice"), token).unwrap();
    let world = world.killed();
    let [alice, bob] = world.sessions(["alice", "bob"]);
    assert_eq!((status(&alice, "bob"), status(&bob, "alice")), (Status::Confirmed, Status::Confirmed));
}

// behaviour: invitations.ended
#[test]
fn one_that_has_expired_or_was_taken_back_lets_nobody_in() {
    let world = World::new();
    let [alice, bob, carol, dave] = world.sessions(["alice", "bob", "carol", "dave"]);
    let [first, second, third] = [(); 3].map(|()| alice.invite(hour(1)).unwrap());
    alice.revoke_invitations(Some(second.clone())).unwrap();
    carol.redeem_invitation(&account("alice"), second).unwrap();
    assert_eq!(status(&carol, "alice"), Status::Requested);
    // The other is untouched by that.
    dave.redeem_invitation(&account("alice"), third).unwrap();
    assert_eq!((status(&alice, "dave"), status(&dave, "alice")), (Status::Confirmed, Status::Confirmed));
    world.engine.advance(HOUR_MS as u64).unwrap();
    bob.redeem_invitation(&account("alice"), first).unwrap();
    assert_eq!(status(&bob, "alice"), Status::Requested);
    let fourth = alice.invite(hour(2)).unwrap();
    alice.revoke_invitations(None).unwrap();
    bob.redeem_invitation(&account("alice"), fourth).unwrap();
    assert_eq!(status(&bob, "alice"), Status::Requested);
}

// behaviour: invitations.blocked
#[test]
fn who_is_blocked_is_not_let_in_and_does_not_use_it_up() {
    let world = World::new();
    let [alice, bob, carol] = world.sessions(["alice", "bob", "carol"]);
    let token = alice.invite(hour(1)).unwrap();
    alice.block(&account("bob"), true).unwrap();
    bob.redeem_invitation(&account("alice"), token.clone()).unwrap();
    assert_eq!((status(&alice, "bob"), status(&bob, "alice")), (Status::None, Status::Requested));
    carol.redeem_invitation(&account("alice"), token).unwrap();
    assert_eq!((status(&alice, "carol"), status(&carol, "alice")), (Status::Confirmed, Status::Confirmed));
}

// behaviour: invitations.limits
#[test]
fn invitations_are_counted_and_end() {
    let world = World::new();
    let [alice] = world.sessions(["alice"]);
    for expires in [hour(0), hour(-1), hour(367 * 24)] {
        assert_eq!(alice.invite(expires).unwrap_err().kind, ErrorKind::InvalidArgument);
    }
    let token = InvitationToken::from_random([1; 16]);
    let actor = Actor { account: account("alice"), session: None };
    let invite = || Command::Invite { token: token.clone(), expires: hour(1) };
    world.engine.call(&actor, invite()).unwrap();
    assert_eq!(world.engine.call(&actor, invite()).unwrap_err().kind, ErrorKind::Conflict);
    for _ in 1..64 {
        alice.invite(hour(1)).unwrap();
    }
    let over = alice.invite(hour(1)).unwrap_err();
    assert!(matches!(over.kind, ErrorKind::LimitExceeded { .. }), "{over}");
    // Those that have expired do not count.
    world.engine.advance(HOUR_MS as u64).unwrap();
    alice.invite(hour(2)).unwrap();
}

// behaviour: roster.request-flood
#[test]
fn beyond_so_many_unanswered_requests_who_asks_is_not_heard() {
    let mut options = rosterkit::EngineOptions::hosting([rosterkit::Domain::new("example.org").unwrap()]);
    options.limits.unanswered_requests = 2;
    let world = World::with(options);
    let [alice, bob, carol, dave] = world.sessions(["alice", "bob", "carol", "dave"]);
    for session in [&bob, &carol, &dave] {
        session.add_buddy(&account("alice"), None, None).unwrap();
    }
    assert_eq!(asked(&world, &alice), 2);
    assert_eq!((status(&alice, "dave"), status(&dave, "alice")), (Status::None, Status::Requested));
    // An invitation lets in all the same, and an answer makes room.
    let token = alice.invite(hour(1)).unwrap();
    dave.redeem_invitation(&account("alice"), token).unwrap();
    assert_eq!(status(&alice, "dave"), Status::Confirmed);
    alice.confirm_buddy(&account("bob")).unwrap();
    let [eve] = world.sessions(["eve"]);
    eve.add_buddy(&account("alice"), None, None).unwrap();
    assert_eq!(status(&alice, "eve"), Status::Asking);
}
