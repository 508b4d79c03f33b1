//! What each command comes to: the one place that knows.

use super::{Shard, Work};
use crate::answers::ReplyTo;
use crate::command::{Answer, Command};
use crate::error::Error;
use crate::messages::Fetch;
use rosterkit_core::id::{AddressId, Position, SessionId};
use rosterkit_core::presence::PresenceLayer;
use rosterkit_core::refusal::Refusal;

impl Shard {
    pub(super) fn command(
        &mut self,
        id: AddressId,
        session: Option<SessionId>,
        command: Command,
        reply: ReplyTo,
    ) {
        if session.is_some_and(|s| !self.sessions.contains_key(&s)) {
            return reply.answer(Err(Error::session_closed()));
        }
        match command {
            Command::CreateAccount => {
                reply.answer(Err(Refusal::Conflict("the account exists".into()).into()))
            }
            Command::DeleteAccount => self.delete_account(id, reply),
            Command::OpenSession(options) => self.open_session(id, options, reply),
            Command::Send(send) => self.send(id, session, Box::new(send.into()), false, reply),
            Command::Amend(amend) => self.amend(id, session, amend, reply),
            Command::MarkRead { ref peer, .. } => {
                let peer = peer.bare();
                let work = Work::Command { session, command: Box::new(command), reply };
                self.fetch_first(id, work, Fetch::Peer { account: id, peer, id: None });
            }
            Command::Typing { recipient, state } => self.send_typing(id, &recipient, state, reply),
            Command::SetPresence(presence) => self.set_presence(id, session, presence, reply),
            Command::ClearPresence(layer) => self.clear_presence(id, session, &[layer], reply),
            Command::DirectPresence { recipient, presence } => {
                self.direct_presence(id, session, (recipient, presence), reply);
            }
            Command::Forget { peer } => self.forget(id, peer, reply),
            Command::SetVisibility { .. } => self.look_up_viewer(id, command, reply),
            Command::ReadLastSeen(subject) => self.ask_last_seen(id, &subject, reply),
            Command::Query { recipient, body } => self.query(id, session, (recipient, body), reply),
            Command::AnswerQuery { query, body } => self.answer_query(session, (query, body), reply),
            Command::GoOffline => {
                self.clear_presence(id, session, &[PresenceLayer::Manual, PresenceLayer::Automatic], reply);
            }
            Command::SetActivity(activity) => self.set_activity(session, activity, reply),
            Command::Roster(edit) => self.edit_roster(id, session, edit, reply),
            Command::ReadRoster { since } => {
                let version = self.residents.get(&id).map_or(Position::ZERO, |r| r.record.roster_version);
                self.fetch(Fetch::Roster { account: id, since, version, reply });
            }
            Command::ReadPresence(address) => self.read_presence(id, &address, reply),
            Command::ReadHistory(request) => self.read_history(id, request, reply),
            Command::SearchHistory(request) => self.fetch(Fetch::Search { account: id, request, reply }),
            Command::ReadConversations(request) => {
                self.fetch(Fetch::Conversations { account: id, request, reply });
            }
            Command::Block { address, blocked } => self.block(id, address, blocked, reply),
            Command::SetPreferences(overrides) => self.set_preferences(id, overrides, reply),
            Command::SetRules(json) => self.set_rules(id, json, reply),
            Command::ReadRules => self.read_rules(id, reply),
            Command::ExplainDelivery(position) => self.explain_delivery(id, position, reply),
            Command::ExplainRules { sender: ref peer, .. }
            | Command::ExplainPresence { viewer: ref peer }
            | Command::ExplainAdmission { sender: ref peer } => {
                let peer = peer.bare();
                let work = Work::Command { session, command: Box::new(command), reply };
                self.fetch_first(id, work, Fetch::Peer { account: id, peer, id: None });
            }
            Command::AddRegistration(registration) => self.add_registration(id, registration, reply),
            Command::RemoveRegistration(name) => self.remove_registration(id, &name, reply),
            Command::ReadRegistrations => self.read_registrations(id, reply),
            Command::Claim(positions) => self.claim(id, positions, reply),
            Command::ListFiles { prefix } => self.list_files(id, prefix, reply),
            Command::ReadFile { owner, path } => self.read_file(id, owner, &path, reply),
            Command::WriteFile { .. } | Command::RemoveFile { .. } => self.change_file(id, command, reply),
            Command::ReadQuarantined { after, limit } => self.read_quarantined(id, after, limit, reply),
            Command::AdmitSender(_) | Command::RefuseSender { .. } => {
                self.look_at_stranger(id, command, reply);
            }
            Command::Invite { token, expires } => self.invite(id, token, expires, reply),
            Command::RevokeInvitations(token) => self.revoke_invitations(id, token.as_ref(), reply),
            Command::RetireDevice(name) => self.retire_device(id, &name, reply),
            Command::ReadBlocked | Command::ReadPreferences | Command::ReadDevices => {
                let Some(resident) = self.residents.get(&id) else {
                    return;
                };
                reply.answer(Ok(match command {
                    Command::ReadBlocked => {
                        Answer::Blocked(resident.record.blocked.keys().cloned().collect())
                    }
                    Command::ReadPreferences => Answer::Preferences(resident.preferences),
                    _ => Answer::Devices(resident.record.devices.iter().map(|d| d.name.clone()).collect()),
                }));
            }
        }
    }
}
