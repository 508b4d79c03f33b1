//! Commands as values: `submit` takes them in batches, and their answers come by ticket.

use crate::conversation::{ConversationsPage, SearchPage, amend, page, search};
use crate::convert::{account, address, count, number, position, session, signed};
use crate::error::RosterKitError;
use crate::event::MessageBody;
use crate::files::FileInfo;
use crate::host::Registration;
use crate::options::{PreferenceOverrides, Preferences};
use crate::roster::{LastSeen, Presence, PresenceLayer, PresenceUpdate, Roster, Visibility};
use crate::session::{
    Activity, ChatState, HistoryPage, HistoryRequest, Receipt, SendOptions, edit, invitation, message,
};
use rosterkit::{Actor, Body, Op, RosterEdit, Timestamp};

type Result<T> = std::result::Result<T, RosterKitError>;

/// A command and whom it is for.
#[derive(Clone, Debug, uniffi::Record)]
pub struct SubmittedCommand {
    /// The account.
    pub account: String,
    /// The session of it that speaks, when one does.
    #[uniffi(default)]
    pub session_id: Option<i64>,
    /// What to do.
    pub command: Command,
}

/// Something to do for an account. Each is what the function of the same name does.
#[derive(Clone, Debug, uniffi::Enum)]
pub enum Command {
    /// Answered by `Done`.
    CreateAccount,
    /// Answered by `Done`.
    DeleteAccount,
    /// Answered by `Sent`.
    SendText {
        /// Whom to.
        recipient: String,
        /// What.
        text: String,
        /// How.
        options: SendOptions,
    },
    /// Answered by `Sent`.
    SendData {
        /// Whom to.
        recipient: String,
        /// For instance `image/png`.
        media_type: String,
        /// What.
        bytes: Vec<u8>,
        /// How.
        options: SendOptions,
    },
    /// Answered by `Sent`.
    EditMessage {
        /// Whom it was sent to.
        recipient: String,
        /// Which.
        message_id: String,
        /// What it says from then on.
        text: String,
        /// A name of the client's own, as with a send.
        client_id: Option<String>,
    },
    /// Answered by `Sent`.
    RetractMessage {
        /// Whom it was sent to.
        recipient: String,
        /// Which.
        message_id: String,
        /// A name of the client's own, as with a send.
        client_id: Option<String>,
    },
    /// Answered by `Done`.
    MarkRead {
        /// Who sent it.
        peer: String,
        /// The position of the latest that was read.
        upto: i64,
    },
    /// Answered by `ConversationsRead`.
    ReadConversations {
        /// Behind this one.
        before: Option<i64>,
        /// How many.
        limit: i32,
    },
    /// Answered by `Done`.
    TellTyping {
        /// Whom.
        recipient: String,
        /// What.
        state: ChatState,
    },
    /// Answered by `Done`. For a session.
    SetPresence {
        /// What to show.
        presence: PresenceUpdate,
    },
    /// Answered by `Done`. For a session.
    GoOffline,
    /// Answered by `Done`. For a session.
    SetActivity {
        /// What the person does.
        activity: Activity,
    },
    /// Asks or confirms. Answered by `Done`.
    AddBuddy {
        /// Whom.
        peer: String,
        /// Their display name; left out it stays.
        name: Option<String>,
        /// Their groups; left out they stay.
        groups: Option<Vec<String>>,
        /// What to say with it.
        note: String,
    },
    /// Removes or declines. Answered by `Done`.
    RemoveBuddy {
        /// Whom.
        peer: String,
    },
    /// Answered by `Done`.
    UpdateBuddy {
        /// Whom.
        peer: String,
        /// Their display name; left out it stays.
        name: Option<String>,
        /// Their groups; left out they stay.
        groups: Option<Vec<String>>,
    },
    /// Answered by `RosterRead`.
    ReadRoster {
        /// Only changes since this version.
        since: Option<i64>,
    },
    /// Answered by `PresenceRead`.
    ReadPresence {
        /// Whose.
        buddy: String,
    },
    /// Answered by `HistoryRead`.
    ReadHistory {
        /// Which page.
        request: HistoryRequest,
    },
    /// Answered by `Done`.
    Block {
        /// Whom.
        peer: String,
        /// Whether to block or to lift.
        blocked: bool,
    },
    /// Answered by `BlockedRead`.
    ReadBlocked,
    /// Answered by `Done`.
    SetPreferences {
        /// What the account sets for itself.
        overrides: PreferenceOverrides,
    },
    /// Answered by `PreferencesRead`.
    ReadPreferences,
    /// Answered by `Done`.
    RetireDevice {
        /// Which.
        device: String,
    },
    /// Answered by `DevicesRead`.
    ReadDevices,
    /// Answered by `FilesRead`.
    ListFiles {
        /// How their paths begin.
        prefix: String,
    },
    /// Answered by `FileRead`.
    ReadFile {
        /// Which.
        path: String,
        /// Whose, when it is another account's.
        owner: Option<String>,
    },
    /// Answered by `Done`.
    WriteFile {
        /// Which.
        path: String,
        /// What is in it.
        bytes: Vec<u8>,
    },
    /// Answered by `Done`.
    RemoveFile {
        /// Which.
        path: String,
    },
    /// Answered by `Done`.
    SetRules {
        /// A document of rules.
        json: String,
    },
    /// Answered by `JsonRead`.
    ReadRules,
    /// Answered by `JsonRead`.
    ExplainRules {
        /// Who would send it.
        sender: String,
        /// What it would say.
        text: String,
    },
    /// Answered by `Done`.
    AddRegistration {
        /// What.
        registration: Registration,
    },
    /// Answered by `Done`.
    RemoveRegistration {
        /// Which.
        name: String,
    },
    /// Answered by `RegistrationsRead`.
    ReadRegistrations,
    /// The host has delivered these messages to a contact: they are claimed. Answered by `Done`.
    Claim {
        /// Which.
        positions: Vec<i64>,
    },
    /// Answered by `HistoryRead`.
    ReadQuarantined {
        /// Behind this position.
        after: i64,
        /// How many.
        limit: i32,
    },
    /// Answered by `Done`.
    AdmitSender {
        /// Whom.
        sender: String,
    },
    /// Answered by `Done`.
    RefuseSender {
        /// Whom.
        sender: String,
        /// Whether to block them too.
        block: bool,
    },
    /// Answered by `Done`. For a session.
    ClearPresence {
        /// Whose word counts no more.
        layer: PresenceLayer,
    },
    /// Answered by `JsonRead`.
    ExplainPresence {
        /// Who looks.
        viewer: String,
    },
    /// Answered by `JsonRead`.
    ExplainAdmission {
        /// Who would send.
        sender: String,
    },
    /// Answered by `JsonRead`.
    ExplainDelivery {
        /// Of the message.
        position: i64,
    },
    /// Answered by `HistorySearched`.
    SearchHistory {
        /// What a message is to contain.
        text: String,
        /// Only with this peer.
        peer: Option<String>,
        /// Older than this position.
        before: Option<i64>,
        /// How many.
        limit: i32,
    },
    /// Answered by `Invited`.
    Invite {
        /// Until when, in Unix milliseconds.
        expires_ms: i64,
    },
    /// Answered by `Done`.
    RedeemInvitation {
        /// Who gave it.
        peer: String,
        /// What they gave.
        token: String,
    },
    /// Answered by `Done`.
    RevokeInvitations {
        /// Which; all of them without one.
        token: Option<String>,
    },
    /// Answered by `Done`.
    ForgetHistory {
        /// With whom; with everybody without one.
        peer: Option<String>,
    },
    /// Answered by `Done`. For a session.
    DirectPresence {
        /// To whom.
        recipient: String,
        /// What; nothing takes it back.
        presence: Option<PresenceUpdate>,
    },
    /// Answered by `Done`.
    SetVisibility {
        /// Who.
        viewer: String,
        /// How much.
        visibility: Visibility,
    },
    /// Answered by `LastSeenRead`.
    ReadLastSeen {
        /// Whose.
        buddy: String,
    },
    /// Answered by `Queried`. For a session.
    Query {
        /// Which session.
        recipient: String,
        /// What.
        body: MessageBody,
    },
    /// Answered by `Done`. For a session.
    AnswerQuery {
        /// Which.
        query: i64,
        /// The answer, if there is one.
        body: Option<MessageBody>,
    },
}

