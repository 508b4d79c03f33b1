//! Invitations that are kept for later: brought after whatever has happened since, by one, by a second, by who is blocked,
//! and over the link.

use super::Random;
use super::edit;
use crate::disk::Fault;
use crate::ledger::Left;
use crate::ledger::invited::{Invitations, Invited, Is, statuses};
use crate::people::{ORDINARY, address, machine_of, wall};
use crate::world::{Came, Step, World};
use rosterkit::store::vfs::Failure;
use rosterkit::{Actor, Address, Command, ErrorKind, InvitationToken, Op, RosterEdit, Status};

const HOUR: u64 = 3_600_000;

fn of(account: &Address) -> Actor {
    Actor { account: account.clone(), session: None }
}

fn with_token(invited: &Invited) -> Command {
    let token = Some(invited.token.clone());
    Command::Roster(RosterEdit { token, ..RosterEdit::new(&address(invited.host), Op::Add) })
}

impl World {
    pub(in crate::steps) fn invite_for_later(&mut self, machine: usize, random: &mut Random) -> Step {
        let ledger = &self.machines[machine].ledger;
        let open = ledger
            .invitations
            .0
            .iter()
            .find(|(_, one)| one.is == Is::Open && one.expires > self.now + 60_000);
        match open.map(|(number, invited)| (*number, invited.clone())) {
            Some((number, invited)) if random.u8(0..3) > 0 => self.bring(machine, number, &invited, random),
            _ if self.is_pair && random.bool() => self.bring_across(machine, random),
            _ => self.give(machine, random),
        }
    }

    /// Somebody makes an invitation, on whatever disk there is.
    fn give(&mut self, machine: usize, random: &mut Random) -> Step {
        let number = self.number();
        let token = InvitationToken::from_random(random.u128(..).to_le_bytes());
        let (host, expires) = (self.here(machine, random), self.now + random.u64(HOUR..100 * HOUR));
        let invited = Invited { host, token, expires, is: Is::Asked };
        self.note(machine, Left::Invitation(number, invited.clone()));
        match self.call(machine, &invited.by(), invited.command())? {
            Came::Done(_) => {
                self.note(machine, Left::Invitation(number, Invited { is: Is::Open, ..invited }))
            }
            came => self.has_failed(machine, "an invitation", &came)?,
        }
        Ok(())
    }

    /// Somebody brings it, while the disk fails, or just before the power goes.
    fn bring(&mut self, machine: usize, number: u32, invited: &Invited, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let accounts = self.accounts(machine, 2)?;
        let [brings, other] = accounts.as_slice() else { return Ok(()) };
        let is = |is| Left::Invitation(number, Invited { is, ..invited.clone() });
        if random.u8(0..3) == 0 {
            self.note(machine, is(Is::Asked));
            self.bring_blocked(machine, invited, other)?;
        }
        let fails = random.bool();
        if fails {
            self.plan(machine, Fault::Call { after: random.u64(0..16), failure: Failure::Io });
        }
        self.note(machine, is(Is::Brought(brings.clone())));
        match self.call(machine, &of(brings), with_token(invited))? {
            Came::Done(_) => self.note(machine, is(Is::Used(brings.clone()))),
            Came::Unknown => return Ok(()),
            Came::Not(error) if fails && matches!(error.kind, ErrorKind::Storage { .. }) => {
                // It is open still; and whoever tries to bring one has written it down.
                self.note(machine, is(Is::Asked));
                return Ok(());
            }
            Came::Not(error) => return Err(format!("{brings} brings {invited:?}: {error}")),
        }
        if random.bool() {
            self.count_fault("the power goes behind an invitation");
            self.machines[machine].disk.turn_off();
            return Ok(());
        }
        if !self.calm(machine)? {
            return Ok(());
        }
        // What met a failing disk is tried again each second.
        self.advance(1_500)?;
        let found = statuses(self.engine(machine)?, brings, &address(invited.host))?;
        if found != (Status::Confirmed, Status::Confirmed) {
            return Err(format!("{brings} brought {invited:?}, and is {found:?}"));
        }
        self.covered.add("invitations.redeemed");
        let [late] = self.guests(machine)?;
        late.ask(with_token(invited))?;
        self.settle(machine)?;
        Invitations::is_as_any(
            invited,
            statuses(self.engine(machine)?, &late.address, &address(invited.host))?,
        )?;
        self.covered.add("invitations.once");
        Ok(())
    }

