//! The order of lines, whatever becomes of the machine's clock (trust rule Q8).
//!
//! A line's stamp is what the wall clock said, for people. A wall clock is set back now and then, and then stamps say nothing about order. So
//! each line has a *place*: microseconds on an axis that all writers of a log share and that only moves forward, the monotonic clock. Where
//! it stood when a boot's first line was written is in `<dir>/clock`, chosen so that places are stamps as long as nobody sets the clock.
//!
//! When somebody does, each writer closes its segment and begins one whose first line says by how much place and stamp differ from now on:
//! `# clock +86400000000`. A segment without such a line has stamps for places.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::segment::{existing, give_to_owner_of, open_all};

const FILE: &str = "clock";
const MARK: &[u8] = b"# clock ";
/// Place and stamp may differ by this much, in microseconds, before a writer says so: smaller corrections of a clock are slewed, not set, and
/// those the monotonic clock follows.
pub(crate) const TOLERANCE: i64 = 100_000;

/// What both clocks of the machine say at one moment, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) wall: i64,
    pub(crate) monotonic: i64,
}

/// Where readings come from; a test has its own.
pub(crate) type Clocks = fn() -> Reading;

/// The machine's clocks. A pause between the two must not look like a clock that was set: the closest of a few tries counts.
pub(crate) fn machine() -> Reading {
    const CLOSE: i64 = 1_000;
    const TRIES: usize = 5;
    let mut best: Option<(i64, Reading)> = None;
    for _ in 0..TRIES {
        let (before, wall, after) = (monotonic(), Timestamp::now().as_microsecond(), monotonic());
        let apart = after - before;
        if best.is_none_or(|(closest, _)| apart < closest) {
            best = Some((apart, Reading { wall, monotonic: after }));
        }
        if apart <= CLOSE {
            break;
        }
    }
    best.map_or(Reading { wall: 0, monotonic: 0 }, |(_, reading)| reading)
}

fn monotonic() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

/// The place of a moment whose monotonic time is 0, in this log since this boot.
pub(crate) fn axis(dir: &Path, now: Reading) -> i64 {
    let boot = boot_id();
    let ours = now.wall - now.monotonic;
    let path = dir.join(FILE);
    let known = read(&path);
    if let Some(base) = known.as_deref().and_then(|text| parse(text, &boot)) {
        return base;
    }
    // Never before what an earlier boot wrote, though the clock may have gone wrong while the machine was off.
    let base = newest(dir).map_or(ours, |newest| ours.max(newest + 1 - now.monotonic));
    match write(dir, &path, &boot, base, known.is_some()) {
        Ok(()) => base,
        // Another writer was first: its word counts. A disk that is full: everybody chooses the same, if nobody sets the clock meanwhile.
        Err(_) => read(&path).and_then(|text| parse(&text, &boot)).unwrap_or(base),
    }
}

fn read(path: &Path) -> Option<String> {
    const LONGEST: u64 = 256;
    let mut text = String::new();
    existing(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
}

fn parse(text: &str, boot: &str) -> Option<i64> {
    let (of, base) = text.trim().split_once(' ')?;
    (of == boot).then(|| base.parse().ok()).flatten()
}

fn newest(dir: &Path) -> Option<i64> {
    open_all(dir).ok()?.iter().filter_map(|segment| segment.newest().ok().flatten()).max()
}

/// Whole or not at all. Two writers of a fresh log: one is first. Two writers after a boot: their words differ by less than anybody sees.
fn write(dir: &Path, path: &Path, boot: &str, base: i64, replace: bool) -> io::Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let temporary = dir.join(format!(".clock.{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let work = || {
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&temporary)?;
        give_to_owner_of(dir, &file)?;
        writeln!(file, "{boot} {base}")?;
        if replace { fs::rename(&temporary, path) } else { fs::hard_link(&temporary, path) }
    };
    let written = work();
    let _ = fs::remove_file(&temporary);
    written
}

/// The first line of a segment whose places are not its stamps.
pub(crate) fn mark(shift: i64) -> String {
    format!("# clock {shift:+}\n")
}

/// How far places lie after stamps, if this line says so.
pub(crate) fn shift_of(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line.strip_prefix(MARK)?).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_writer_of_a_boot_has_the_same_axis() {
        let dir = tempfile::tempdir().unwrap();
        let first = axis(dir.path(), Reading { wall: 5_000_000, monotonic: 1_000_000 });
        let after_a_jump = axis(dir.path(), Reading { wall: 1_000_000, monotonic: 3_000_000 });
        assert_eq!((first, after_a_jump), (4_000_000, 4_000_000));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing but the file is left");
    }

    #[test]
    fn a_boot_comes_after_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("web.log"), "1970-01-01T00:01:00.000000+00:00 app[web.1]: a minute\n").unwrap();
        fs::write(dir.path().join(FILE), "of-another-boot 7\n").unwrap();
        let base = axis(dir.path(), Reading { wall: 2_000_000, monotonic: 1_000_000 });
        assert_eq!(base + 1_000_000, 60_000_001, "the clock was set back while the machine was off");
        assert_eq!(axis(dir.path(), Reading { wall: 9, monotonic: 9 }), base);
    }

    #[test]
    fn a_link_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("elsewhere"), format!("{} 7\n", boot_id())).unwrap();
        std::os::unix::fs::symlink("elsewhere", dir.path().join(FILE)).unwrap();
        std::os::unix::fs::symlink("elsewhere", dir.path().join("web.log")).unwrap();
        assert_eq!(axis(dir.path(), Reading { wall: 5, monotonic: 2 }), 3);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn marks_are_read_back() {
        for shift in [-86_400_000_000, 86_400_000_000] {
            assert_eq!(shift_of(mark(shift).as_bytes()), Some(shift));
        }
        assert_eq!(shift_of(b"# clock soon"), None);
        assert_eq!(shift_of(b"2026-01-02T03:04:05.123456+00:00 app[web.1]: # clock +1"), None);
    }

    #[test]
    fn the_machine_has_both_clocks() {
        let (one, two) = (machine(), machine());
        assert!(two.monotonic >= one.monotonic && one.monotonic > 0 && one.wall > 0);
        assert!(((two.wall - one.wall) - (two.monotonic - one.monotonic)).abs() < TOLERANCE);
    }
}
