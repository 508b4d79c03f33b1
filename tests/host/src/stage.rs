//! What the acts have in common: the engine, people with listeners, and a transcript that reads like a chat.

use rosterkit::{
    Address, ChatState, Consumer, DeviceName, Domain, Engine, EngineOptions, Event, EventBody, Listener,
    ListenerError, Session, SessionId, SessionOptions,
};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub const DOMAIN: &str = "rosterkit.example";

pub fn open(file: &Path) -> Result<Engine> {
    Ok(Engine::open_file(file, EngineOptions::hosting([Domain::new(DOMAIN)?]))?)
}

pub fn account(user: &str) -> Result<Address> {
    Ok(Address::account(&format!("{user}@{DOMAIN}"))?)
}

/// Tells the director that something was seen.
pub fn seen(what: &str) {
    println!("SEEN {what}");
}

pub fn says(who: &str, what: &str) {
    println!("  {who:>14}  {}", what.replace('\n', "\n                  "));
}

/// Somebody at a device: a session whose events a callback hands over.
pub struct Person {
    pub name: String,
    pub session: Session,
    events: Receiver<EventBody>,
}

struct HandOver(Sender<EventBody>);

impl Listener for HandOver {
    fn on_events(&self, _session: SessionId, events: &[Event]) -> std::result::Result<(), ListenerError> {
        for event in events {
            // A person who left the stage hears nothing any more; the engine need not hear of it.
            let _ = self.0.send(event.body.clone());
        }
        Ok(())
    }
}

impl Person {
    /// Comes on stage with a callback.
    pub fn enters(engine: &Engine, user: &str, device: Option<&str>) -> Result<Person> {
        let (sender, events) = channel();
        let options = SessionOptions {
            device: device.map(DeviceName::new).transpose()?,
            reads_messages: true,
            consumer: Consumer::Listener(std::sync::Arc::new(HandOver(sender))),
            ..SessionOptions::default()
        };
        let session = engine.open_session(&account(user)?, options)?;
        let name = device.map_or_else(|| user.to_owned(), |device| format!("{user}/{device}"));
        Ok(Person { name, session, events })
    }

    /// Waits until the callback brought what is looked for; says what else came, as people would see it.
    pub fn hears<T>(&self, what: &str, look: impl Fn(&EventBody) -> Option<T>) -> Result<T> {
        let until = Instant::now() + Duration::from_secs(10);
        while let Ok(event) = self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.tells(&event);
            if let Some(found) = look(&event) {
                return Ok(found);
            }
        }
        Err(format!("{} waited 10 s for {what}", self.name).into())
    }

    fn tells(&self, event: &EventBody) {
        let text = match event {
            EventBody::Message(m) if m.copy => format!("(copy) to {}: {}", name(&m.recipient), text(m)),
            EventBody::Message(m) => format!("« {} » from {}", text(m), name(&m.sender)),
            EventBody::BuddyRequest { sender, .. } => format!("{} asks to be a buddy", name(sender)),
            EventBody::Presence { subject, presence } => {
                let note = presence.note.as_deref().map(|note| format!(", “{note}”")).unwrap_or_default();
                format!("sees {} {}{note}", name(subject), presence.state)
            }
            EventBody::Typing { sender, state: ChatState::Composing } => {
                format!("{} is typing …", name(sender))
            }
            _ => return,
        };
        says(&self.name, &text);
    }
}

pub fn text(message: &rosterkit::Message) -> &str {
    message.content.as_text().unwrap_or("(data)")
}

pub fn name(address: &Address) -> &str {
    address.user().unwrap_or(address.as_str())
}

pub fn expect(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}
