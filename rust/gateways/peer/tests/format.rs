//! The format on the wire, told apart from the code that writes it: what `docs/peer-link.md` says, by hand.
#![allow(clippy::unwrap_used)]

mod world;

use minicbor::Encoder;
use proptest::collection::vec;
use proptest::prelude::*;
use rosterkit::{
    Amends, Body, ChatState, Content, Contents, Domain, InvitationToken, MessageId, Notice, Op, Parcel,
    Presence, RelayedMessage, RosterSignal, Settlement, State, Timestamp,
};
use rosterkit_peer::{FileMark, Hello, Incoming, Protocol, ProtocolError};
use world::{address, carry_all, hello, joined, text};

fn frame(sequence: u64, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend(sequence.to_be_bytes());
    frame.push(kind);
    frame.extend(payload);
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame
}

fn cbor(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes));
    bytes
}

/// What a payload does to a side that has heard Hello and Seen.
fn said(kind: u8, payload: &[u8]) -> Result<Vec<Incoming>, ProtocolError> {
    let (_, mut listener) = joined();
    let mut incoming = Vec::new();
    listener.feed(&frame(3, kind, payload), &mut incoming).map(|()| incoming)
}

/// At least one frame of each kind; of those that carry what not every one does, one with it and one without.
fn each_kind() -> Vec<Vec<u8>> {
    let mut here = Protocol::new(hello("here.example", 1));
    let mut frames = vec![here.take(usize::MAX)];
    carry_all(&mut Protocol::new(hello("there.example", 2)), &mut here);
    here.remember(Some(FileMark { generation: 2, log_end: 90 }));
    frames.push(here.take(usize::MAX));

    let parcel = |contents| Parcel { contents, ..text("m") };
    let message = |delivery_id: &str, body| RelayedMessage {
        delivery_id: Some(delivery_id.into()),
        id: Some(MessageId::new(1_700_000_000_000, [7; 10])),
        instance: Some("phone".into()),
        time: Some(Timestamp(1_700_000_000_000)),
        ..RelayedMessage::new(Content { body, ..Content::text("") })
    };
    let image = Body::Data { media_type: "image/png".into(), bytes: [0x89, b'P'][..].into() };
    let bare = RelayedMessage {
        time: Some(Timestamp(-1)),
        ..RelayedMessage::new(Content { extensions: [1, 2, 3][..].into(), ..Content::text("grüße") })
    };
    let earlier = MessageId::new(1_700_000_000_000, [8; 10]);
    let edit = RelayedMessage {
        amends: Some(Amends::Edit(earlier)),
        expires: Some(Timestamp(1_700_000_060_000)),
        ..RelayedMessage::new(Content { reply_to: Some(earlier), ..Content::text("Hello!") })
    };
    let retract =
        RelayedMessage { amends: Some(Amends::Retract(earlier)), ..RelayedMessage::new(Content::text("")) };
    let messages = vec![message("d1", Body::Text("hello".into())), message("d2", image), bare, edit, retract];
    let signal = RosterSignal {
        delivery_id: Some("d3".into()),
        op: Op::Add,
        stamp: 12,
        note: "It is me".into(),
        token: None,
    };
    let invited = RosterSignal { token: Some(InvitationToken::from_random([7; 16])), ..signal.clone() };
    here.send(&parcel(Contents::Messages(messages))).unwrap();
    frames.push(here.take(usize::MAX));
    for signal in [signal, invited] {
        here.send(&parcel(Contents::Roster(signal))).unwrap();
        frames.push(here.take(usize::MAX));
    }

    let (alice, bob) = (address("alice@here.example/phone"), address("bob@there.example"));
    let presence = Presence {
        note: Some("Back at 2".into()),
        avatar: Some("a9993e364706816aba3e25717850c26c9cd0d89d".into()),
        extensions: [1, 2][..].into(),
        ..Presence::plain(State::OutToLunch)
    };
    for notice in [
        Notice::Presence { subject: alice.bare(), watcher: bob.clone(), presence },
        Notice::Presence {
            subject: alice.bare(),
            watcher: bob.clone(),
            presence: Presence::plain(State::Away),
        },
        Notice::Probe { watcher: alice.bare(), subject: bob.clone() },
        Notice::Typing { sender: alice, recipient: bob, state: ChatState::Composing },
    ] {
        here.notify(&notice).unwrap();
        frames.push(here.take(usize::MAX));
    }
    here.goodbye("closing for the night");
    frames.push(here.take(usize::MAX));
    frames.push(settle_frame());
    frames.sort_by_key(|frame| frame[12]);
    frames
}

