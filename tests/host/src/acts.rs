//! The acts, each a process of its own on the same file.

use crate::stage::{Person, Result, account, expect, name, open, says, seen, text};
use rosterkit::{
    Anchor, ChatState, ClientId, Consumer, Direction, Event, EventBody, HistoryRequest, Listener,
    ListenerError, SessionId, SessionOptions, SetPresence, State, Status,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The export of a real server, in one transaction.
pub fn import(file: &Path) -> Result<()> {
    let engine = open(file)?;
    let export = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/xep0227/ejabberd-23.01.xml");
    let found = engine.import_xep0227(export, |progress| {
        if progress.accounts % 4 == 0 {
            says("import", &format!("{} accounts read", progress.accounts));
        }
        Ok(())
    })?;
    let (accounts, buddies, messages) = (found.accounts, found.buddies, found.messages);
    says("import", &format!("{accounts} accounts, {buddies} buddies, {messages} messages waiting: on disk"));
    expect(accounts == 12 && messages == 40, "the export has 12 accounts and 40 messages")?;
    seen("import");

    let alice = engine.open_session(&account("alice")?, SessionOptions::default())?;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for buddy in alice.roster()?.buddies {
        let shown = if buddy.name.is_empty() { buddy.address.to_string() } else { buddy.name.clone() };
        let status = match buddy.status() {
            Status::Confirmed => "",
            Status::Requested => " (requested)",
            Status::Asking => " (asks)",
            Status::None => " (none)",
        };
        let in_groups = if buddy.groups.is_empty() { vec!["(no group)".to_owned()] } else { buddy.groups };
        for group in in_groups {
            groups.entry(group).or_default().push(format!("{shown}{status}"));
        }
    }
    for (group, members) in &groups {
        says(group, &members.join(", "));
    }
    expect(groups["Friends"].len() == 3 && groups["Familie"].len() == 1, "alice's groups are as exported")?;
    seen("roster by groups");
    engine.shutdown(true)?;
    Ok(())
}

/// A buddy request confirmed, presence of two sessions as one, messages with copies, typing.
pub fn conversation(file: &Path) -> Result<()> {
    let engine = open(file)?;
    let dave = Person::enters(&engine, "dave", Some("phone"))?;
    let laptop = Person::enters(&engine, "dave", Some("laptop"))?;
    let judy = Person::enters(&engine, "judy", None)?;

    says("dave", "adds judy, group “New”");
    dave.session.add_buddy(&account("judy")?, Some("Judy"), Some(&["New"]))?;
    judy.hears("a buddy request", |e| matches!(e, EventBody::BuddyRequest { .. }).then_some(()))?;
    seen("buddy request");
    judy.session
        .set_presence(SetPresence { note: Some("new here".into()), ..SetPresence::state(State::Online) })?;
    dave.session.set_presence(SetPresence::state(State::Online))?;
    says("judy", "confirms");
    judy.session.confirm_buddy(&account("dave")?)?;
    sees(&dave, "judy", State::Online)?;
    sees(&judy, "dave", State::Online)?;
    let confirmed = |person: &Person, peer: &str| -> Result<bool> {
        let peer = account(peer)?;
        Ok(person
            .session
            .roster()?
            .buddies
            .iter()
            .any(|b| b.address == peer && b.status() == Status::Confirmed))
    };
    expect(confirmed(&dave, "judy")? && confirmed(&judy, "dave")?, "both rosters say confirmed")?;
    seen("confirmed on both sides");

    laptop
        .session
        .set_presence(SetPresence { note: Some("in a call".into()), ..SetPresence::state(State::Busy) })?;
    sees(&judy, "dave", State::Busy)?;
    laptop.session.go_offline()?;
    sees(&judy, "dave", State::Online)?;
    seen("presence aggregated");

    dave.session.typing(&account("judy")?, ChatState::Composing)?;
    judy.hears("typing", |e| matches!(e, EventBody::Typing { .. }).then_some(()))?;
    seen("typing");
    let receipt =
        dave.session.send_once(&account("judy")?, "Hello Judy,\nhow are you?", ClientId::new("demo-1")?)?;
    let id = judy.hears("the message", message_id)?;
    expect(id == receipt.id, "judy got the message that dave's receipt names")?;
    seen("message delivered by callback");
    let copy = laptop.hears("a copy", message_id)?;
    expect(copy == receipt.id, "the laptop has a copy of it")?;
    seen("copy");
    let again =
        dave.session.send_once(&account("judy")?, "Hello Judy,\nhow are you?", ClientId::new("demo-1")?)?;
    says("dave", &format!("repeats it with the same client_id: the same receipt, {:?}", again.outcome));
    expect(again == receipt, "a repeat gets the first one's answer")?;
    seen("idempotent repeat");
    judy.session.send(&account("dave")?, "Fine, thanks!")?;
    dave.hears("the answer", message_id)?;
    engine.shutdown(true)?;
    Ok(())
}

fn sees(person: &Person, buddy: &str, state: State) -> Result<()> {
    let buddy = account(buddy)?;
    person.hears(&format!("{} {state}", name(&buddy)), |e| match e {
        EventBody::Presence { subject, presence } if *subject == buddy && presence.state == state => Some(()),
        _ => None,
    })
}

fn message_id(event: &EventBody) -> Option<rosterkit::MessageId> {
    match event {
        EventBody::Message(message) => Some(message.id),
        _ => None,
    }
}

/// A listener that says it has a message in hand, and never returns.
struct NeverReturns;

impl Listener for NeverReturns {
    fn on_events(&self, _session: SessionId, events: &[Event]) -> std::result::Result<(), ListenerError> {
        for event in events {
            if let EventBody::Message(message) = &event.body {
                says("frank", &format!("« {} » from {} …", text(message), name(&message.sender)));
                println!("IN HAND {}", message.id);
                std::thread::sleep(Duration::from_secs(60));
            }
        }
        Ok(())
    }
}

/// A message is delivered to a listener, and the process dies before it returns.
pub fn killed(file: &Path) -> Result<()> {
    let engine = open(file)?;
    let options = SessionOptions {
        reads_messages: true,
        consumer: Consumer::Listener(std::sync::Arc::new(NeverReturns)),
        ..SessionOptions::default()
    };
    let frank = engine.open_session(&account("frank")?, options)?;
    let alice = engine.open_session(&account("alice")?, SessionOptions::default())?;
    alice.send(&account("frank")?, "Don't lose this one.")?;
    std::thread::sleep(Duration::from_secs(60));
    drop(frank);
    Err("nobody killed the host".into())
}

/// The next process: the message comes again, with the same id.
pub fn again(file: &Path, id: &str) -> Result<()> {
    let engine = open(file)?;
    let frank = Person::enters(&engine, "frank", None)?;
    let again = frank.hears("the message, again", message_id)?;
    expect(again.to_string() == id, "it has the id it had")?;
    seen("redelivered with its id");
    engine.shutdown(true)?;
    let engine = open(file)?;
    let frank = engine
        .open_session(&account("frank")?, SessionOptions { reads_messages: true, ..Default::default() })?;
    let more = frank.next_events(10, Duration::from_millis(200))?;
    expect(more.is_empty(), "acknowledged by returning, it does not come a third time")?;
    engine.shutdown(true)?;
    Ok(())
}

/// Somebody who was away since the export: messages in order, with their times, and a page of history.
pub fn offline(file: &Path) -> Result<()> {
    let engine = open(file)?;
    let bob = engine
        .open_session(&account("bob")?, SessionOptions { reads_messages: true, ..Default::default() })?;
    let mut messages = Vec::new();
    while messages.len() < 18 {
        let events = bob.next_events(5, Duration::from_secs(10))?;
        let Some(last) = events.last() else { break };
        bob.ack(last.seq);
        messages.extend(events.into_iter().filter_map(|e| match e.body {
            EventBody::Message(message) => Some(message),
            _ => None,
        }));
    }
    for message in messages.iter().take(4) {
        says("bob", &format!("[{}] « {} » from {}", message.time.0, text(message), name(&message.sender)));
    }
    says("bob", &format!("… {} messages in all", messages.len()));
    let first_of = |message: &rosterkit::Message, word: &str| text(message).starts_with(word);
    expect(messages.len() == 18, "bob was owed 18 messages")?;
    expect(
        first_of(&messages[0], "message 1 ")
            && first_of(&messages[1], "line one of 2")
            && messages.is_sorted_by_key(|m| m.position),
        "they come in the order they were sent",
    )?;
    seen("offline messages in order");
    let receipt = bob.send(&account("alice")?, "Just back, catching up.")?;
    expect(
        messages.is_sorted_by_key(|m| m.time) && messages.iter().all(|m| m.time < receipt.time),
        "each has the time at which it was sent",
    )?;
    seen("original times");
    let page = bob.history(HistoryRequest {
        peer: Some(account("alice")?),
        anchor: Anchor::End,
        direction: Direction::Older,
        limit: 5,
    })?;
    for message in &page.messages {
        says("history", &format!("{}: {}", name(&message.sender), text(message)));
    }
    let last = page.messages.last().map(|m| m.id);
    expect(
        page.messages.len() == 5 && !page.complete && last == Some(receipt.id),
        "the latest five with alice, and more before",
    )?;
    seen("history");
    engine.shutdown(true)?;
    Ok(())
}
