//! Two sides of a link, and what they may say, at random.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use rosterkit::{
    Address, Amends, Body, ChatState, Content, Contents, Domain, InvitationToken, MessageId, Notice, Op,
    Parcel, Presence, RelayedMessage, RosterSignal, Settlement, State, Timestamp,
};
use rosterkit_peer::{FileMark, Hello, Incoming, Protocol};

pub fn hello(domain: &str, generation: u64) -> Hello {
    Hello { domains: vec![Domain::new(domain).unwrap()], file: FileMark { generation, log_end: 100 } }
}

/// Everything that one has for the other, in pieces of these sizes.
pub fn carry(
    from: &mut Protocol,
    to: &mut Protocol,
    sizes: impl IntoIterator<Item = usize>,
) -> Vec<Incoming> {
    let mut incoming = Vec::new();
    for size in sizes {
        let bytes = from.take(size);
        if bytes.is_empty() {
            break;
        }
        to.feed(&bytes, &mut incoming).unwrap();
    }
    incoming
}

pub fn carry_all(from: &mut Protocol, to: &mut Protocol) -> Vec<Incoming> {
    carry(from, to, std::iter::repeat(64 * 1024))
}

/// Two sides that have said who they are.
pub fn joined() -> (Protocol, Protocol) {
    let mut here = Protocol::new(hello("here.example", 1));
    let mut there = Protocol::new(hello("there.example", 2));
    carry_all(&mut here, &mut there);
    carry_all(&mut there, &mut here);
    here.remember(Some(FileMark { generation: 2, log_end: 90 }));
    there.remember(None);
    carry_all(&mut here, &mut there);
    carry_all(&mut there, &mut here);
    (here, there)
}

pub fn address(text: &str) -> Address {
    Address::new(text).unwrap()
}

pub fn text(text: &str) -> Parcel {
    let message =
        RelayedMessage { delivery_id: Some(text.into()), ..RelayedMessage::new(Content::text(text)) };
    Parcel {
        sender: address("alice@here.example"),
        recipient: address("bob@there.example"),
        contents: Contents::Messages(vec![message]),
    }
}

pub fn any_account() -> impl Strategy<Value = Address> {
    "[a-z0-9äß]{1,12}@[a-z]{1,8}\\.example".prop_map(|text| address(&text))
}

fn any_address() -> impl Strategy<Value = Address> {
    (any_account(), of("[a-zA-Z0-9ü]{1,20}")).prop_map(|(account, instance)| match instance {
        Some(instance) => account.with_instance(&instance).unwrap(),
        None => account,
    })
}

fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        any::<String>().prop_map(|text| Body::Text(text.into())),
        ("[a-z]{1,9}/[a-z]{1,9}", vec(any::<u8>(), 0..300)).prop_map(|(media_type, bytes)| Body::Data {
            media_type: media_type.into(),
            bytes: bytes.into()
        }),
    ]
}

fn any_id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 16]>().prop_map(|bytes| MessageId(uuid::Uuid::from_bytes(bytes)))
}

fn any_message() -> impl Strategy<Value = RelayedMessage> {
    let ids = (of("[ -~]{1,256}"), of(any::<[u8; 16]>()), of("[a-zA-Z0-9]{1,20}"), of(any::<i64>()));
    let amends = proptest::option::of(
        any_id().prop_flat_map(|id| proptest::sample::select(vec![Amends::Edit(id), Amends::Retract(id)])),
    );
    let content = (any_body(), vec(any::<u8>(), 0..50), proptest::option::of(any_id()));
    (ids, content, amends, of(any::<i64>())).prop_map(
        |((delivery_id, id, instance, time), (body, extensions, reply_to), amends, expires)| RelayedMessage {
            delivery_id: delivery_id.map(Into::into),
            id: id.map(|bytes| MessageId(uuid::Uuid::from_bytes(bytes))),
            instance: instance.map(Into::into),
            time: time.map(Timestamp),
            content: Content { body, extensions: extensions.into(), reply_to },
            amends,
            expires: expires.map(Timestamp),
        },
    )
}

pub const OPS: [Op; 6] =
    [Op::Add, Op::Remove, Op::Subscribe, Op::Subscribed, Op::Unsubscribe, Op::Unsubscribed];
pub const CHAT_STATES: [ChatState; 5] =
    [ChatState::Composing, ChatState::Paused, ChatState::Active, ChatState::Inactive, ChatState::Gone];

fn any_signal() -> impl Strategy<Value = RosterSignal> {
    let op = proptest::sample::select(&OPS[..]);
    let token = proptest::option::of(any::<[u8; 16]>());
    (of("[ -~]{1,40}"), op, 0..=i64::MAX as u64, any::<String>(), token).prop_map(
        |(delivery_id, op, stamp, note, token)| RosterSignal {
            delivery_id: delivery_id.map(Into::into),
            op,
            stamp,
            note: note.into(),
            token: token.map(InvitationToken::from_random),
        },
    )
}

pub fn any_parcel() -> impl Strategy<Value = Parcel> {
    let contents = prop_oneof![
        3 => vec(any_message(), 1..6).prop_map(Contents::Messages),
        1 => any_signal().prop_map(Contents::Roster),
    ];
    (any_account(), any_account(), contents).prop_map(|(sender, recipient, contents)| Parcel {
        sender,
        recipient,
        contents,
    })
}

pub fn any_notice() -> impl Strategy<Value = Notice> {
    let state = proptest::sample::select(&State::ALL[..]);
    let chat_state = proptest::sample::select(&CHAT_STATES[..]);
    prop_oneof![
        (
            any_address(),
            any_address(),
            state,
            of("[^\\n]{0,200}"),
            of("[0-9a-f]{40}"),
            vec(any::<u8>(), 0..50)
        )
            .prop_map(|(subject, watcher, state, note, avatar, extensions)| {
                let presence = Presence {
                    state,
                    note: note.map(Into::into),
                    avatar: avatar.map(Into::into),
                    extensions: extensions.into(),
                };
                Notice::Presence { subject, watcher, presence }
            }),
        (any_address(), any_address()).prop_map(|(watcher, subject)| Notice::Probe { watcher, subject }),
        (any_address(), any_address(), chat_state).prop_map(|(sender, recipient, state)| Notice::Typing {
            sender,
            recipient,
            state
        }),
    ]
}

/// Answers that fit the parcel, by a number that decides.
pub fn answer_to(parcel: &Parcel, choice: u64) -> Option<Vec<Settlement>> {
    let mut rng = fastrand::Rng::with_seed(choice);
    let (items, is_roster) = match &parcel.contents {
        Contents::Messages(messages) => (messages.len(), false),
        Contents::Roster(_) => (1, true),
    };
    let one = |rng: &mut fastrand::Rng| match rng.u8(0..6) {
        0 => Settlement::Failed { reason: "there is no such account: größer".into() },
        1 if is_roster => Settlement::Superseded { stamp: rng.u64(0..=i64::MAX as u64) },
        2 => Settlement::Retry,
        _ => Settlement::Relayed,
    };
    (rng.u8(0..8) > 0).then(|| (0..items).map(|_| one(&mut rng)).collect())
}