/// The only one that needs another side.
fn settle_frame() -> Vec<u8> {
    let (mut here, mut there) = joined();
    let Contents::Messages(one) = text("m").contents else { panic!() };
    here.send(&Parcel { contents: Contents::Messages(vec![one[0].clone(); 3]), ..text("m") }).unwrap();
    let signal =
        RosterSignal { delivery_id: None, op: Op::Subscribe, stamp: 12, note: "".into(), token: None };
    here.send(&Parcel { contents: Contents::Roster(signal), ..text("m") }).unwrap();
    here.send(&text("m")).unwrap();
    here.send(&text("m")).unwrap();
    carry_all(&mut here, &mut there);
    let failed = Settlement::Failed { reason: "there is no such account".into() };
    there.settle(1, Some(vec![Settlement::Relayed, failed, Settlement::Retry]));
    there.settle(2, Some(vec![Settlement::Superseded { stamp: 13 }]));
    there.settle(3, None);
    there.settle(4, Some(vec![Settlement::Relayed]));
    there.take(usize::MAX)
}

const NAMES: [&str; 9] =
    ["", "Hello", "Seen", "Goodbye", "Messages", "Roster", "Settle", "Presence", "Probe"];

#[test]
fn the_bytes_are_those_that_were_agreed() {
    let frames = each_kind();
    let mut kinds: Vec<u8> = frames.iter().map(|frame| frame[12]).collect();
    kinds.dedup();
    assert_eq!(kinds, (1..=9).collect::<Vec<u8>>());
    let mut found = String::new();
    for frame in frames {
        let name = NAMES.get(frame[12] as usize).unwrap_or(&"Typing");
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        found += &format!("{name} {hex}\n");
    }
    let agreed = include_str!("golden/frames.txt");
    assert!(found == agreed, "the format has changed. It is now:\n{found}");
}

#[test]
fn a_hello_is_as_it_is_written_down() {
    let payload = cbor(|to| {
        to.map(7).unwrap().u8(0).unwrap().str("rosterkit-peer").unwrap();
        to.u8(1).unwrap().u16(1).unwrap().u8(2).unwrap().u16(1).unwrap();
        to.u8(3).unwrap().array(1).unwrap().str("here.example").unwrap();
        to.u8(4).unwrap().map(2).unwrap().u8(0).unwrap().u64(1).unwrap().u8(1).unwrap().u64(100).unwrap();
        to.u8(5).unwrap().u32(256).unwrap().u8(6).unwrap().u64(4 << 20).unwrap();
    });
    let ours = Protocol::new(hello("here.example", 1)).take(usize::MAX);
    assert_eq!(ours, frame(1, 1, &payload));
}

#[test]
fn a_message_written_by_hand_is_read() {
    let payload = cbor(|to| {
        to.map(3).unwrap().u8(0).unwrap().str("Alice@Here.example").unwrap();
        to.u8(1).unwrap().str("bob@there.example").unwrap();
        to.u8(2).unwrap().array(1).unwrap().map(2).unwrap();
        to.u8(0).unwrap().str("m").unwrap().u8(4).unwrap().str("m").unwrap();
    });
    assert_eq!(said(4, &payload), Ok(vec![Incoming::Parcel { number: 1, parcel: text("m") }]));
}

