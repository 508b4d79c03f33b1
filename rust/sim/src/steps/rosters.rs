//! The handshake, invitations, blocks, and who sees how much.

use super::Random;
use crate::facts::{Fact, Place};
use crate::handshake::View;
use crate::ledger::{Left, roster_view};
use crate::people::{ORDINARY, User, actor, address, machine_of, wall};
use crate::world::{Came, Step, World};
use rosterkit::{Command, ErrorKind, InvitationToken, Op, RosterEdit, Status};

impl World {
    pub(super) fn two(&self, machine: usize, random: &mut Random) -> Option<(User, User)> {
        let owner = self.here(machine, random);
        let others: Vec<User> =
            ORDINARY.into_iter().filter(|user| machine_of(*user) == machine && *user != owner).collect();
        (!others.is_empty()).then(|| (owner, others[random.usize(..others.len())]))
    }

    pub(super) fn edit(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((owner, peer)) = self.two(machine, random) else { return Ok(()) };
        if self.is_pair && random.u8(0..4) == 0 {
            return self.edit_across(machine, owner, random);
        }
        // Who is asked mostly says yes.
        let asks = |of: User, by: User| {
            self.machines[machine].ledger.view(of, by).is_ok_and(|view| view.asking()) && of != by
        };
        let (owner, peer) = if asks(peer, owner) { (peer, owner) } else { (owner, peer) };
        let op = match random.u8(0..10) {
            0..6 => Op::Add,
            6 => Op::Remove,
            7 => Op::Subscribe,
            8 => Op::Unsubscribed,
            _ => Op::Unsubscribe,
        };
        self.edit_roster(machine, owner, peer, op, None)
    }

    pub(super) fn edit_roster(
        &mut self,
        machine: usize,
        owner: User,
        peer: User,
        op: Op,
        token: Option<InvitationToken>,
    ) -> Step {
        // Who asks somebody that blocks them is not heard, and does not learn it.
        let heard = self.machines[machine].ledger.value(Place::Blocked(peer, owner)) == Ok(Some(0));
        // Nor can anybody know what they make of it while something of before may be on its way.
        if !heard || !self.is_quiet(machine) {
            self.note(machine, Left::LostSightOf(owner, peer));
        }
        if op == Op::Remove {
            self.note(machine, Left::LostSight(Place::Name(owner, peer)));
        }
        if matches!(op, Op::Remove | Op::Unsubscribe | Op::Unsubscribed) {
            // With the last that is between two goes what one shows to the other.
            self.note(machine, Left::LostSight(Place::Visibility(owner, peer)));
            self.note(machine, Left::LostSight(Place::Visibility(peer, owner)));
        }
        self.note(machine, Left::TriesEdit(owner, peer, op));
        let came = self.call(
            machine,
            &actor(owner),
            Command::Roster(RosterEdit { token, ..RosterEdit::new(&address(peer), op) }),
        )?;
        let did = match &came {
            Came::Done(_) => Some(true),
            Came::Unknown => None,
            Came::Not(error) => match error.kind {
                ErrorKind::Storage { .. } | ErrorKind::NotFound => Some(false),
                _ => return Err(format!("{op:?} by user{owner} of user{peer}: {error}")),
            },
        };
        self.note(machine, Left::Edited(owner, peer, op, did));
        self.see_pair(machine, (owner, peer), op)
    }

    /// An edit about somebody on the other machine: the link decides when they hear of it.
    fn edit_across(&mut self, machine: usize, owner: User, random: &mut Random) -> Step {
        let there: Vec<User> = ORDINARY.into_iter().filter(|user| machine_of(*user) != machine).collect();
        let peer = there[random.usize(..there.len())];
        let op = [Op::Add, Op::Add, Op::Add, Op::Remove, Op::Subscribe, Op::Unsubscribed][random.usize(..6)];
        self.note(machine, Left::LostSightOf(owner, peer));
        self.note(1 - machine, Left::LostSightOf(owner, peer));
        let edit = Command::Roster(RosterEdit::new(&address(peer), op));
        let came = self.call(machine, &actor(owner), edit)?;
        self.across.insert((owner.min(peer), owner.max(peer)));
        match came {
            Came::Not(error) if error.kind == ErrorKind::NotFound => Ok(()),
            came => self.has_failed(machine, "an edit across the link", &came),
        }
    }

    /// Once everything has arrived both sides of the link believe the same.
    pub(super) fn check_across(&mut self) -> Step {
        for (low, high) in self.across.clone() {
            let blocks = |one: User, other: User| {
                self.machines[machine_of(one)].ledger.value(Place::Blocked(one, other)) != Ok(Some(0))
            };
            if blocks(low, high) || blocks(high, low) {
                continue;
            }
            let of = |user: User, peer| roster_view(self.engine(machine_of(user))?, user, peer);
            let halves = |view: View| View { listed: false, ..view };
            let (of_low, of_high) = (halves(of(low, high)?), halves(of(high, low)?));
            // What a roster does not show may be there.
            let agree = of_low == of_high.mirrored()
                || of_low == View::default() && !of_high.to() && !of_high.from()
                || of_high == View::default() && !of_low.to() && !of_low.from();
            if !agree {
                return Err(format!("user{low} and user{high} are {of_low:?} and {of_high:?}"));
            }
            self.covered.add("relay.handshake");
        }
        Ok(())
    }