/// The answer to a submitted command.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Answered {
    /// Which command.
    pub ticket: i64,
    /// What became of it.
    pub answer: Answer,
}

/// What became of a submitted command.
#[derive(Clone, Debug, PartialEq, uniffi::Enum)]
pub enum Answer {
    /// It is done, and on disk when it is durable.
    Done,
    /// A send.
    Sent {
        /// What became of it.
        receipt: Receipt,
    },
    /// A roster.
    RosterRead {
        /// What it is.
        roster: Roster,
    },
    /// A presence.
    PresenceRead {
        /// What it is.
        presence: Presence,
    },
    /// History.
    HistoryRead {
        /// A page of it.
        page: HistoryPage,
    },
    /// Conversations.
    ConversationsRead {
        /// A page of them.
        page: ConversationsPage,
    },
    /// Who is blocked.
    BlockedRead {
        /// Addresses and domains.
        addresses: Vec<String>,
    },
    /// Preferences.
    PreferencesRead {
        /// What is in force.
        preferences: Preferences,
    },
    /// Named devices.
    DevicesRead {
        /// Their names.
        devices: Vec<String>,
    },
    /// Files.
    FilesRead {
        /// In the order of their paths.
        files: Vec<FileInfo>,
    },
    /// A file.
    FileRead {
        /// What is in it.
        bytes: Vec<u8>,
    },
    /// Rules, or an explanation.
    JsonRead {
        /// As JSON.
        json: String,
    },
    /// Registrations.
    RegistrationsRead {
        /// Those that have not expired.
        registrations: Vec<Registration>,
    },
    /// What was found in the history.
    HistorySearched {
        /// A page of it.
        page: SearchPage,
    },
    /// It was not done.
    Failed {
        /// Why.
        error: RosterKitError,
    },
    /// When somebody was last there.
    LastSeenRead {
        /// None when nothing is known of it, or to be known.
        seen: Option<LastSeen>,
    },
    /// A query is on its way.
    Queried {
        /// The number that its answer comes under.
        query: i64,
    },
    /// An invitation.
    Invited {
        /// Its token, a secret.
        token: String,
    },
}