    /// Who is blocked brings it, is not heard, and has not used it up.
    fn bring_blocked(&mut self, machine: usize, invited: &Invited, blocked: &Address) -> Step {
        let block = Command::Block { address: blocked.clone(), blocked: true };
        self.all_done(machine, vec![(invited.by(), block)])?;
        self.all_done(machine, vec![(of(blocked), with_token(invited))])?;
        self.settle(machine)?;
        let found = statuses(self.engine(machine)?, blocked, &address(invited.host))?;
        if found != (Status::Requested, Status::None) {
            return Err(format!("{blocked} is blocked, brought {invited:?}, and is {found:?}"));
        }
        self.covered.add("invitations.blocked");
        Ok(())
    }

    /// Somebody on the other machine makes one, and an account of this one brings it over the link, when it lets it through.
    fn bring_across(&mut self, machine: usize, random: &mut Random) -> Step {
        let there = 1 - machine;
        let hosts: Vec<_> = ORDINARY.into_iter().filter(|user| machine_of(*user) == there).collect();
        let host = hosts[random.usize(..hosts.len())];
        let token = InvitationToken::from_random(random.u128(..).to_le_bytes());
        let expires = self.now + 300 * 24 * HOUR;
        let invited = Invited { host, token, expires, is: Is::Asked };
        if !matches!(self.call(there, &invited.by(), invited.command())?, Came::Done(_))
            || !self.calm(machine)?
        {
            return Ok(());
        }
        let accounts = self.accounts(machine, 1)?;
        if let Came::Done(_) = self.call(machine, &of(&accounts[0]), with_token(&invited))? {
            self.machines[machine].kept.brought_across.push((accounts[0].clone(), host));
        }
        Ok(())
    }

    /// Once everything has arrived who brought one over the link is confirmed, on both sides.
    pub(in crate::steps) fn check_brought_across(&mut self) -> Step {
        for machine in 0..self.machines.len() {
            for (by, host) in self.machines[machine].kept.brought_across.clone() {
                let of_by = self.status(machine, &by, &address(host))?;
                let of_host = self.status(machine_of(host), &address(host), &by)?;
                if (of_by, of_host) != (Status::Confirmed, Status::Confirmed) {
                    return Err(format!(
                        "{by} brought an invitation of user{host}, and they are {of_by:?}, {of_host:?}"
                    ));
                }
                self.covered.add("invitations.relayed");
            }
        }
        Ok(())
    }

    /// As many as may be open, and one more.
    pub(super) fn invite_too_many(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.calm(machine)? {
            return Ok(());
        }
        let [host, guest] = self.guests(machine)?;
        let expires = wall(self.now + HOUR);
        let mut tokens = Vec::new();
        for _ in 0..65 {
            tokens.push(InvitationToken::from_random(random.u128(..).to_le_bytes()));
        }
        let invite =
            |token: &InvitationToken| (host.actor(), Command::Invite { token: token.clone(), expires });
        let mut results = self.at_once(machine, tokens.iter().map(invite).collect())?;
        let over = results.pop();
        if results.iter().any(Result::is_err)
            || !matches!(&over, Some(Err(error)) if matches!(error.kind, ErrorKind::LimitExceeded { .. }))
        {
            return Err(format!("64 may be open, and {results:?}, then {over:?}"));
        }
        self.covered.add("invitations.limits");
        // All are taken back, or it is too late: the guest asks as anybody does.
        if random.bool() {
            host.ask(Command::RevokeInvitations(None))?;
        } else {
            self.advance(HOUR)?;
        }
        let token = Some(tokens[random.usize(..64)].clone());
        guest.ask(Command::Roster(RosterEdit { token, ..RosterEdit::new(&host.address, Op::Add) }))?;
        self.settle(machine)?;
        let found = statuses(self.engine(machine)?, &guest.address, &host.address)?;
        if found != (Status::Requested, Status::Asking) {
            return Err(format!("an invitation is over, and who brought it is {found:?}"));
        }
        self.covered.add("invitations.ended");
        host.ask(edit(&guest.address, Op::Remove)).map(drop)
    }
}
