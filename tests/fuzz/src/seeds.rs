//! What the fuzzer of the boundary begins with: values, as the generated code of another language hands them over. A record
//! that gains a field changes these too, so the files beside the fuzzer are compared with them.

use rosterkit_ffi::{
    AcceptedSenders, Activity, ChatState, Command, EngineOptions, HistoryRequest, LogLevel, MessageBody,
    Notice, PreferenceOverrides, PresenceLayer, PresenceState, PresenceUpdate, RelayedMessage, SendOptions,
    SessionOptions, Settlement, SubmittedCommand, UniFfiTag,
};
use uniffi::Lower;

/// The name of each and its bytes, with the byte before them that says what they are.
pub fn boundary_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let alice = || "alice@example.org".to_owned();
    let bob = || "bob@example.org".to_owned();
    let command = |command| seed(2, SubmittedCommand { account: alice(), session_id: Some(7), command });
    let options = || SendOptions {
        client_id: Some("c1".into()),
        extensions: Some(b"ab".to_vec()),
        reply_to: Some("018f3b6e-0000-7000-8000-000000000000".into()),
        expires_ms: Some(1_700_000_000_000),
    };
    let preferences = || PreferenceOverrides {
        accepted_senders: Some(AcceptedSenders::Authenticated),
        offline_storage: Some(true),
        max_roster_items: Some(100),
        storage_bytes: Some(1_000),
        ..PreferenceOverrides::default()
    };
    let presence = || PresenceUpdate {
        state: PresenceState::Away,
        note: Some("Back at 2".into()),
        priority: -5,
        until_ms: Some(1_700_000_000_000),
        invisible: false,
        layer: Some(PresenceLayer::Automatic),
        extensions: Some(vec![1, 2]),
    };
    let request = || HistoryRequest {
        peer: Some(bob()),
        beside_position: Some(5),
        at_time_ms: None,
        newer: true,
        limit: 50,
    };
    vec![
        (
            "engine_options",
            seed(
                0,
                EngineOptions {
                    domains: vec!["example.org".into()],
                    shards: Some(2),
                    idle_accounts: None,
                    relaxed: false,
                    preferences: Some(preferences()),
                    limits: None,
                    presence_order: None,
                    max_in_flight: Some(100),
                    max_in_flight_bytes: Some(1_048_576),
                    max_listeners: None,
                },
            ),
        ),
        (
            "session_options",
            seed(
                1,
                SessionOptions {
                    device: Some("phone".into()),
                    instance: None,
                    lease_ms: Some(60_000),
                    reads_messages: true,
                    read_through_engine: true,
                    observes: true,
                },
            ),
        ),
        (
            "send_text",
            command(Command::SendText { recipient: bob(), text: "hello".into(), options: options() }),
        ),
        (
            "send_data",
            command(Command::SendData {
                recipient: bob(),
                media_type: "image/png".into(),
                bytes: b"abc".to_vec(),
                options: options(),
            }),
        ),
        ("typing", command(Command::TellTyping { recipient: bob(), state: ChatState::Composing })),
        ("set_presence", command(Command::SetPresence { presence: presence() })),
        ("read_history", command(Command::ReadHistory { request: request() })),
        ("set_preferences", command(Command::SetPreferences { overrides: preferences() })),
        ("write_file", command(Command::WriteFile { path: "profile.vcf".into(), bytes: b"BEGIN".to_vec() })),
        ("set_rules", command(Command::SetRules { json: "[]".into() })),
        ("history_request", seed(3, request())),
        ("preferences", seed(4, preferences())),
        ("presence_update", seed(5, presence())),
        ("send_options", seed(6, options())),
        ("activity", seed(7, Activity::Background)),
        ("chat_state", seed(8, ChatState::Paused)),
        ("log_level", seed(9, LogLevel::Info)),
        ("settlement", seed(10, Settlement::Failed { reason: "nobody is there".into() })),
        ("notice", seed(11, Notice::PresenceAsked { watcher: bob(), subject: alice() })),
        (
            "relayed_message",
            seed(
                12,
                RelayedMessage {
                    delivery_id: Some("d1".into()),
                    message_id: Some("018f3b6e-0000-7000-8000-000000000000".into()),
                    instance: None,
                    time_ms: Some(5),
                    body: MessageBody::Text { text: "hello".into() },
                    extensions: None,
                    reply_to: None,
                    edits: None,
                    retracts: None,
                    expires_ms: Some(9),
                },
            ),
        ),
    ]
}

fn seed<T: Lower<UniFfiTag>>(what: u8, value: T) -> Vec<u8> {
    let mut bytes = vec![what];
    bytes.extend(T::lower_into_rust_buffer(value).destroy_into_vec());
    bytes
}
