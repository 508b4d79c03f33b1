//! Every rule, with the scenario in which it is missed, and the scenarios in which all of them hold.

use crate::claims::Claims;
use crate::handshake::{Handshake, Stamps};
use crate::index::Index;
use crate::pending::Redirect;
use crate::pipeline::*;
use crate::relay::{Relay, Rules};
use crate::search::{Outcome, search};

/// A rule left out, in the smallest scenario that misses it.
pub struct LeftOut {
    /// The rule, as the decision on the write path words it.
    pub rule: &'static str,
    /// The promise that is broken, as the counterexample names it.
    pub breaks: &'static str,
    pub search: fn(usize) -> Outcome,
}

/// A scenario with every rule on.
pub struct Whole {
    pub name: &'static str,
    pub search: fn(usize) -> Outcome,
}

fn pipeline(bound: usize, change: impl FnOnce(&mut Pipeline)) -> Outcome {
    let mut pipeline = Pipeline::default();
    change(&mut pipeline);
    search(&pipeline, bound)
}

fn relay(bound: usize, change: impl FnOnce(&mut Rules)) -> Outcome {
    let mut rules = Rules::ALL;
    change(&mut rules);
    search(&Relay { rules, cuts: 1, kills: 1, not_now: true }, bound)
}

pub const LEFT_OUT: &[LeftOut] = &[
    LeftOut {
        rule: "the sender's shard keeps the client ids in flight",
        breaks: "once",
        search: |n| pipeline(n, |p| p.rules.client_ids_in_flight = false),
    },
    LeftOut {
        rule: "a row is deleted only in a transaction that puts its client id into the ring",
        breaks: "once",
        search: |n| {
            pipeline(n, |p| {
                p.rules.ring = false;
                (p.history_off, p.kills, p.messages) = (true, 1, vec![(ALICE, BOB)]);
            })
        },
    },
    LeftOut {
        rule: "the fork is made when a row is installed, over the sessions attached then",
        breaks: "delivery",
        search: |n| {
            pipeline(n, |p| {
                p.rules.fork_at_install = false;
                p.live = vec![ALICES_TABLET];
            })
        },
    },
    LeftOut {
        rule: "the writer itself tells both accounts' shards, in position order",
        breaks: "order",
        search: |n| {
            pipeline(n, |p| {
                p.rules.writer_tells_both = false;
                p.messages = vec![(ALICE, BOB), (ALICE, CAROL)];
                p.devices = vec![ALICES_TABLET, CAROLS_PHONE];
                p.live = p.devices.clone();
            })
        },
    },
    LeftOut {
        rule: "attaching notes the mark before it reads (registering first)",
        breaks: "delivery",
        search: |n| {
            pipeline(n, |p| {
                p.rules.attach = Attach::RegisterThenReadAll;
                p.deaths = 1;
            })
        },
    },
    LeftOut {
        rule: "attaching notes the mark before it reads (reading first)",
        breaks: "delivery",
        search: |n| {
            pipeline(n, |p| {
                p.rules.attach = Attach::ReadAllThenRegister;
                p.live = vec![ALICES_TABLET];
            })
        },
    },
    LeftOut {
        rule: "after a failed commit every session is attached again as if new",
        breaks: "delivery",
        search: |n| {
            pipeline(n, |p| {
                p.rules.reattach_after_failure = false;
                (p.failures, p.failure_kinds) = (1, failure::KEPT);
            })
        },
    },
    LeftOut {
        rule: "opening ends with what was recovered synced (kill, then power cut)",
        breaks: "durability",
        search: |n| {
            pipeline(n, |p| {
                p.rules.open_is_synced = false;
                (p.kills, p.power_cuts) = (1, 1);
            })
        },
    },
    LeftOut {
        rule: "opening ends with what was recovered synced (failed sync)",
        breaks: "durability",
        search: |n| {
            pipeline(n, |p| {
                p.rules.open_is_synced = false;
                (p.failures, p.failure_kinds) = (1, failure::IN_CACHE);
            })
        },
    },
    LeftOut {
        rule: "opening ends with what was recovered synced (frames left in the log)",
        breaks: "refusal",
        search: |n| {
            pipeline(n, |p| {
                p.rules.open_is_synced = false;
                (p.failures, p.failure_kinds, p.kills, p.deaths) = (1, failure::GHOST, 1, 1);
                (p.offline_storage_off, p.messages) = (true, vec![(ALICE, BOB)]);
            })
        },
    },
    LeftOut {
        rule: "positions never repeat (next after the highest row)",
        breaks: "order",
        search: |n| {
            pipeline(n, |p| {
                p.rules.positions = Positions::AfterTheHighestRow;
                (p.history_off, p.kills) = (true, 1);
            })
        },
    },
    LeftOut {
        rule: "no position above the reserved mark is shown, in relaxed mode too",
        breaks: "durability",
        search: |n| {
            pipeline(n, |p| {
                p.rules.positions = Positions::AfterTheHighestCommitted;
                (p.relaxed, p.history_off, p.kills, p.retries) = (true, true, 1, 0);
            })
        },
    },
    LeftOut {
        rule: "a row goes when both accounts' sides are clear",
        breaks: "durability",
        search: |n| {
            pipeline(n, |p| {
                p.rules.both_sides_clear = false;
                (p.history_off, p.live) = (true, vec![BOBS_PHONE]);
            })
        },
    },
    LeftOut {
        rule: "a cursor passes rows its own device sent",
        breaks: "deletion",
        search: |n| {
            pipeline(n, |p| {
                p.rules.own_rows_pass = false;
                p.history_off = true;
                p.devices = vec![ALICES_PHONE, ALICES_TABLET, BOBS_PHONE];
                p.live = p.devices.clone();
            })
        },
    },
    LeftOut {
        rule: "relaxed: attaching reads the queued rows as well",
        breaks: "delivery",
        search: |n| {
            pipeline(n, |p| {
                p.rules.relaxed_reads_queue = false;
                (p.relaxed, p.retries, p.live) = (true, 0, vec![ALICES_TABLET]);
            })
        },
    },
    LeftOut {
        rule: "relaxed: an account with unwritten rows stays resident",
        breaks: "once",
        search: |n| {
            pipeline(n, |p| {
                p.rules.relaxed_stays = false;
                (p.relaxed, p.evictions, p.messages) = (true, 1, vec![(ALICE, BOB)]);
            })
        },
    },
    LeftOut {
        rule: "each half of a direction carries the position that last set it (older than one's own are ignored)",
        breaks: "at rest",
        search: |n| search(&Handshake { stamps: Stamps::OneForEachSide, operations: 2, crashes: 1 }, n),
    },
    LeftOut {
        rule: "each half of a direction carries the position that last set it (every signal counts)",
        breaks: "at rest",
        search: |n| search(&Handshake { stamps: Stamps::None, operations: 2, crashes: 1 }, n),
    },
    LeftOut {
        rule: "the receiver's commit settles the origin's pending row",
        breaks: "two rows",
        search: |n| search(&Redirect { settled_with_the_commit: false, older_first: true }, n),
    },
    LeftOut {
        rule: "pending rows of a pair are sent in order, before anything new",
        breaks: "out of order",
        search: |n| search(&Redirect { settled_with_the_commit: true, older_first: false }, n),
    },
    LeftOut {
        rule: "a reader copies the tail before it opens its transaction",
        breaks: "misses",
        search: |n| search(&Index { tail_first: false, whole_pass: true, deletion_unindexes: true }, n),
    },
    LeftOut {
        rule: "the mark moves when a whole pass is done",
        breaks: "neither",
        search: |n| search(&Index { tail_first: true, whole_pass: false, deletion_unindexes: true }, n),
    },
    LeftOut {
        rule: "a deletion takes its index entries with it",
        breaks: "is left",
        search: |n| search(&Index { tail_first: true, whole_pass: true, deletion_unindexes: false }, n),
    },
    LeftOut {
        rule: "claimed_upto is the last position below which nothing is unclaimed",
        breaks: "counts as claimed",
        search: |n| search(&crate::claims::Claims { mark_below_unclaimed: false, passed_on: true }, n),
    },
    LeftOut {
        rule: "rows of a session that dies go at once to a live one",
        breaks: "nobody has it",
        search: |n| search(&Claims { mark_below_unclaimed: true, passed_on: false }, n),
    },
    LeftOut {
        rule: "towards a relay a pair has one parcel under way",
        breaks: "order",
        search: |n| relay(n, |r| r.one_parcel = false),
    },
    LeftOut {
        rule: "what a relay did not settle is given out again",
        breaks: "lost",
        search: |n| relay(n, |r| r.given_out_again = false),
    },
    LeftOut {
        rule: "a parcel that came in is answered when it is on disk",
        breaks: "lost",
        search: |n| relay(n, |r| r.answered_when_on_disk = false),
    },
    LeftOut {
        rule: "a delivery id is remembered in the transaction of its row",
        breaks: "two rows",
        search: |n| relay(n, |r| r.remembered_with_the_rows = false),
    },
    LeftOut {
        rule: "an account takes nothing in while a parcel to it is on its way to the disk",
        breaks: "two rows",
        search: |n| relay(n, |r| r.one_at_a_time = false),
    },
    LeftOut {
        rule: "the number of a parcel means nothing in another connection",
        breaks: "lost",
        search: |n| relay(n, |r| r.numbers_of_one_connection = false),
    },
    LeftOut {
        rule: "deliveries are remembered for longer than their sender tries",
        breaks: "two rows",
        search: |n| relay(n, |r| r.remembered_for_longer = false),
    },
    LeftOut {
        rule: "the messages of a parcel are written all or none",
        breaks: "order",
        search: |n| relay(n, |r| r.all_or_none = false),
    },
];

