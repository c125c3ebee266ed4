//! Between the event loop, which never waits, and the log's thread, which may wait for a disk as long as that likes.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// More room for the platform's lines, so that no flood of the app keeps them out. In bytes.
const RESERVE: usize = 64 * 1024;
/// Between two notices of losses.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// What is handed over at once.
pub(super) enum Piece {
    /// Whole lines of the app, and when they were read.
    App(Timestamp, Box<[u8]>),
    /// A line of the platform.
    Platform(Box<str>),
}

impl Piece {
    /// Bytes of memory.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::App(_, text) => text.len(),
                Self::Platform(text) => text.len(),
            }
    }
}

/// Why lines went nowhere.
#[derive(Clone, Copy)]
pub(super) enum Why {
    /// There were more than the log takes of this app.
    Flooded,
    /// The disk did not take those before them.
    Crowded,
    /// The disk refused them.
    Failed,
}

/// Lines that went nowhere, and since when.
#[derive(Default)]
pub(super) struct Lost(pub(super) Option<(u64, Timestamp)>);

impl Lost {
    fn add(&mut self, lines: u64, since: Timestamp) {
        if lines > 0 {
            let (before, first) = self.0.unwrap_or((0, since));
            self.0 = Some((before + lines, first.min(since)));
        }
    }
}

/// Lines lost that nobody was told of, by [`Why`].
pub(super) type Losses = [Lost; 3];

/// What the thread does in one go: writes the pieces, then tells of losses if they are due.
pub(super) struct Round {
    pub(super) pieces: Vec<Piece>,
    /// Losses are told now, due or not.
    tell: bool,
    mark: u64,
}

/// The queue itself.
pub(super) struct Queue {
    room: usize,
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    pieces: Vec<Piece>,
    /// Of these, and of those the thread has.
    bytes: usize,
    losses: Losses,
    due: Option<Instant>,
    tell: bool,
    /// What was handed over, and how far of it the thread came.
    handed: u64,
    written: u64,
    /// The thread waits.
    asleep: bool,
    /// The event loop wants to hear of the next round's end.
    watched: bool,
}

impl Queue {
    /// An empty one. Of the app's lines `room` bytes may wait for the log's thread, those it is writing included: memory that is used only while
    /// the disk is slower than the app.
    pub(super) fn new(room: usize) -> Self {
        Self { room, state: Mutex::default(), came: Condvar::new() }
    }

