//! What is set and kept: preferences, rules, files, registrations, decisions on strangers, what is forgotten.

use super::Random;
use crate::facts::{Fact, Place};
use crate::ledger::{Fate, Left};
use crate::people::{COMES_AND_GOES, User, actor, address, machine_of, user_of, wall};
use crate::world::{Came, Step, World};
use rosterkit::{
    Answer, Command, ErrorKind, HistoryRequest, InvitationToken, MessageId, Op, Position, RosterEdit,
};

impl World {
    pub(super) fn set(&mut self, fact: Fact) -> Step {
        let owner = fact.place.owner();
        let machine = machine_of(owner);
        self.note(machine, Left::Tries(fact));
        if let Place::Name(owner, peer) = fact.place {
            self.note(machine, Left::TriesEdit(owner, peer, Op::Update));
        }
        let result = fact.ask(self.engine(machine)?, self.now);
        self.history.say(format_args!("{result:?}"));
        let left = match self.came(machine, result)? {
            Came::Done(_) => Left::Did(fact),
            Came::Unknown => Left::MayHaveDone(fact),
            Came::Not(error) => match error.kind {
                ErrorKind::Storage { .. } => Left::DidNot(fact),
                // There is no such buddy, or nothing to have read.
                ErrorKind::NotFound
                    if matches!(fact.place, Place::Name(..) | Place::Read(..) | Place::Visibility(..)) =>
                {
                    Left::DidNot(fact)
                }
                _ => return Err(format!("{fact:?} was refused: {error}")),
            },
        };
        if let Place::Name(owner, peer) = fact.place {
            let did = match left {
                Left::Did(_) => Some(true),
                Left::DidNot(_) => Some(false),
                _ => None,
            };
            // Who has a name is listed.
            self.note(machine, Left::Edited(owner, peer, Op::Update, did));
        }
        self.note(machine, left);
        Ok(())
    }

    pub(super) fn set_fact(&mut self, machine: usize, random: &mut Random) -> Step {
        let user = self.here(machine, random);
        let value = u64::from(self.number());
        let place = match random.u8(0..10) {
            0 | 1 if user == 1 || user == 3 || user == 8 => Place::Preferences(user),
            0..3 => Place::File(user, random.u8(0..2)),
            3 => Place::Card(user),
            4 => Place::Registration(user),
            5 => return self.set_outside_sessions(machine, random),
            6 => Place::Rules([3, 8][machine]),
            7 => {
                let Some((owner, peer)) = self.two(machine, random) else { return Ok(()) };
                Place::Name(owner, peer)
            }
            _ => return self.mark_read(machine, random),
        };
        self.set(Fact { place, value })
    }

    /// A contact that counts as somebody who is there, until it ends; or the domain's own.
    fn set_outside_sessions(&mut self, machine: usize, random: &mut Random) -> Step {
        let (place, value) = match random.u8(0..3) {
            0 => (Place::Domain(machine), u64::from(self.number())),
            _ => (Place::Contact([3, 8][machine]), self.now + random.u64(5_000..900_000)),
        };
        self.set(Fact { place, value })
    }

