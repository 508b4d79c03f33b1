//! The decoder of the peer link.

use rosterkit_peer::{FileMark, Hello, Incoming, Protocol, ProtocolError};

/// The first byte says what the rest is: bytes of the pipe as they are, or payloads that are put into sound frames, which
/// chance would not find. Whatever comes is the same in every cut, and can be sent on. Says whether anything came.
pub fn peer_link(input: &[u8]) -> bool {
    let Some((mode, rest)) = input.split_first() else { return false };
    let bytes = if mode % 2 == 0 { rest.to_vec() } else { framed(rest) };
    let at_once = hear(&bytes, bytes.len().max(1));
    assert_eq!(hear(&bytes, usize::from(*mode) + 1), at_once);
    send_on(&at_once.0);
    !at_once.0.is_empty()
}

fn new() -> Protocol {
    Protocol::new(Hello { domains: Vec::new(), file: FileMark { generation: 1, log_end: 1 } })
}

/// Two that have said who they are. Both have sent two frames.
fn joined() -> [Protocol; 2] {
    let [mut one, mut other] = [new(), new()];
    for _ in ["Hello", "Seen"] {
        assert_eq!(other.feed(&one.take(usize::MAX), &mut Vec::new()), Ok(()));
        assert_eq!(one.feed(&other.take(usize::MAX), &mut Vec::new()), Ok(()));
        one.remember(None);
        other.remember(None);
    }
    [one, other]
}

/// `type u8 · length u16 · payload`, one behind the other, as the frames that follow Hello and Seen.
fn framed(mut input: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for sequence in 3u64.. {
        let Some(([kind, high, low], rest)) = input.split_first_chunk() else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        let begin = bytes.len();
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
        bytes.push(*kind);
        bytes.extend(payload);
        bytes.extend(crc32fast::hash(&bytes[begin..]).to_be_bytes());
        input = rest;
    }
    bytes
}

fn hear(bytes: &[u8], cut: usize) -> (Vec<Incoming>, Result<(), ProtocolError>) {
    let [mut listener, _] = joined();
    let mut incoming = Vec::new();
    let ended = bytes.chunks(cut).try_for_each(|piece| listener.feed(piece, &mut incoming));
    (incoming, ended)
}

/// What was taken from one side is taken by another.
fn send_on(came: &[Incoming]) {
    let [mut from, mut to] = joined();
    for incoming in came {
        let sent = match incoming {
            Incoming::Parcel { parcel, .. } => from.send(parcel).map(|_| ()),
            Incoming::Notice(notice) => from.notify(notice),
            _ => continue,
        };
        assert_eq!(sent, Ok(()));
        let mut arrived = Vec::new();
        assert_eq!(to.feed(&from.take(usize::MAX), &mut arrived), Ok(()));
        match (incoming, &arrived[..]) {
            (Incoming::Parcel { parcel: sent, .. }, [Incoming::Parcel { number, parcel }]) => {
                assert_eq!(sent, parcel);
                to.settle(*number, None);
                assert_eq!(from.feed(&to.take(usize::MAX), &mut Vec::new()), Ok(()));
            }
            (sent, arrived) => assert_eq!(std::slice::from_ref(sent), arrived),
        }
    }
}