impl TryFrom<SubmittedCommand> for (Actor, rosterkit::Command) {
    type Error = RosterKitError;

    fn try_from(submitted: SubmittedCommand) -> Result<Self> {
        let session = submitted.session_id.map(session).transpose()?;
        Ok((Actor { account: account(&submitted.account)?, session }, submitted.command.try_into()?))
    }
}

impl TryFrom<Command> for rosterkit::Command {
    type Error = RosterKitError;

    fn try_from(command: Command) -> Result<Self> {
        use rosterkit::Command as Engine;
        Ok(match command {
            Command::CreateAccount => Engine::CreateAccount,
            Command::DeleteAccount => Engine::DeleteAccount,
            Command::SendText { recipient, text, options } => {
                Engine::Send(message(&recipient, Body::Text(text.into()), options)?)
            }
            Command::SendData { recipient, media_type, bytes, options } => {
                let body = Body::Data { media_type: media_type.into(), bytes: bytes.into() };
                Engine::Send(message(&recipient, body, options)?)
            }
            Command::EditMessage { recipient, message_id, text, client_id } => {
                Engine::Amend(amend(&recipient, &message_id, Some(text), client_id)?)
            }
            Command::RetractMessage { recipient, message_id, client_id } => {
                Engine::Amend(amend(&recipient, &message_id, None, client_id)?)
            }
            Command::MarkRead { peer, upto } => {
                Engine::MarkRead { peer: address(&peer)?, upto: position(upto)? }
            }
            Command::ReadConversations { before, limit } => Engine::ReadConversations(page(before, limit)?),
            Command::TellTyping { recipient, state } => {
                Engine::Typing { recipient: address(&recipient)?, state: state.into() }
            }
            Command::SetPresence { presence } => Engine::SetPresence(presence.try_into()?),
            Command::GoOffline => Engine::GoOffline,
            Command::SetActivity { activity } => Engine::SetActivity(activity.into()),
            Command::AddBuddy { peer, name, groups, note } => {
                Engine::Roster(RosterEdit { note, ..edit(&peer, Op::Add, name, groups)? })
            }
            Command::RemoveBuddy { peer } => Engine::Roster(edit(&peer, Op::Remove, None, None)?),
            Command::UpdateBuddy { peer, name, groups } => {
                Engine::Roster(edit(&peer, Op::Update, name, groups)?)
            }
            Command::ReadRoster { since } => Engine::ReadRoster { since: position(since.unwrap_or(0))? },
            Command::ReadPresence { buddy } => Engine::ReadPresence(address(&buddy)?),
            Command::ReadHistory { request } => Engine::ReadHistory(request.try_into()?),
            Command::Block { peer, blocked } => Engine::Block { address: address(&peer)?, blocked },
            Command::ReadBlocked => Engine::ReadBlocked,
            Command::SetPreferences { overrides } => Engine::SetPreferences(overrides.try_into()?),
            Command::ReadPreferences => Engine::ReadPreferences,
            Command::RetireDevice { device } => Engine::RetireDevice(crate::convert::device(&device)?),
            Command::ReadDevices => Engine::ReadDevices,
            Command::ListFiles { prefix } => Engine::ListFiles { prefix },
            Command::ReadFile { path, owner } => {
                Engine::ReadFile { owner: owner.map(|owner| account(&owner)).transpose()?, path }
            }
            Command::WriteFile { path, bytes } => Engine::WriteFile { path, bytes },
            Command::RemoveFile { path } => Engine::RemoveFile { path },
            Command::SetRules { json } => Engine::SetRules(json),
            Command::ReadRules => Engine::ReadRules,
            Command::ExplainRules { sender, text } => {
                Engine::ExplainRules { sender: address(&sender)?, text }
            }
            Command::AddRegistration { registration } => Engine::AddRegistration(registration.try_into()?),
            Command::RemoveRegistration { name } => {
                Engine::RemoveRegistration(crate::convert::device(&name)?)
            }
            Command::ReadRegistrations => Engine::ReadRegistrations,
            Command::Claim { positions } => {
                Engine::Claim(positions.into_iter().map(position).collect::<Result<_>>()?)
            }
            Command::ReadQuarantined { after, limit } => {
                Engine::ReadQuarantined { after: position(after)?, limit: count("limit", limit)? }
            }
            Command::AdmitSender { sender } => Engine::AdmitSender(address(&sender)?),
            Command::RefuseSender { sender, block } => {
                Engine::RefuseSender { sender: address(&sender)?, block }
            }
            Command::ClearPresence { layer } => Engine::ClearPresence(layer.into()),
            Command::ExplainPresence { viewer } => Engine::ExplainPresence { viewer: address(&viewer)? },
            Command::ExplainAdmission { sender } => Engine::ExplainAdmission { sender: address(&sender)? },
            Command::SearchHistory { text, peer, before, limit } => {
                Engine::SearchHistory(search(text, peer, before, limit)?)
            }
            Command::Invite { expires_ms } => Engine::invite(Timestamp(expires_ms))?,
            Command::RedeemInvitation { peer, token } => Engine::Roster(RosterEdit {
                token: invitation(Some(token))?,
                ..edit(&peer, Op::Add, None, None)?
            }),
            Command::DirectPresence { recipient, presence } => Engine::DirectPresence {
                recipient: address(&recipient)?,
                presence: presence.map(TryInto::try_into).transpose()?,
            },
            Command::SetVisibility { viewer, visibility } => {
                Engine::SetVisibility { viewer: address(&viewer)?, visibility: visibility.into() }
            }
            Command::ForgetHistory { peer } => {
                Engine::Forget { peer: peer.map(|peer| address(&peer)).transpose()? }
            }
            Command::ReadLastSeen { buddy } => Engine::ReadLastSeen(address(&buddy)?),
            Command::Query { recipient, body } => {
                Engine::Query { recipient: address(&recipient)?, body: body.into() }
            }
            Command::AnswerQuery { query, body } => {
                Engine::AnswerQuery { query: number("a query", query)?, body: body.map(Into::into) }
            }
            Command::RevokeInvitations { token } => Engine::RevokeInvitations(invitation(token)?),
            Command::ExplainDelivery { position: at } => Engine::ExplainDelivery(position(at)?),
        })
    }
}