    /// What makes no sense is refused, and changes nothing.
    pub(super) fn set_badly(&mut self, machine: usize, random: &mut Random) -> Step {
        let user = self.here(machine, random);
        let rule = |action: String| {
            format!(r#"{{"rules": [{{"name": "bad", "priority": 5, "actions": [{action}]}}]}}"#)
        };
        let to_oneself = rule(format!(r#"{{"redirect-to": ["{}"]}}"#, address(user)));
        let write = |path: &str| Command::WriteFile { path: path.into(), bytes: b"no card".to_vec() };
        let (command, sentence) = match random.u8(0..6) {
            0 => (Command::SetRules(to_oneself), "rules.loops"),
            1 => (Command::SetRules(rule(r#""explode""#.into())), "rules.refused-place"),
            2 => (write("../outside"), "files.paths"),
            3 => (write("profile.vcf"), "files.avatar-refused"),
            4 => (Command::Roster(RosterEdit::new(&address(user), Op::Add)), "roster.not-oneself"),
            _ => {
                let past = Command::Invite {
                    token: InvitationToken::from_random(u128::from(self.number()).to_le_bytes()),
                    expires: wall(self.now + 400 * 86_400_000),
                };
                (past, "invitations.limits")
            }
        };
        match self.call(machine, &actor(user), command.clone())? {
            Came::Done(answer) => Err(format!("{command:?} was done: {answer:?}")),
            Came::Not(error) if error.kind == ErrorKind::InvalidArgument => {
                self.covered.add(sentence);
                Ok(())
            }
            Came::Not(error) if matches!(error.kind, ErrorKind::Storage { .. }) => Ok(()),
            Came::Not(error) => Err(format!("{command:?} was refused otherwise: {error}")),
            Came::Unknown => Ok(()),
        }
    }

    /// Somebody has read what they were told last.
    pub(super) fn mark_read(&mut self, machine: usize, random: &mut Random) -> Step {
        let told = &self.machines[machine].ledger.told;
        let received: Vec<(User, User, Position)> = told
            .iter()
            .filter_map(|((reader, id), position)| {
                let mail = self.machines[machine].ledger.mail_of(*id)?;
                let sender = mail.sent.sender;
                let kept = reader.user != 2 && mail.gone_for.is_empty() && mail.sent.expires.is_none();
                (sender != reader.user && kept && mail.fate == Fate::Comes).then_some((
                    reader.user,
                    sender,
                    *position,
                ))
            })
            .collect();
        if received.is_empty() {
            return Ok(());
        }
        let (user, peer, upto) = received[random.usize(..received.len())];
        self.set(Fact { place: Place::Read(user, peer), value: upto.0 })
    }

    pub(super) fn decide(&mut self, machine: usize, random: &mut Random) -> Step {
        let owner = [3, 8][machine];
        let read = Command::ReadQuarantined { after: Position::ZERO, limit: 100 };
        let came = self.call(machine, &actor(owner), read)?;
        let Came::Done(Answer::History(page)) = came else { return Ok(()) };
        let waiting: Vec<(User, MessageId)> =
            page.messages.iter().filter_map(|m| Some((user_of(&m.sender.bare())?, m.id))).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let (sender, _) = waiting[random.usize(..waiting.len())];
        if random.bool() {
            self.note(machine, Left::Admits(owner, sender));
            let came = self.call(machine, &actor(owner), Command::AdmitSender(address(sender)))?;
            self.note(machine, Left::Admitted(owner, sender, matches!(came, Came::Done(_))));
            self.has_failed(machine, "admitting", &came)
        } else {
            self.note(machine, Left::Refuses(owner, sender));
            let refuse = Command::RefuseSender { sender: address(sender), block: false };
            let came = self.call(machine, &actor(owner), refuse)?;
            self.has_failed(machine, "refusing", &came)
        }
    }

    pub(super) fn forget(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((owner, peer)) = self.two(machine, random) else { return Ok(()) };
        let peer = (random.u8(0..4) > 0).then_some(peer);
        self.note(machine, Left::Forgets(owner, peer));
        let came = self.call(machine, &actor(owner), Command::Forget { peer: peer.map(address) })?;
        if matches!(came, Came::Done(_)) {
            let with = peer.map(address);
            let request = HistoryRequest {
                peer: with,
                anchor: rosterkit::Anchor::End,
                direction: rosterkit::Direction::Newer,
                limit: 10,
            };
            match self.call(machine, &actor(owner), Command::ReadHistory(request))? {
                Came::Done(Answer::History(page)) if !page.messages.is_empty() => {
                    return Err(format!(
                        "user{owner} has forgotten {peer:?}, and there is {:?}",
                        page.messages
                    ));
                }
                Came::Done(_) => self.covered.add("history.forget"),
                _ => {}
            }
        }
        self.has_failed(machine, "forgetting", &came)
    }

    pub(super) fn come_and_go(&mut self, machine: usize, _: &mut Random) -> Step {
        if machine != 0 {
            return Ok(());
        }
        match self.call(0, &actor(COMES_AND_GOES), Command::CreateAccount)? {
            Came::Not(error) if error.kind == ErrorKind::Conflict => {
                self.note(0, Left::Gone);
                let came = self.call(0, &actor(COMES_AND_GOES), Command::DeleteAccount)?;
                self.has_failed(0, "deleting", &came)
            }
            came => self.has_failed(0, "creating", &came),
        }
    }
}
