//! Two sides that talk: everything arrives, in order, and nothing starves or swells.
#![allow(clippy::unwrap_used)]

mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use rosterkit::{Contents, Notice, Op, Parcel, RosterSignal, Settlement};
use rosterkit_peer::{FileMark, Incoming, Protocol, ProtocolError, Unsendable, WINDOW, WINDOW_BYTES};
use world::{address, answer_to, any_notice, any_parcel, carry, carry_all, hello, joined, text};

fn probe(number: usize) -> Notice {
    Notice::Probe {
        watcher: address(&format!("w{number}@here.example")),
        subject: address("bob@there.example"),
    }
}

fn messages(parcel: &Parcel) -> usize {
    match &parcel.contents {
        Contents::Messages(messages) => messages.len(),
        Contents::Roster(_) => 1,
    }
}

#[test]
fn each_says_who_it_is_and_what_it_remembers() {
    let (mut here, mut there) =
        (Protocol::new(hello("here.example", 1)), Protocol::new(hello("there.example", 2)));
    assert!(!here.may_send() && !here.may_notify());
    let incoming = carry_all(&mut here, &mut there);
    let [Incoming::Hello(theirs)] = &incoming[..] else { panic!("{incoming:?}") };
    assert_eq!((theirs.version, theirs.file), (1, FileMark { generation: 1, log_end: 100 }));
    assert_eq!(theirs.domains, hello("here.example", 1).domains);
    assert!(!there.may_send(), "nothing leaves before what is remembered");
    there.remember(Some(theirs.file));
    assert!(there.may_send() && there.may_notify());
    let incoming = carry_all(&mut there, &mut here);
    assert!(
        matches!(&incoming[..], [Incoming::Hello(_), Incoming::Seen(Some(seen))] if *seen == theirs.file)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn everything_arrives_in_order_and_is_answered_in_any(
        parcels in vec(any_parcel(), 0..12),
        notices in vec(any_notice(), 0..12),
        sizes in vec(1usize..400, 1..20),
        choices in vec(any::<u64>(), 12),
    ) {
        let (mut here, mut there) = joined();
        for (number, parcel) in (1..).zip(&parcels) {
            prop_assert_eq!(here.send(parcel), Ok(number));
        }
        for notice in &notices {
            prop_assert_eq!(here.notify(notice), Ok(()));
        }
        let incoming = carry(&mut here, &mut there, sizes.iter().copied().cycle());
        let mut came = (Vec::new(), Vec::new());
        for incoming in incoming {
            match incoming {
                Incoming::Parcel { number, parcel } => came.0.push((number, parcel)),
                Incoming::Notice(notice) => came.1.push(notice),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(&came.1, &notices);
        prop_assert_eq!(came.0, (1..).zip(parcels.clone()).collect::<Vec<_>>());

        let mut order: Vec<usize> = (0..parcels.len()).collect();
        fastrand::Rng::with_seed(choices[0]).shuffle(&mut order);
        let mut settled = Vec::new();
        for index in order {
            there.settle(index as u64 + 1, answer_to(&parcels[index], choices[index]));
            settled.extend(carry(&mut there, &mut here, sizes.iter().copied().cycle()));
        }
        let expected = parcels.iter().zip(&choices).zip(1..).map(|((parcel, choice), number)| {
            Incoming::Settled { number, answer: answer_to(parcel, *choice) }
        });
        prop_assert_eq!(settled, expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_window_is_kept_and_opens_with_the_answers() {
    let (mut here, mut there) = joined();
    let mut sent = 0;
    while here.may_send() {
        sent = here.send(&text("m")).unwrap();
    }
    assert_eq!(sent, WINDOW as u64);
    assert_eq!(here.send(&text("one more")), Err(Unsendable::NoRoom));
    assert_eq!(carry_all(&mut here, &mut there).len(), WINDOW);
    for number in (2..=sent).rev() {
        there.settle(number, Some(vec![Settlement::Relayed]));
    }
    assert!(there.take(1 << 20).is_empty(), "the first is not answered");
    there.settle(1, None);
    let frame = there.take(1 << 20);
    assert!(frame.len() < 40, "one frame answers all: {frame:?}");
    let mut incoming = Vec::new();
    here.feed(&frame, &mut incoming).unwrap();
    assert_eq!(incoming.len(), WINDOW);
    assert_eq!(incoming[0], Incoming::Settled { number: 1, answer: None });
    assert_eq!(here.send(&text("again")), Ok(sent + 1));
}

#[test]
fn a_window_is_of_bytes_too() {
    let (mut here, mut there) = joined();
    let large = text(&"x".repeat(200)); // its delivery id is as long as it may be
    let Contents::Messages(mut messages) = large.contents.clone() else { panic!() };
    messages[0].content = rosterkit::Content::text(&"x".repeat(200_000));
    let large = Parcel { contents: Contents::Messages(messages), ..large };
    let mut bytes = 0;
    loop {
        while here.may_send() {
            here.send(&large).unwrap();
        }
        let taken = here.take(usize::MAX);
        if taken.is_empty() {
            break;
        }
        bytes += taken.len();
        there.feed(&taken, &mut Vec::new()).unwrap();
    }
    assert!((WINDOW_BYTES..WINDOW_BYTES + 201_000).contains(&bytes), "{bytes}");
}

#[test]
fn answers_that_fill_more_than_a_frame_take_several() {
    let (mut here, mut there) = joined();
    let Contents::Messages(one) = text("m").contents else { panic!() };
    let parcel = Parcel { contents: Contents::Messages(vec![one[0].clone(); 256]), ..text("m") };
    for _ in 0..8 {
        here.send(&parcel).unwrap();
    }
    carry_all(&mut here, &mut there);
    let reason = "ü".repeat(2_000);
    for number in 1..=8 {
        there.settle(number, Some(vec![Settlement::Failed { reason: reason.as_str().into() }; 256]));
    }
    let settled = carry_all(&mut there, &mut here);
    assert_eq!(settled.len(), 8);
    for incoming in settled {
        let Incoming::Settled { answer: Some(all), .. } = incoming else { panic!("{incoming:?}") };
        let shortened = Settlement::Failed { reason: "ü".repeat(512).into() };
        assert!(all.len() == 256 && all.iter().all(|one| *one == shortened));
    }
}

#[test]
fn lanes_take_turns() {
    let (mut here, mut there) = joined();
    for number in 0..100 {
        here.notify(&probe(number)).unwrap();
        here.send(&text("m")).unwrap();
    }
    let incoming = carry_all(&mut here, &mut there);
    for pair in incoming.chunks(2) {
        assert!(matches!(
            pair,
            [Incoming::Parcel { .. }, Incoming::Notice(_)] | [Incoming::Notice(_), Incoming::Parcel { .. }]
        ));
    }
    // Answers pass between notices, however many wait.
    while there.may_notify() {
        there.notify(&probe(0)).unwrap();
    }
    there.settle(1, None);
    let incoming = carry(&mut there, &mut here, [300]);
    assert!(incoming.iter().any(|incoming| matches!(incoming, Incoming::Settled { .. })), "{incoming:?}");
}

#[test]
fn the_presence_lane_is_bounded_and_empties() {
    let (mut here, _) = joined();
    let mut queued = 0;
    while here.may_notify() {
        here.notify(&probe(queued)).unwrap();
        queued += 1;
    }
    assert_eq!(here.notify(&probe(0)), Err(Unsendable::NoRoom));
    assert!((256 << 10..300 << 10).contains(&(queued * 40)), "{queued}");
    assert!(!here.take(1 << 10).is_empty());
    assert!(here.may_notify());
}

#[test]
fn what_the_other_side_would_not_take_is_not_sent() {
    let (mut here, mut there) = joined();
    let with = |contents| Parcel { contents, ..text("m") };
    let signal = RosterSignal { delivery_id: None, op: Op::Add, stamp: 1, note: "".into(), token: None };
    let Contents::Messages(one) = text("m").contents else { panic!() };
    let message = one[0].clone();
    let unsendable = [
        Parcel { sender: address("alice@here.example/phone"), ..text("m") },
        Parcel { recipient: address("there.example"), ..text("m") },
        with(Contents::Messages(vec![])),
        with(Contents::Messages(vec![message; 257])),
        with(Contents::Roster(RosterSignal { op: Op::Update, ..signal.clone() })),
        with(Contents::Roster(RosterSignal { stamp: u64::MAX, ..signal.clone() })),
        with(Contents::Roster(RosterSignal { delivery_id: Some("".into()), ..signal })),
        text(&"x".repeat(257)),
    ];
    for parcel in unsendable {
        assert!(matches!(here.send(&parcel), Err(Unsendable::Malformed(_))), "{parcel:?}");
    }
    let mut large = one;
    large[0].content = rosterkit::Content::text(&"x".repeat(1 << 20));
    assert!(matches!(here.send(&with(Contents::Messages(large))), Err(Unsendable::TooLarge { .. })));
    assert_eq!(here.send(&text("m")), Ok(1));
    assert_eq!(carry_all(&mut here, &mut there).len(), 1);
}

#[test]
fn an_answer_that_does_not_fit_is_none() {
    let (mut here, mut there) = joined();
    let answers = [
        (vec![], None),
        (vec![Settlement::Relayed; 2], None),
        (vec![Settlement::Superseded { stamp: 3 }], None),
        (vec![Settlement::Retry], Some(vec![Settlement::Retry])),
    ];
    for (number, (given, told)) in (1..).zip(answers) {
        let parcel = text("m");
        assert_eq!(messages(&parcel), 1);
        here.send(&parcel).unwrap();
        carry_all(&mut here, &mut there);
        there.settle(number, Some(given));
        there.settle(number, Some(vec![Settlement::Relayed])); // too late
        there.settle(number + 1, None); // not there yet
        assert_eq!(carry_all(&mut there, &mut here), [Incoming::Settled { number, answer: told }]);
    }
}

#[test]
fn a_goodbye_lets_answers_leave_and_is_the_last() {
    let (mut here, mut there) = joined();
    here.send(&text("m")).unwrap();
    carry_all(&mut here, &mut there);
    there.send(&text("never leaves")).unwrap();
    there.settle(1, Some(vec![Settlement::Relayed]));
    there.goodbye(&"ä".repeat(1_000));
    assert_eq!(there.send(&text("m")), Err(Unsendable::NoRoom));
    let incoming = carry_all(&mut there, &mut here);
    let reason = "ä".repeat(512).into();
    let answer = Some(vec![Settlement::Relayed]);
    assert_eq!(incoming, [Incoming::Settled { number: 1, answer }, Incoming::Goodbye { reason }]);
    assert!(!here.may_send() && !here.may_notify());
    let mut incoming = Vec::new();
    assert_eq!(here.feed(b"whatever follows", &mut incoming), Ok(()));
    assert!(incoming.is_empty());
    // Nothing follows a goodbye, not even an answer.
    let (mut here, mut there) = joined();
    here.send(&text("m")).unwrap();
    carry_all(&mut here, &mut there);
    there.goodbye("");
    carry_all(&mut there, &mut here);
    there.settle(1, None);
    assert!(there.take(1 << 20).is_empty());
}

#[test]
fn what_is_no_peer_link_is_noticed_at_once() {
    for other in ["GET / HTTP/1.1\r\n", "SSH-2.0-x", "<?xml version='1.0'?>"] {
        let error = Protocol::new(hello("here.example", 1)).feed(other.as_bytes(), &mut Vec::new());
        assert!(matches!(error, Err(ProtocolError::FrameTooLong { .. })));
    }
}
