//! The rules, each a switch, and what happens to those who live by them.

use super::*;

/// In which order a session that attaches looks at its shard and at the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// It notes what is installed, then reads up to there; what is installed above waits behind.
    MarkThenRead,
    RegisterThenReadAll,
    ReadAllThenRegister,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Above a mark that was reserved ahead on disk.
    Reserved,
    AfterTheHighestRow,
    AfterTheHighestCommitted,
}

/// How a commit fails. Bits, so that a scenario can have several.
pub mod failure {
    /// It was rolled back, as it says.
    pub const ROLLED_BACK: u8 = 1;
    /// It is on disk all the same.
    pub const KEPT: u8 = 2;
    /// It is in the page cache, and gone after a power cut.
    pub const IN_CACHE: u8 = 4;
    /// It reads as rolled back, and its frames are found again by the next process.
    pub const GHOST: u8 = 8;
}

/// The rules of the write path, each a switch.
#[derive(Clone, Debug)]
pub struct Rules {
    pub client_ids_in_flight: bool,
    pub ring: bool,
    pub fork_at_install: bool,
    pub writer_tells_both: bool,
    pub attach: Attach,
    pub reattach_after_failure: bool,
    pub open_is_synced: bool,
    pub positions: Positions,
    pub own_rows_pass: bool,
    pub both_sides_clear: bool,
    pub relaxed_reads_queue: bool,
    pub relaxed_stays: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            client_ids_in_flight: true,
            ring: true,
            fork_at_install: true,
            writer_tells_both: true,
            attach: Attach::MarkThenRead,
            reattach_after_failure: true,
            open_is_synced: true,
            positions: Positions::Reserved,
            own_rows_pass: true,
            both_sides_clear: true,
            relaxed_reads_queue: true,
            relaxed_stays: true,
        }
    }
}

/// What happens to them.
#[derive(Clone, Debug)]
pub struct Pipeline {
    pub rules: Rules,
    /// Who sends to whom.
    pub messages: Vec<(usize, usize)>,
    pub devices: Vec<usize>,
    /// Attached from the start.
    pub live: Vec<usize>,
    pub history_off: bool,
    pub relaxed: bool,
    pub offline_storage_off: bool,
    /// Bob may block Alice.
    pub blocks: bool,
    pub kills: u8,
    pub power_cuts: u8,
    pub failures: u8,
    pub failure_kinds: u8,
    pub deaths: u8,
    pub evictions: u8,
    pub retries: u8,
}

impl Default for Pipeline {
    fn default() -> Self {
        Pipeline {
            rules: Rules::default(),
            messages: vec![(ALICE, BOB), (ALICE, BOB)],
            devices: vec![ALICES_TABLET, BOBS_PHONE],
            live: vec![ALICES_TABLET, BOBS_PHONE],
            history_off: false,
            relaxed: false,
            offline_storage_off: false,
            blocks: false,
            kills: 0,
            power_cuts: 0,
            failures: 0,
            failure_kinds: failure::ROLLED_BACK | failure::KEPT | failure::IN_CACHE,
            deaths: 0,
            evictions: 0,
            retries: 1,
        }
    }
}