#[test]
fn what_a_later_version_adds_is_skipped() {
    let unknown = |to: &mut Encoder<&mut Vec<u8>>| {
        to.u8(77).unwrap().array(2).unwrap().map(1).unwrap().str("x").unwrap().bytes(&[1, 2]).unwrap();
        to.tag(minicbor::data::Tag::new(1)).unwrap().f64(0.5).unwrap();
    };
    let payload = cbor(|to| {
        to.map(4).unwrap();
        unknown(to);
        to.u8(0).unwrap().str("alice@here.example").unwrap().u8(1).unwrap().str("bob@there.example").unwrap();
        to.u8(2).unwrap().array(1).unwrap().map(3).unwrap().u8(0).unwrap().str("m").unwrap();
        unknown(to);
        to.u8(4).unwrap().str("m").unwrap();
    });
    assert_eq!(said(4, &payload), Ok(vec![Incoming::Parcel { number: 1, parcel: text("m") }]));

    // And frames of types from 128.
    let (_, mut listener) = joined();
    let mut incoming = Vec::new();
    let bytes = [frame(3, 200, b"not even CBOR"), frame(4, 4, &payload)].concat();
    listener.feed(&bytes, &mut incoming).unwrap();
    assert_eq!(incoming, [Incoming::Parcel { number: 1, parcel: text("m") }]);
    assert_eq!(said(10, &payload), Err(ProtocolError::UnknownFrame { kind: 10 }));
    assert_eq!(said(0, &payload), Err(ProtocolError::UnknownFrame { kind: 0 }));
}

#[test]
fn what_breaks_the_format_ends_the_connection_with_its_reason() {
    let messages = |sender: &str, items: u64, body: &dyn Fn(&mut Encoder<&mut Vec<u8>>)| {
        cbor(|to| {
            to.map(3).unwrap().u8(0).unwrap().str(sender).unwrap();
            to.u8(1).unwrap().str("bob@there.example").unwrap().u8(2).unwrap().array(items).unwrap();
            (0..items).for_each(|_| body(to));
        })
    };
    let text = |to: &mut Encoder<&mut Vec<u8>>| {
        to.map(1).unwrap().u8(4).unwrap().str("m").unwrap();
    };
    let presence = |state: &str, note: &str| {
        cbor(|to| {
            to.map(4).unwrap().u8(0).unwrap().str("a@b").unwrap().u8(1).unwrap().str("c@d").unwrap();
            to.u8(2).unwrap().str(state).unwrap().u8(3).unwrap().str(note).unwrap();
        })
    };
    let deep = [vec![0x81; 9], vec![0]].concat();
    let indefinite = vec![0xbf, 0xff];
    let behind = [messages("alice@here.example", 1, &text), vec![0]].concat();
    let broken = [
        (4, messages("here.example", 1, &text)),
        (4, messages("alice@here.example/phone", 1, &text)),
        (4, messages("a b@here.example", 1, &text)),
        (4, messages("alice@here.example", 0, &text)),
        (4, messages("alice@here.example", 257, &text)),
        (4, messages("alice@here.example", 1, &|to| drop(to.map(0)))),
        (
            4,
            messages("alice@here.example", 1, &|to| {
                to.map(2).unwrap().u8(4).unwrap().str("m").unwrap().u8(6).unwrap().bytes(b"m").unwrap();
            }),
        ),
        (
            4,
            messages("alice@here.example", 1, &|to| {
                to.map(2).unwrap().u8(4).unwrap().str("m").unwrap().u8(1).unwrap().bytes(&[0; 15]).unwrap();
            }),
        ),
        (
            4,
            messages("alice@here.example", 1, &|to| {
                to.map(2).unwrap().u8(4).unwrap().str("m").unwrap().u8(2).unwrap().str("\u{0}").unwrap();
            }),
        ),
        (7, presence("asleep", "")),
        (7, presence("online", &"x".repeat(1_025))),
        (6, cbor(|to| drop(to.map(2).unwrap().u8(0).unwrap().u8(1).unwrap().u8(1).unwrap().array(0)))),
        (8, deep),
        (8, indefinite),
        (4, behind),
        (8, vec![]),
        (8, vec![0xa1, 0x00, 0x62, 0xff, 0xff]),
    ];
    for (kind, payload) in broken {
        let ended = said(kind, &payload);
        assert!(matches!(ended, Err(ProtocolError::Malformed { .. })), "{kind} {payload:x?}: {ended:?}");
    }
    for kind in [1, 2] {
        assert!(matches!(said(kind, &[]), Err(ProtocolError::OutOfTurn { .. })));
    }
    let too_long = [&[0, 0x10, 0, 1][..], &[0; 30]].concat();
    let (mut listener, mut other) = joined();
    assert_eq!(
        listener.feed(&too_long, &mut Vec::new()),
        Err(ProtocolError::FrameTooLong { length: 0x10_0001 })
    );
    let told = carry_all(&mut listener, &mut other);
    assert!(matches!(&told[..], [Incoming::Goodbye { reason }] if reason.contains("1048577")), "{told:?}");
}

