//! Output lines of a container in log mode. Whatever happens to the log, the app never waits and never notices (rule S15).

use jiff::Timestamp;
use landfall_logs::{LogIdentity, SegmentWriter};
use landfall_runtime_wire::ContainerId;
use landfall_runtime_wire::LogTarget;

/// A line longer than this is cut here, so that an endless one needs no endless memory.
const LONGEST: usize = 10_000;

/// The output of one container, split into lines.
pub(crate) struct Output {
    writer: Option<SegmentWriter>,
    platform: LogIdentity,
    partial: Vec<u8>,
    /// Lines lost since the last one that could be written.
    dropped: u64,
}

impl Output {
    /// Opens the log; if that fails the lines are dropped and counted, as on a full disk.
    pub(crate) fn open(target: Option<&LogTarget>, id: &ContainerId) -> std::result::Result<Self, String> {
        let identity = |source: &str, name: &str| LogIdentity::new(source, name).map_err(|error| error.to_string());
        let platform = identity("heroku", target.map_or("container", |target| &target.name))?;
        let writer = match target {
            Some(target) => {
                let stem = format!("{}.{id}", target.name);
                SegmentWriter::open(&target.dir, &stem, identity(&target.source, &target.name)?).ok()
            }
            None => None,
        };
        Ok(Self { writer, platform, partial: Vec::new(), dropped: 0 })
    }

    /// Takes bytes; whole lines are appended.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(bytes);
        let whole = partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole = if partial.len() - whole >= LONGEST { partial.len() } else { whole };
        if whole > 0 {
            self.append(&partial[..whole]);
            partial.drain(..whole);
        }
        self.partial = partial;
    }

    /// The output ended: what has no newline is a line too.
    pub(crate) fn finish(&mut self) {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.append(&rest);
        }
        self.flush();
    }

    /// Writes the batch.
    pub(crate) fn flush(&mut self) {
        if self.writer.as_mut().is_some_and(|writer| writer.flush().is_err()) {
            self.dropped += 1;
        }
    }

    fn append(&mut self, text: &[u8]) {
        let now = Timestamp::now();
        let Some(writer) = &mut self.writer else { return };
        if self.dropped > 0 {
            let notice =
                format!("Error L12 (Local buffer overflow). {} batches of messages dropped, the log could not be written.", self.dropped);
            if writer.append_as(now, &self.platform, notice.as_bytes()).is_err() {
                self.dropped += 1;
                return;
            }
            self.dropped = 0;
        }
        if writer.append(now, text).is_err() {
            self.dropped += 1;
        }
    }
}
