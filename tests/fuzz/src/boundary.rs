//! The bytes in which other languages hand over records and enums.

use rosterkit::{Actor, Overrides};
use rosterkit_ffi::{
    Activity, ChatState, EngineOptions, HistoryRequest, LogLevel, Notice, PreferenceOverrides,
    PresenceUpdate, RelayedMessage, SendOptions, SessionOptions, Settlement, SubmittedCommand, UniFfiTag,
};
use std::fmt::Debug;
use uniffi::{Lift, Lower, RustBuffer};

/// The first byte says what the rest is said to be. It is a value or an error; a value comes back when it is handed out, and
/// is one of the engine's or is refused. Says whether it was a value.
pub fn boundary(input: &[u8]) -> bool {
    let Some((what, bytes)) = input.split_first() else { return false };
    match what % 13 {
        0 => engine_options(bytes).map(rosterkit::EngineOptions::try_from).is_some(),
        1 => lift::<SessionOptions>(bytes).map(rosterkit::SessionOptions::try_from).is_some(),
        2 => submitted_command(bytes).map(<(Actor, rosterkit::Command)>::try_from).is_some(),
        3 => lift::<HistoryRequest>(bytes).map(rosterkit::HistoryRequest::try_from).is_some(),
        4 => lift::<PreferenceOverrides>(bytes).map(Overrides::try_from).is_some(),
        5 => lift::<PresenceUpdate>(bytes).map(rosterkit::SetPresence::try_from).is_some(),
        6 => lift::<SendOptions>(bytes).is_some(),
        7 => lift::<Activity>(bytes).is_some(),
        8 => lift::<ChatState>(bytes).is_some(),
        9 => lift::<LogLevel>(bytes).is_some(),
        10 => lift::<Settlement>(bytes).map(rosterkit::Settlement::try_from).is_some(),
        11 => lift::<Notice>(bytes).map(rosterkit::Notice::try_from).is_some(),
        _ => lift::<RelayedMessage>(bytes).map(rosterkit::RelayedMessage::try_from).is_some(),
    }
}

fn lift<T: Lift<UniFfiTag> + Lower<UniFfiTag> + Debug>(bytes: &[u8]) -> Option<T> {
    let value = T::try_lift_from_rust_buffer(RustBuffer::from_vec(bytes.to_vec())).ok()?;
    let shown = format!("{value:?}");
    let again = T::try_lift_from_rust_buffer(T::lower_into_rust_buffer(value));
    assert!(
        again.as_ref().is_ok_and(|again| format!("{again:?}") == shown),
        "{shown} came back as {again:?}"
    );
    again.ok()
}

// UniFFI 0.32.2 asks for the memory of a whole list before it reads the first of it: a count that lies ends the process, and
// nothing in the library stands before it. The counts are written by generated code in the same process. So lists whose
// elements are large have few here, and the rest of the bytes is arbitrary.

fn engine_options(bytes: &[u8]) -> Option<EngineOptions> {
    // It begins with the list of its domains.
    let mut bytes = bytes.to_vec();
    bytes.get_mut(..3)?.fill(0);
    lift(&bytes)
}

fn submitted_command(bytes: &[u8]) -> Option<SubmittedCommand> {
    let mut rest = bytes;
    <String as Lift<UniFfiTag>>::try_read(&mut rest).ok()?;
    <Option<i64> as Lift<UniFfiTag>>::try_read(&mut rest).ok()?;
    // The places of AddBuddy and UpdateBuddy, which carry groups, and of Claim, which carries positions.
    let has_list = matches!(rest.first_chunk().map(|number| i32::from_be_bytes(*number)), Some(13 | 15 | 35));
    if has_list { None } else { lift(bytes) }
}
