//! When a tree has to be measured again, so that nobody walks large trees for nothing.
//!
//! One `statvfs` tells how much the whole file system grew. A tree cannot have grown by more than that, so it is measured again only when its
//! limit could be near: every measure halves what is left. What others delete meanwhile can hide growth, so now and then it is measured anyway.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Usage;

/// Near the limit, growth by less than this is not worth a walk.
const STEP_BYTES: u64 = 8 << 20;
/// The same in files.
const STEP_FILES: u64 = 2_000;
/// A tree is measured at least this often,
const NET: Duration = Duration::from_mins(1);
/// unless that would take more than this part of the time.
const NET_SHARE: u32 = 100;

/// How far the file system's use moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Inodes; 0 on file systems that do not count them.
    pub(crate) files: u64,
}

/// Looks at one file system.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    used: Option<(u64, u64)>,
}

impl Sampler {
    /// What was added since the last look, wherever; what was freed counts nothing. The first look sees none.
    pub(crate) fn growth(&mut self, dir: &Path) -> Growth {
        let Ok(stat) = rustix::fs::statvfs(dir) else { return Growth::default() };
        let used = (stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize, stat.f_files.saturating_sub(stat.f_ffree));
        let before = self.used.replace(used).unwrap_or(used);
        Growth { bytes: used.0.saturating_sub(before.0), files: used.1.saturating_sub(before.1) }
    }
}

/// What one tree may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Bytes of blocks.
    pub(crate) bytes: u64,
    /// Inodes.
    pub(crate) files: u64,
}

impl Allowance {
    /// So many bytes, and a file for every 16 KiB of them: the share that mkfs.ext4 makes.
    pub(crate) fn of(bytes: u64) -> Self {
        Self { bytes, files: (bytes >> 14).max(1024) }
    }

    /// How full, in per cent of whichever is fuller.
    pub(crate) fn percent(&self, usage: &Usage) -> u64 {
        let part = |used: u64, most: u64| used.saturating_mul(100) / most.max(1);
        if usage.too_deep { u64::MAX } else { part(usage.bytes, self.bytes).max(part(usage.files, self.files)) }
    }

    /// More than may be.
    pub(crate) fn exceeded_by(&self, usage: &Usage) -> bool {
        usage.too_deep || usage.bytes > self.bytes || usage.files > self.files
    }
}

/// One tree under watch.
#[derive(Debug)]
pub(crate) struct Meter {
    allowance: Allowance,
    last: Option<Measured>,
    since: Growth,
}

#[derive(Debug)]
struct Measured {
    usage: Usage,
    at: Instant,
    took: Duration,
}

impl Meter {
    /// Not measured yet: due at once.
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self { allowance, last: None, since: Growth::default() }
    }

    /// The file system grew.
    pub(crate) fn grew(&mut self, growth: Growth) {
        self.since.bytes = self.since.bytes.saturating_add(growth.bytes);
        self.since.files = self.since.files.saturating_add(growth.files);
    }

    /// Shall it be measured now?
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let Some(last) = &self.last else { return true };
        let near = |grown: u64, used: u64, most: u64, step: u64| grown >= (most.saturating_sub(used) / 2).max(step);
        near(self.since.bytes, last.usage.bytes, self.allowance.bytes, STEP_BYTES)
            || near(self.since.files, last.usage.files, self.allowance.files, STEP_FILES)
            || now.saturating_duration_since(last.at) >= NET.max(last.took.saturating_mul(NET_SHARE))
    }

    /// It was, beginning `at`.
    pub(crate) fn measured(&mut self, usage: Usage, at: Instant, took: Duration) {
        self.last = Some(Measured { usage, at, took });
        self.since = Growth::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn usage(bytes: u64, files: u64) -> Usage {
        Usage { bytes, files, ..Usage::default() }
    }

    #[test]
    fn an_idle_machine_walks_once_a_minute_and_less_where_trees_are_large() {
        let begin = Instant::now();
        let mut meter = Meter::new(Allowance::of(1024 * MIB));
        assert!(meter.is_due(begin));
        meter.measured(usage(0, 1), begin, Duration::from_millis(1));
        meter.grew(Growth { bytes: MIB, files: 10 });
        assert!(!meter.is_due(begin + Duration::from_secs(59)) && meter.is_due(begin + Duration::from_mins(1)));
        meter.measured(usage(0, 1), begin, Duration::from_secs(2));
        assert!(!meter.is_due(begin + Duration::from_secs(199)) && meter.is_due(begin + Duration::from_secs(200)));
    }

    #[test]
    fn percents_are_of_the_fuller() {
        let allowance = Allowance::of(64 * MIB);
        assert_eq!(allowance.files, 4096);
        assert_eq!(allowance.percent(&usage(32 * MIB, 10)), 50);
        assert_eq!(allowance.percent(&usage(0, 4096)), 100);
        assert!(!allowance.exceeded_by(&usage(64 * MIB, 4096)) && allowance.exceeded_by(&usage(0, 4097)));
        assert!(allowance.exceeded_by(&Usage { too_deep: true, ..Usage::default() }));
    }

    proptest! {
        /// Looked at after every piece that is written: it is seen before limit and step are both passed, after few walks.
        #[test]
        fn growth_is_seen_in_time_by_few_walks(limit in 16_u64..4096, pieces in proptest::collection::vec(1_u64..64, 1..400)) {
            let (now, mut written, mut walks) = (Instant::now(), 0, 0);
            let mut meter = Meter::new(Allowance::of(limit * MIB));
            meter.measured(usage(0, 1), now, Duration::ZERO);
            for piece in pieces {
                written += piece * MIB;
                meter.grew(Growth { bytes: piece * MIB, files: 0 });
                if meter.is_due(now) {
                    walks += 1;
                    meter.measured(usage(written, 1), now, Duration::ZERO);
                    if written > limit * MIB {
                        break;
                    }
                }
                prop_assert!(written <= (limit + 8 + piece) * MIB);
            }
            // Halving down to the step, then one walk a step.
            prop_assert!(walks <= 16 + 16, "{walks} walks");
        }
    }
}