pub const WHOLE: &[Whole] = &[
    Whole {
        name: "two messages, a session that dies, a repeat",
        search: |n| pipeline(n, |p| (p.deaths, p.live) = (1, vec![ALICES_TABLET])),
    },
    Whole {
        name: "a failed commit of any kind, then a power cut",
        search: |n| pipeline(n, |p| (p.failures, p.power_cuts) = (1, 1)),
    },
    Whole { name: "a kill and a power cut", search: |n| pipeline(n, |p| (p.kills, p.power_cuts) = (1, 1)) },
    Whole {
        name: "history off, a kill, a failed commit",
        search: |n| pipeline(n, |p| (p.history_off, p.kills, p.failures) = (true, 1, 1)),
    },
    Whole {
        name: "history off, the sending device has a cursor, a kill",
        search: |n| {
            pipeline(n, |p| {
                p.devices = vec![ALICES_PHONE, ALICES_TABLET, BOBS_PHONE];
                (p.history_off, p.kills, p.live) = (true, 1, vec![ALICES_PHONE, BOBS_PHONE]);
            })
        },
    },
    Whole {
        name: "three shards, a kill",
        search: |n| {
            pipeline(n, |p| {
                p.messages = vec![(ALICE, BOB), (ALICE, CAROL)];
                p.devices = vec![ALICES_TABLET, BOBS_PHONE, CAROLS_PHONE];
                (p.kills, p.live) = (1, vec![ALICES_TABLET]);
            })
        },
    },
    Whole {
        name: "a block, a failed commit",
        search: |n| pipeline(n, |p| (p.blocks, p.failures) = (true, 1)),
    },
    Whole {
        name: "offline storage off, every kind of failure, a kill",
        search: |n| {
            pipeline(n, |p| (p.offline_storage_off, p.failures, p.failure_kinds, p.kills) = (true, 1, 15, 1))
        },
    },
    Whole {
        name: "relaxed, history off, a kill, an eviction",
        search: |n| pipeline(n, |p| (p.relaxed, p.history_off, p.kills, p.evictions) = (true, true, 1, 1)),
    },
    Whole {
        name: "history off, an eviction, a kill, a death",
        search: |n| pipeline(n, |p| (p.history_off, p.evictions, p.kills, p.deaths) = (true, 1, 1, 1)),
    },
    Whole {
        name: "the handshake, two operations a side, a crash",
        search: |n| search(&Handshake { stamps: Stamps::Halves, operations: 2, crashes: 1 }, n),
    },
    Whole {
        name: "the handshake, three operations a side, a crash",
        search: |n| search(&Handshake { stamps: Stamps::Halves, operations: 3, crashes: 1 }, n),
    },
    Whole {
        name: "a redirect",
        search: |n| search(&Redirect { settled_with_the_commit: true, older_first: true }, n),
    },
    Whole {
        name: "tail and index",
        search: |n| search(&Index { tail_first: true, whole_pass: true, deletion_unindexes: true }, n),
    },
    Whole { name: "claims", search: |n| search(&Claims { mark_below_unclaimed: true, passed_on: true }, n) },
    Whole {
        name: "a relay, two cuts, two kills, a refusal",
        search: |n| search(&Relay { rules: Rules::ALL, cuts: 2, kills: 2, not_now: true }, n),
    },
];
