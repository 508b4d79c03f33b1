//! Which state wins over which, in a world.

use rosterkit::{Order, State};

/// The states from the winning one down. In every fourth world a host has set the opposite order.
pub fn states(seed: u64) -> [State; 10] {
    let mut states = [
        State::Busy,
        State::InMeeting,
        State::OnPhone,
        State::Chat,
        State::Online,
        State::BeBack,
        State::OutToLunch,
        State::Away,
        State::ExtendedAway,
        State::Offline,
    ];
    if is_another(seed) {
        states[..9].reverse();
    }
    states
}

/// Whether that is another than the engine's own.
pub const fn is_another(seed: u64) -> bool {
    seed % 4 == 1
}

/// The same, for an engine.
pub fn order(seed: u64) -> Result<Order, String> {
    if is_another(seed) {
        return Order::new(states(seed)).map_err(|error| error.to_string());
    }
    Ok(Order::default())
}
