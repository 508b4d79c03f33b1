//! What goes wrong: disks, power, the link. And backups, which stand between.

use super::Random;
use crate::audit::Depth;
use crate::disk::Fault;
use crate::world::{Step, World, look_after};
use rosterkit::store::vfs::Failure;

impl World {
    pub(super) fn fail(&mut self, machine: usize, random: &mut Random) -> Step {
        // Some time, or at once, while several messages are under way.
        let is_now = random.bool();
        let (calls, syncs) = if is_now { (20, 2) } else { (60, 4) };
        let fault = match random.u8(0..10) {
            0..3 => Fault::Call { after: random.u64(0..calls), failure: Failure::Io },
            3 | 4 => Fault::Call { after: random.u64(0..calls), failure: Failure::Full },
            5 | 6 => Fault::Sync { after: random.u64(0..syncs) },
            7 => Fault::Full,
            _ => Fault::PowerOff { after: random.u64(0..calls) },
        };
        self.plan(machine, fault);
        if is_now { self.send(machine, random) } else { Ok(()) }
    }

    pub(super) fn lose_power(&mut self, machine: usize, _: &mut Random) -> Step {
        self.count_fault("the power goes between calls");
        self.machines[machine].disk.turn_off();
        Ok(())
    }

    pub(super) fn reopen(&mut self, machine: usize, _: &mut Random) -> Step {
        self.machines[machine].disk.heal();
        self.let_recover(machine)?;
        self.advance(3_000)?;
        self.count_fault("a restart in good order");
        self.restart(machine)
    }

    pub(super) fn bend_link(&mut self, _: usize, random: &mut Random) -> Step {
        let [a, b] = self.machines.as_slice() else { return Ok(()) };
        let (Some(left), Some(right)) = (&a.relay, &b.relay) else { return Ok(()) };
        if random.bool() {
            self.link.cut([left, right], random);
            self.count_fault("the link is cut");
        } else {
            self.link.connect([left, right]);
        }
        Ok(())
    }

    /// A backup is a whole file of its own, which owes what the engine owed when it was asked for.
    pub(super) fn back_up(&mut self, machine: usize, random: &mut Random) -> Step {
        let directory = crate::world::folder().map_err(|e| e.to_string())?;
        let path = directory.path().join("im.db");
        let mut before = self.machines[machine].ledger.clone();
        self.machines[machine].disk.heal();
        match self.engine(machine)?.backup_to(&path) {
            Ok(()) => {}
            Err(_) if self.machines[machine].disk.is_off() => return Ok(()),
            Err(error) => {
                let came = self.came(machine, Err(error))?;
                return self.has_failed(machine, "a backup", &came);
            }
        }
        // Who takes something meanwhile is not owed it any more.
        self.collect()?;
        before.acked.extend(self.machines[machine].ledger.acked.clone());
        let bytes = std::fs::read(&path).map_err(|e| format!("the backup: {e}"))?;
        let kept = bytes.clone();
        let mut image = crate::disk::Image::default();
        image.put("im.db", bytes);
        // What was acknowledged a moment ago may not be on disk yet.
        let depth = Depth::Some(random.u64(..));
        look_after(&image, &before, machine, depth, &self.covered)
            .map_err(|e| format!("in a backup: {e}"))?;
        self.covered.add("backup.whole");
        self.covered.add("backup.positions");
        // What has the name stays as it is.
        let again = self.engine(machine)?.backup_to(&path);
        let after = std::fs::read(&path).map_err(|e| format!("the backup: {e}"))?;
        if again.is_ok() || after != kept {
            return Err(format!("a backup was written over: {again:?}"));
        }
        self.covered.add("backup.name");
        Ok(())
    }
}
