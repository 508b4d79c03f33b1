//! Steps of the handshake that come from another system late, twice and in any order: what was done last of each half holds.

use super::Random;
use crate::handshake::View;
use crate::people::domain;
use crate::world::{Step, World};
use rosterkit::{
    Address, Answer, Buddy, Command, Contents, EventBody, Op, Parcel, Position, RosterSignal, Settlement,
};

const OPS: [Op; 6] = [Op::Add, Op::Subscribe, Op::Subscribed, Op::Unsubscribe, Op::Unsubscribed, Op::Remove];

/// What somebody else's doing says of the four halves, where it says something: their wish, their grant, my wish, my grant.
fn says(op: Op) -> [Option<bool>; 4] {
    match op {
        Op::Add => [Some(true), Some(true), None, None],
        Op::Subscribe => [Some(true), None, None, None],
        Op::Subscribed => [None, Some(true), None, None],
        Op::Unsubscribe => [Some(false), None, None, Some(false)],
        Op::Unsubscribed => [None, Some(false), Some(false), None],
        Op::Remove => [Some(false); 4],
        Op::Update => [None; 4],
    }
}

impl World {
    pub(super) fn hear_signals(&mut self, machine: usize, random: &mut Random) -> Step {
        if !self.is_pair || !self.calm(machine)? {
            return Ok(());
        }
        let [hears] = self.guests(machine)?;
        let sender = Address::account(&format!("nobody{}@{}", self.number(), domain(1 - machine)));
        let sender = sender.map_err(|error| error.to_string())?;
        // In the order in which they were done; each comes, some twice, as the link pleases.
        let mut stamp = 0;
        let mut signals: Vec<(u64, Op)> = Vec::new();
        for _ in 0..random.usize(3..9) {
            stamp += random.u64(1..5);
            signals.push((stamp, OPS[random.usize(..OPS.len())]));
        }
        let again: Vec<(u64, Op)> = signals.iter().copied().filter(|_| random.bool()).collect();
        signals.extend(again);
        random.shuffle(&mut signals);
        let (mut halves, mut heard) = ([(false, 0_u64); 4], Vec::new());
        for (stamp, op) in signals {
            let before = self.pair_of(machine, &hears.address, &sender)?;
            self.hear(machine, &sender, &hears.address, (stamp, op))?;
            let after = self.pair_of(machine, &hears.address, &sender)?;
            for (half, said) in halves.iter_mut().zip(says(op)) {
                if let Some(said) = said.filter(|_| half.1 < stamp) {
                    *half = (said, stamp);
                }
            }
            let [(their_wish, _), (their_grant, _), (my_wish, _), (my_grant, _)] = halves;
            let listed = after.as_ref().is_some_and(|buddy| buddy.listed);
            let expected = View { listed, my_wish, my_grant, their_wish, their_grant }.shown();
            let found = after.as_ref().map_or(View::default(), |buddy| View {
                listed: buddy.listed,
                my_wish: buddy.halves.my_wish.set,
                my_grant: buddy.halves.my_grant.set,
                their_wish: buddy.halves.their_wish.set,
                their_grant: buddy.halves.their_grant.set,
            });
            if found.shown() != expected {
                return Err(format!("{heard:?}, then {op:?} at {stamp} makes {found:?}, not {expected:?}"));
            }
            if heard.contains(&(stamp, op)) {
                let told = self.told(machine, &hears.session)?;
                let is_news = |body: &EventBody| {
                    matches!(body, EventBody::RosterChanged { .. } | EventBody::BuddyRequest { .. })
                };
                if before != after || told.iter().any(is_news) {
                    return Err(format!("{op:?} at {stamp} came again: {before:?}, {after:?}, {told:?}"));
                }
                self.covered.add("roster.repeated-signals");
            } else {
                self.told(machine, &hears.session)?;
            }
            if heard.iter().any(|(earlier, _)| *earlier > stamp) {
                self.covered.add("roster.older-signals-change-nothing");
            }
            heard.push((stamp, op));
        }
        Ok(())
    }

    fn hear(
        &mut self,
        machine: usize,
        sender: &Address,
        recipient: &Address,
        (stamp, op): (u64, Op),
    ) -> Step {
        let Some(relay) = &self.machines[machine].relay else { return Err("there is no relay".to_owned()) };
        // Without an id of its own a delivery is not recognized: the stamp alone says what it is.
        let signal = RosterSignal { delivery_id: None, op, stamp, note: "".into(), token: None };
        let contents = Contents::Roster(signal);
        let parcel = Parcel { sender: sender.clone(), recipient: recipient.clone(), contents };
        match relay.receive(parcel) {
            // The other side is told when something newer is known of everything that it says.
            Ok(settled) if matches!(settled[..], [Settlement::Relayed | Settlement::Superseded { .. }]) => {
                self.settle(machine)
            }
            other => Err(format!("{op:?} at {stamp} of {sender} was answered {other:?}")),
        }
    }

    /// What an account has of somebody on its roster.
    fn pair_of(&self, machine: usize, of: &Address, peer: &Address) -> Result<Option<Buddy>, String> {
        let actor = rosterkit::Actor { account: of.clone(), session: None };
        match self.engine(machine)?.call(&actor, Command::ReadRoster { since: Position::ZERO }) {
            Ok(Answer::Roster(roster)) => Ok(roster.buddies.into_iter().find(|buddy| buddy.address == *peer)),
            other => Err(format!("the roster of {of} was answered {other:?}")),
        }
    }
}