    /// Looks at what two believe after the first has done this: what it has to be, or, when nobody knows, what it is.
    fn see_pair(&mut self, machine: usize, (a, b): (User, User), op: Op) -> Step {
        let ledger = &self.machines[machine].ledger;
        let is_known = ledger.view(a, b).is_ok();
        let Ok((of_a, of_b)) = self.both_views(machine, a, b) else { return Ok(()) };
        if !self.is_quiet(machine) {
            return Ok(());
        }
        if is_known {
            let expected =
                (self.machines[machine].ledger.view(a, b), self.machines[machine].ledger.view(b, a));
            if (expected.0.map(View::shown), expected.1.map(View::shown)) != (Ok(of_a), Ok(of_b)) {
                return Err(format!("user{a} and user{b} are {of_a:?} and {of_b:?}, not {expected:?}"));
            }
            self.covered.add("roster.rfc6121-states");
            self.cover_asked(b, of_b);
            match (op, of_a.status(), of_b.status()) {
                (Op::Add, Status::Requested, Status::Asking) => self.covered.add("roster.add-asks-both"),
                (Op::Add, Status::Confirmed, Status::Confirmed) => self.covered.add("roster.confirm"),
                (Op::Remove, ..) => self.covered.add("roster.remove"),
                _ => {}
            }
            return Ok(());
        }
        let blocks =
            |one, other| self.machines[machine].ledger.value(Place::Blocked(one, other)) != Ok(Some(0));
        let halves = |view: View| View { listed: false, ..view };
        if !blocks(a, b) && !blocks(b, a) && halves(of_a) == halves(of_b).mirrored() {
            self.note(machine, Left::Saw(a, b, of_a, of_b));
        }
        Ok(())
    }

    pub(super) fn invite(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((host, guest)) = self.two(machine, random) else { return Ok(()) };
        let token = InvitationToken::from_random(u128::from(self.number()).to_le_bytes());
        let invite = Command::Invite { token: token.clone(), expires: wall(self.now + 3_600_000) };
        let came = self.call(machine, &actor(host), invite)?;
        if !matches!(came, Came::Done(_)) {
            // Too many are open: they last an hour.
            return Ok(());
        }
        if random.u8(0..3) == 0 {
            // Taken back: it is a request as any other.
            let came = self.call(machine, &actor(host), Command::RevokeInvitations(Some(token.clone())))?;
            if matches!(came, Came::Done(_)) {
                self.covered.add("invitations.ended");
                return self.edit_roster(machine, guest, host, Op::Add, Some(token));
            }
            return Ok(());
        }
        self.note(machine, Left::LostSightOf(host, guest));
        let edit = RosterEdit { token: Some(token), ..RosterEdit::new(&address(host), Op::Add) };
        let came = self.call(machine, &actor(guest), Command::Roster(edit))?;
        self.note(machine, Left::Edited(guest, host, Op::Update, Some(true)));
        let hears =
            |one, other| self.machines[machine].ledger.value(Place::Blocked(one, other)) == Ok(Some(0));
        let heard = hears(host, guest) && hears(guest, host);
        if matches!(came, Came::Done(_)) && heard {
            if let Ok((of_host, of_guest)) = self.both_views(machine, host, guest)
                && self.is_quiet(machine)
                && (of_host.status() != Status::Confirmed || of_guest.status() != Status::Confirmed)
            {
                return Err(format!("user{guest} redeemed an invitation: {of_guest:?}, and {of_host:?}"));
            }
            self.covered.add("invitations.redeemed");
        }
        self.see_pair(machine, (guest, host), Op::Add)
    }

    /// Somebody, and who sees their presence if anybody does.
    pub(super) fn watched(&self, machine: usize, random: &mut Random) -> Option<(User, User)> {
        let ledger = &self.machines[machine].ledger;
        let here = || ORDINARY.into_iter().filter(|user| machine_of(*user) == machine);
        let all = here().flat_map(|owner| here().map(move |viewer| (owner, viewer)));
        let seen: Vec<(User, User)> =
            all.filter(|(owner, viewer)| ledger.view(*owner, *viewer).is_ok_and(View::from)).collect();
        match seen.is_empty() || random.u8(0..4) == 0 {
            true => self.two(machine, random),
            false => Some(seen[random.usize(..seen.len())]),
        }
    }

    /// An account hides from somebody, or shows itself again.
    pub(super) fn hide(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((owner, viewer)) = self.watched(machine, random) else { return Ok(()) };
        self.set(Fact { place: Place::Visibility(owner, viewer), value: random.u64(0..3) })
    }

    pub(super) fn block(&mut self, machine: usize, random: &mut Random) -> Step {
        let Some((owner, whom)) = self.watched(machine, random) else { return Ok(()) };
        if owner.is_multiple_of(2) {
            // Those whom rules send on to take everything.
            return Ok(());
        }
        if !self.is_quiet(machine) {
            // What they asked may still be on its way, and is heard or not.
            self.note(machine, Left::LostSightOf(owner, whom));
        }
        self.set(Fact { place: Place::Blocked(owner, whom), value: u64::from(random.bool()) })
    }
}
