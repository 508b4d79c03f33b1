//! What leaves next: lanes that take turns frame by frame, so that none starves another.

use crate::frame::{Frame, FrameWriter};
use crate::window::Received;
use std::collections::VecDeque;

/// How many bytes a lane holds, less its last frame. What waits here is late for nothing: the pipe is full.
const LANE_BYTES: usize = 256 << 10;

/// Frames of one sort, in order.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    frames: VecDeque<Frame<Vec<u8>>>,
    bytes: usize,
}

impl Lane {
    pub(crate) fn has_room(&self) -> bool {
        self.bytes < LANE_BYTES
    }

    pub(crate) fn push(&mut self, frame: Frame<Vec<u8>>) {
        self.bytes += frame.payload.len();
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> Option<Frame<Vec<u8>>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.payload.len();
        Some(frame)
    }

    fn clear(&mut self) {
        *self = Lane::default();
    }
}

/// Who may go next.
#[derive(Clone, Copy, Debug, Default)]
enum Turn {
    #[default]
    Answers,
    Parcels,
    Notices,
}

/// How the end is.
#[derive(Debug, Default)]
enum Closing {
    #[default]
    Open,
    /// What is still under way leaves, and then this.
    With(Frame<Vec<u8>>),
    /// Nothing leaves any more.
    Closed,
}

/// What waits for the pipe.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// Hello and Seen, before everything else.
    pub(crate) opening: VecDeque<Frame<Vec<u8>>>,
    pub(crate) parcels: Lane,
    pub(crate) notices: Lane,
    closing: Closing,
    turn: Turn,
    writer: FrameWriter,
    /// The frame that is leaving.
    leaving: VecDeque<u8>,
}

/// What left with [`Lanes::take`].
pub(crate) struct Taken {
    pub(crate) bytes: Vec<u8>,
    /// How many parcels were begun.
    pub(crate) parcels: usize,
}

impl Lanes {
    /// Of parcels and notices nothing leaves any more.
    pub(crate) fn clear(&mut self) {
        self.parcels.clear();
        self.notices.clear();
    }

    /// Lets answers leave, and this last.
    pub(crate) fn close(&mut self, goodbye: Frame<Vec<u8>>) {
        self.clear();
        self.closing = Closing::With(goodbye);
    }

    /// Up to `max` bytes.
    pub(crate) fn take(&mut self, max: usize, answers: &mut Received) -> Taken {
        let mut parcels = 0;
        while self.leaving.len() < max
            && let Some(frame) = self.next(answers, &mut parcels)
        {
            self.writer.write(&frame, &mut self.leaving);
        }
        let count = max.min(self.leaving.len());
        Taken { bytes: self.leaving.drain(..count).collect(), parcels }
    }

    fn next(&mut self, answers: &mut Received, parcels: &mut usize) -> Option<Frame<Vec<u8>>> {
        if matches!(self.closing, Closing::Closed) {
            return None;
        }
        let frame = self.opening.pop_front().or_else(|| self.next_in_turn(answers, parcels));
        if frame.is_some() || matches!(self.closing, Closing::Open) {
            return frame;
        }
        match std::mem::replace(&mut self.closing, Closing::Closed) {
            Closing::With(goodbye) => Some(goodbye),
            Closing::Open | Closing::Closed => None,
        }
    }

    fn next_in_turn(&mut self, answers: &mut Received, parcels: &mut usize) -> Option<Frame<Vec<u8>>> {
        for _ in 0..3 {
            let (frame, next) = match self.turn {
                Turn::Answers => (answers.settle(), Turn::Parcels),
                Turn::Parcels => {
                    let frame = self.parcels.pop();
                    *parcels += usize::from(frame.is_some());
                    (frame, Turn::Notices)
                }
                Turn::Notices => (self.notices.pop(), Turn::Answers),
            };
            self.turn = next;
            if frame.is_some() {
                return frame;
            }
        }
        None
    }
}