#[test]
fn who_sends_beyond_the_window_is_stopped() {
    let (mut here, mut there) = joined();
    let payload = one_message();
    for sequence in 3..3 + 256 {
        there.feed(&frame(sequence, 4, &payload), &mut Vec::new()).unwrap();
        // Answered, and not yet told: it counts until it leaves.
        there.settle(sequence - 2, None);
    }
    let ended = there.feed(&frame(259, 4, &payload), &mut Vec::new());
    assert_eq!(ended, Err(ProtocolError::WindowExceeded));
    // An answer to what was never sent.
    let settle = cbor(|to| drop(to.map(2).unwrap().u8(0).unwrap().u8(1).unwrap().u8(1).unwrap().array(0)));
    here.send(&text("waits for the pipe")).unwrap();
    let ended = here.feed(&frame(3, 6, &settle), &mut Vec::new());
    assert!(matches!(ended, Err(ProtocolError::Malformed { frame: "Settle", .. })), "{ended:?}");
}

fn one_message() -> Vec<u8> {
    let (mut here, _) = joined();
    here.send(&text("m")).unwrap();
    let frame = here.take(usize::MAX);
    frame[13..frame.len() - 4].to_vec()
}

#[test]
fn a_hello_of_many_domains_is_cut_to_a_frame() {
    let domains: Vec<Domain> = (0..1_001).map(|n| Domain::new(&format!("{n}.example")).unwrap()).collect();
    let file = FileMark { generation: 1, log_end: 1 };
    let mut here = Protocol::new(Hello { domains: domains.clone(), file });
    let incoming = carry_all(&mut here, &mut Protocol::new(hello("there.example", 2)));
    let [Incoming::Hello(hello)] = &incoming[..] else { panic!("{incoming:?}") };
    assert_eq!(hello.domains, domains[..1_000]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_096) })]

    #[test]
    fn any_bytes_in_any_cut_are_a_value_or_an_error(bytes in vec(any::<u8>(), 0..400), cut in 1usize..50) {
        let (_, mut listener) = joined();
        let _ = bytes.chunks(cut).try_for_each(|piece| listener.feed(piece, &mut Vec::new()));
    }

    #[test]
    fn any_payload_in_a_sound_frame_is_a_value_or_an_error(kind in 1u8..=9, payload in vec(any::<u8>(), 0..200)) {
        let _ = said(kind, &payload);
    }

    #[test]
    fn a_changed_payload_in_a_sound_frame_is_a_value_or_an_error(which in 0usize..9, at: usize, byte: u8) {
        let golden = include_str!("golden/frames.txt").lines().nth(which).and_then(|line| line.split(' ').next_back());
        let hex = golden.unwrap_or_default().as_bytes();
        let digit = |digit: &u8| (*digit as char).to_digit(16).unwrap_or(0) as u8;
        let bytes: Vec<u8> = hex.chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect();
        let mut payload = bytes[13..bytes.len() - 4].to_vec();
        let at = at % payload.len();
        payload[at] = byte;
        let _ = said(bytes[12], &payload);
        let mut fresh = Protocol::new(hello("there.example", 2));
        let _ = fresh.feed(&frame(1, 1, &payload), &mut Vec::new());
    }
}