impl From<rosterkit::Answered> for Answered {
    fn from(answered: rosterkit::Answered) -> Self {
        use rosterkit::Answer as Engine;
        let answer = match answered.result {
            Err(error) => Answer::Failed { error: error.into() },
            Ok(Engine::Receipt(receipt)) => Answer::Sent { receipt: receipt.into() },
            Ok(Engine::Roster(roster)) => Answer::RosterRead { roster: roster.into() },
            Ok(Engine::Presence(presence)) => Answer::PresenceRead { presence: (&presence).into() },
            Ok(Engine::History(history)) => Answer::HistoryRead { page: history.into() },
            Ok(Engine::Found(found)) => Answer::HistorySearched { page: found.into() },
            Ok(Engine::Conversations(page)) => Answer::ConversationsRead { page: page.into() },
            Ok(Engine::LastSeen(seen)) => Answer::LastSeenRead { seen: seen.map(LastSeen::from) },
            Ok(Engine::Query(query)) => Answer::Queried { query: signed(query) },
            Ok(Engine::Invitation(token)) => Answer::Invited { token: token.as_str().to_owned() },
            Ok(Engine::Blocked(all)) => {
                Answer::BlockedRead { addresses: all.iter().map(ToString::to_string).collect() }
            }
            Ok(Engine::Preferences(preferences)) => {
                Answer::PreferencesRead { preferences: preferences.into() }
            }
            Ok(Engine::Devices(all)) => {
                Answer::DevicesRead { devices: all.iter().map(|d| d.as_str().to_owned()).collect() }
            }
            Ok(Engine::Files(files)) => {
                Answer::FilesRead { files: files.into_iter().map(FileInfo::from).collect() }
            }
            Ok(Engine::File(bytes)) => Answer::FileRead { bytes },
            Ok(Engine::Rules(json) | Engine::Explanation(json)) => Answer::JsonRead { json },
            Ok(Engine::Registrations(all)) => {
                Answer::RegistrationsRead { registrations: all.into_iter().map(Registration::from).collect() }
            }
            // Whatever else there is answers commands that cannot be submitted here.
            Ok(_) => Answer::Done,
        };
        Answered { ticket: signed(answered.ticket.0), answer }
    }
}