    /// Nothing in here is half-done when a thread panics: the lock is held for moves only.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.asleep) {
            self.came.notify_one();
        }
    }

    /// Hands over. `false` = there is no room, unless `anyway`.
    pub(super) fn push(&self, piece: Piece, anyway: bool) -> bool {
        let room = if matches!(piece, Piece::Platform(_)) { self.room + RESERVE } else { self.room };
        let mut state = self.state();
        let bytes = state.bytes + piece.cost();
        if bytes > room && !anyway {
            return false;
        }
        state.bytes = bytes;
        state.handed += 1;
        state.pieces.push(piece);
        self.wake(&mut state);
        true
    }

    /// Hands over a line of the platform.
    pub(super) fn note(&self, line: &str) {
        // It is not counted where even the reserve is full: the platform says what matters again.
        let _ = self.push(Piece::Platform(line.into()), false);
    }

    /// Counts lines that are not handed over.
    pub(super) fn lost(&self, why: Why, lines: u64) {
        self.count(why, lines, Timestamp::now());
    }

    /// Wants losses told behind what was handed over, now.
    pub(super) fn tell(&self) {
        let mut state = self.state();
        state.tell = true;
        state.handed += 1;
        self.wake(&mut state);
    }

    /// How much was handed over.
    pub(super) fn mark(&self) -> u64 {
        self.state().handed
    }

    /// The thread is done with what was handed over until `mark`. If not, the event loop hears when that may have changed.
    pub(super) fn written(&self, mark: u64) -> bool {
        let mut state = self.state();
        let written = state.written >= mark;
        state.watched |= !written;
        written
    }

    /// The thread: waits for something to do, at most until then.
    pub(super) fn next(&self, until: Option<Instant>) -> Option<Round> {
        let mut state = self.state();
        while state.pieces.is_empty() && !state.tell {
            let now = Instant::now();
            if state.due.is_some_and(|due| due <= now) {
                break;
            }
            let left = state.due.into_iter().chain(until).min().map(|end| end.saturating_duration_since(now));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            state.asleep = true;
            state = match left {
                Some(left) => self.came.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.came.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.asleep = false;
        let (pieces, tell) = (std::mem::take(&mut state.pieces), std::mem::take(&mut state.tell));
        Some(Round { pieces, tell, mark: state.handed })
    }

    /// The thread: done with a piece of this cost.
    pub(super) fn passed(&self, cost: usize) {
        self.state().bytes -= cost;
    }

    /// The thread: counts lines it could not write, or could not tell of.
    pub(super) fn count(&self, why: Why, lines: u64, since: Timestamp) {
        if lines == 0 {
            return;
        }
        let mut state = self.state();
        state.losses[why as usize].add(lines, since);
        if state.due.is_none() {
            state.due = Some(Instant::now() + PAUSE);
            self.wake(&mut state);
        }
    }

    /// The thread: losses to be told now.
    pub(super) fn losses(&self, round: &Round) -> Losses {
        let mut state = self.state();
        if !round.tell && state.due.is_none_or(|due| due > Instant::now()) {
            return Losses::default();
        }
        state.due = None;
        std::mem::take(&mut state.losses)
    }

    /// The thread: a round is done. Whether the event loop wants to hear of it.
    pub(super) fn done(&self, round: &Round) -> bool {
        let mut state = self.state();
        state.written = round.mark;
        std::mem::take(&mut state.watched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: usize) -> Piece {
        Piece::App(Timestamp::now(), vec![b'\n'; bytes].into())
    }

    #[test]
    fn what_waits_is_bounded_and_the_platform_has_room_left() {
        let queue = Queue::new(1024 * 1024);
        let pushed = (0..1000).take_while(|_| queue.push(lines(32 * 1024), false)).count();
        assert_eq!(pushed, 31, "a mebibyte, with what the pieces cost themselves");
        queue.note("State changed from up to crashed");
        assert!(queue.push(lines(32 * 1024), true), "an ended app's last words");
        let round = queue.next(None).unwrap();
        assert_eq!((round.pieces.len(), round.tell), (33, false));
        assert!(!queue.push(lines(32 * 1024), false), "what is being written waits, too");
        round.pieces[..3].iter().for_each(|piece| queue.passed(piece.cost()));
        assert!(queue.push(lines(32 * 1024), false), "what is written does not");
    }

    #[test]
    fn a_mark_is_reached_when_all_before_it_is_done() {
        let queue = Queue::new(1024);
        queue.push(lines(1), false);
        let first = queue.next(None).unwrap();
        queue.push(lines(1), false);
        let mark = queue.mark();
        queue.done(&first);
        assert!(!queue.written(mark));
        let second = queue.next(None).unwrap();
        queue.push(lines(1), false);
        assert!(queue.done(&second) && queue.written(mark) && !queue.written(queue.mark()));
    }

    #[test]
    fn losses_are_told_after_a_pause_or_when_asked_and_counted_on_when_that_fails() {
        let queue = Queue::new(1024);
        queue.lost(Why::Flooded, 2);
        queue.push(lines(1), false);
        let round = queue.next(None).unwrap();
        assert!(queue.losses(&round).iter().all(|lost| lost.0.is_none()), "not yet");
        queue.tell();
        let round = queue.next(None).unwrap();
        let [Lost(Some((2, since))), Lost(None), Lost(None)] = queue.losses(&round) else { panic!("2 were lost") };
        queue.lost(Why::Flooded, 3);
        queue.count(Why::Flooded, 2, since);
        assert!(queue.next(None).unwrap().pieces.is_empty(), "they are due by themselves");
        let again = queue.losses(&Round { tell: false, ..round });
        assert_eq!(again[0].0, Some((5, since)));
    }
}
