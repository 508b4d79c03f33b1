//! Crash points: each life of a machine is played again, file call by file call, and cut in between.

use crate::audit::Depth;
use crate::disk::{Cut, Entry};
use crate::ledger::Left;
use crate::report::Coverage;
use crate::world::{Life, look_after};

/// How much of what came before a crash is told.
const LATEST: usize = 8;

/// Where lives are cut.
pub struct CrashPoints {
    /// How many of all the points there are; each of them is cut in one of the ways.
    pub wanted: usize,
    pub seed: u64,
}

/// A crash after which something was not as it had to be.
pub struct Broken {
    pub machine: usize,
    pub life: usize,
    pub entry: usize,
    pub cut: Cut,
    pub unsynced: Vec<String>,
    /// What left the engine last, or was asked of it.
    pub before: Vec<String>,
    pub difference: String,
}

/// Whether the disk is another behind it.
fn is_point(entry: &Entry<Left>) -> bool {
    !matches!(entry, Entry::Left(_))
}

impl CrashPoints {
    /// Cuts the lives of a machine. Gives how many points that were, or the first at which something was not true.
    pub fn examine(&self, machine: usize, lives: &[Life], covered: &Coverage) -> Result<usize, Box<Broken>> {
        let total = lives.iter().flat_map(|life| &life.entries).filter(|entry| is_point(entry)).count();
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut points = 0;
        for (number, life) in lives.iter().enumerate() {
            let (mut image, mut ledger) = (life.image.clone(), life.ledger.clone());
            for (at, entry) in life.entries.iter().enumerate() {
                image.apply(entry);
                if let Entry::Left(left) = entry {
                    ledger.take(left);
                }
                // Before anything was answered there is nothing to be lost.
                if !is_point(entry) || random.usize(..total.max(1)) >= self.wanted {
                    continue;
                }
                let cut = match random.u8(0..4) {
                    0 => Cut::Dropped,
                    1 => Cut::Kept,
                    _ => Cut::Torn(random.u64(..)),
                };
                points += 1;
                let depth = Depth::Some(random.u64(..));
                look_after(&image.cut(cut), &ledger, machine, depth, covered).map_err(|difference| {
                    let lefts = life.entries[..=at].iter().filter_map(|entry| match entry {
                        Entry::Left(left) => Some(format!("{left:?}")),
                        _ => None,
                    });
                    let mut before: Vec<String> = lefts.collect();
                    before.drain(..before.len().saturating_sub(LATEST));
                    let unsynced = image.unsynced();
                    Box::new(Broken { machine, life: number, entry: at, cut, unsynced, before, difference })
                })?;
            }
        }
        Ok(points)
    }
}
