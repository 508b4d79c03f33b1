//! What carries parcels between two machines: it drops, doubles, delays, reorders and cuts.
//!
//! What was dropped is never settled; so whoever cut or dropped something connects anew, some time later, and the relays
//! give it out again. What was only late may come after that.

use crate::history::History;
use crate::ledger::number_sent;
use rosterkit::{Contents, MessageId, Notice, Outgoing, Parcel, Relay, Settlement};
use std::time::Duration;

/// A link between two machines.
#[derive(Default)]
pub struct Link {
    flying: Vec<Flying>,
    /// Nothing gets through before somebody connects.
    is_cut: bool,
    /// Something was dropped: it takes a new connection to have it again.
    has_dropped: bool,
    pub counts: Counts,
    /// Nothing goes wrong any more.
    pub is_good: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub carried: u64,
    pub dropped: u64,
    pub doubled: u64,
    pub delayed: u64,
    pub cuts: u64,
}

struct Flying {
    due: u64,
    to: usize,
    letter: Letter,
}

#[derive(Clone)]
enum Letter {
    Parcel(Parcel),
    Settled(Vec<(String, Settlement)>),
    Notice(Notice),
}

/// A message on the link: its id, and the number that it was sent under, when it says so still.
pub type Carried = (MessageId, Option<u32>);

/// A parcel was taken in by a machine: these messages are its own now.
pub struct TakenIn {
    pub by: usize,
    /// It was answered; else nobody knows.
    pub is_known: bool,
    pub messages: Vec<Carried>,
    /// Those that it does not take.
    pub refused: Vec<Carried>,
}

impl Link {
    /// Takes what the relays have, and delivers what is due. Gives what was taken in.
    pub fn carry(
        &mut self,
        relays: [&Relay; 2],
        now: u64,
        random: &mut fastrand::Rng,
        history: &History,
    ) -> Vec<TakenIn> {
        let mut taken = Vec::new();
        if self.is_cut {
            return taken;
        }
        loop {
            for (from, relay) in relays.iter().enumerate() {
                for out in relay.next(1_000, Duration::ZERO).unwrap_or_default() {
                    match out {
                        Outgoing::Parcel(parcel) => {
                            self.post(1 - from, Letter::Parcel(parcel), now, random);
                        }
                        Outgoing::Notice(notice) => {
                            self.post(1 - from, Letter::Notice(notice), now, random);
                        }
                        Outgoing::Received { .. } => {}
                    }
                }
            }
            let mut due: Vec<Flying> = self.flying.extract_if(.., |flying| flying.due <= now).collect();
            if due.is_empty() {
                return taken;
            }
            if !self.is_good {
                random.shuffle(&mut due);
            }
            for Flying { to, letter, .. } in due {
                self.counts.carried += 1;
                match letter {
                    Letter::Notice(notice) => drop(relays[to].notify(notice)),
                    Letter::Settled(settled) => {
                        for (id, settlement) in settled {
                            let _ = relays[to].settle(&id, settlement);
                        }
                    }
                    Letter::Parcel(parcel) => {
                        let result = relays[to].receive(parcel.clone());
                        history.say(format_args!("machine {to} takes {parcel:?}: {result:?}"));
                        match result {
                            Ok(settlements) => {
                                let is_taken = |s: &Settlement| *s == Settlement::Relayed;
                                let is_refused = |s: &Settlement| matches!(s, Settlement::Failed { .. });
                                let messages = carried(&parcel, &settlements, is_taken);
                                let refused = carried(&parcel, &settlements, is_refused);
                                taken.push(TakenIn { by: to, is_known: true, messages, refused });
                                let settled = deliveries(&parcel).into_iter().zip(settlements).collect();
                                self.post(1 - to, Letter::Settled(settled), now, random);
                            }
                            // Its disk failed: as if it had not come, for who sent it.
                            Err(_) => {
                                self.has_dropped = true;
                                let all = vec![Settlement::Retry; parcel.items()];
                                let messages = carried(&parcel, &all, |_| true);
                                taken.push(TakenIn {
                                    by: to,
                                    is_known: false,
                                    messages,
                                    refused: Vec::new(),
                                });
                            }
                        }
                    }
                }
            }
        }
    }

    fn post(&mut self, to: usize, letter: Letter, now: u64, random: &mut fastrand::Rng) {
        let late = |random: &mut fastrand::Rng| if random.bool() { 0 } else { random.u64(1..4_000) };
        if self.is_good {
            return self.flying.push(Flying { due: now, to, letter });
        }
        match random.u8(0..20) {
            0 => {
                self.counts.dropped += 1;
                self.has_dropped = true;
            }
            1 => {
                self.counts.doubled += 1;
                for _ in 0..2 {
                    self.flying.push(Flying { due: now + late(random), to, letter: letter.clone() });
                }
            }
            2..8 => {
                self.counts.delayed += 1;
                self.flying.push(Flying { due: now + late(random), to, letter });
            }
            _ => self.flying.push(Flying { due: now, to, letter }),
        }
    }

    /// Cuts it. Some of what is on its way may still come.
    pub fn cut(&mut self, relays: [&Relay; 2], random: &mut fastrand::Rng) {
        self.counts.cuts += 1;
        self.is_cut = true;
        relays.iter().for_each(|relay| relay.disconnect());
        self.flying.retain(|_| random.bool());
    }

    /// Connects both sides, anew when something was dropped.
    pub fn connect(&mut self, relays: [&Relay; 2]) {
        if std::mem::take(&mut self.has_dropped) {
            relays.iter().for_each(|relay| relay.disconnect());
        }
        self.is_cut = false;
        relays.iter().for_each(|relay| relay.connect());
    }

    /// A machine is gone, with what it had on its way; what was on its way to it may still come.
    pub fn lose(&mut self, machine: usize, random: &mut fastrand::Rng) {
        self.flying.retain(|flying| flying.to == machine && random.bool());
        self.has_dropped = true;
    }

    pub fn is_quiet(&self) -> bool {
        self.flying.is_empty() && !self.has_dropped && !self.is_cut
    }
}

fn deliveries(parcel: &Parcel) -> Vec<String> {
    let ids = match &parcel.contents {
        Contents::Messages(messages) => messages.iter().map(|m| m.delivery_id.clone()).collect(),
        Contents::Roster(signal) => vec![signal.delivery_id.clone()],
    };
    ids.into_iter().map(|id| id.unwrap_or_default().to_string()).collect()
}

/// The messages that were settled so.
fn carried(parcel: &Parcel, settlements: &[Settlement], so: impl Fn(&Settlement) -> bool) -> Vec<Carried> {
    let Contents::Messages(messages) = &parcel.contents else { return Vec::new() };
    let both = messages.iter().zip(settlements);
    both.filter(|(message, settlement)| message.amends.is_none() && so(settlement))
        .filter_map(|(message, _)| Some((message.id?, number_sent(&message.content))))
        .collect()
}
