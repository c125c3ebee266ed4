//! The table on disk: the router's memory when nobody is there to tell it again.
//!
//! `table.json` is the whole table at some moment, `table.journal` what changed since, one line a change: with 100,000 apps a deploy of
//! one writes a line and not all of them. Each whole table has a number, which its journal repeats: an older journal counts for nothing.
//!
//! Dynos do not survive a reboot of the machine, and their addresses are given out anew: of a table from before it, only the hosts count.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use landfall_failpoint::failpoint;
use serde::{Deserialize, Serialize};

use crate::control::{AppRoutes, Operation, Table};

/// A journal longer than this, and than half of the whole table, is replaced by a new whole table.
const JOURNAL_BYTES: usize = 1024 * 1024;

/// The table's files. Every change is on disk when its call returns `Ok`; after a crash at any point they hold the table as it was
/// after some change, at least the last one that returned `Ok`.
#[derive(Debug)]
pub(crate) struct TableFile {
    path: PathBuf,
    /// The kernel's name for the time since the machine started.
    boot: String,
    epoch: u64,
    whole_bytes: usize,
    /// `None` until the first change after a whole table.
    journal: Option<Journal>,
    behind: bool,
}

#[derive(Debug)]
struct Journal {
    file: File,
    bytes: usize,
}

#[derive(Serialize, Deserialize)]
struct Epoch {
    #[serde(default)]
    epoch: u64,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(flatten)]
    epoch: Epoch,
    #[serde(default)]
    boot: String,
    #[serde(flatten)]
    table: Table,
}

impl TableFile {
    /// Reads the table; an empty one if there is none. One written in another boot than `boot` has no dynos: visitors wait for new ones.
    pub(crate) fn open(path: PathBuf, boot: String) -> io::Result<(Self, Table)> {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self { path, boot, epoch: 0, whole_bytes: 0, journal: None, behind: false }, Table::default()));
            }
            Err(error) => return Err(error),
        };
        let Whole { epoch: Epoch { epoch }, boot: written_in, mut table } = serde_json::from_slice(&bytes)?;
        if epoch > 0
            && let Ok(journal) = std::fs::read(journal_of(&path))
        {
            replay(&mut table, epoch, &journal);
        }
        if written_in != boot {
            table.apps.iter_mut().for_each(|app| app.backends.clear());
        }
        // What the journal says goes into the next whole table: nobody appends to a line that may be torn.
        Ok((Self { path, boot, epoch, whole_bytes: 0, journal: None, behind: false }, table))
    }

    /// Writes one change; or everything, when there is no journal to add to or when it has become long.
    pub(crate) fn change(&mut self, change: &Operation, whole: impl FnOnce() -> (u64, Vec<Box<str>>)) -> io::Result<()> {
        let written = self.write(change, whole);
        self.behind = written.is_err();
        written
    }

    /// A change could not be written (the disk was full) and nothing was written since.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Writes everything, for changes that could not be written.
    pub(crate) fn catch_up(&mut self, whole: impl FnOnce() -> (u64, Vec<Box<str>>)) -> io::Result<()> {
        let written = self.replace(whole());
        self.behind = written.is_err();
        written
    }

    fn write(&mut self, change: &Operation, whole: impl FnOnce() -> (u64, Vec<Box<str>>)) -> io::Result<()> {
        let usable =
            self.whole_bytes > 0 && self.journal.as_ref().is_none_or(|journal| journal.bytes <= self.whole_bytes / 2 + JOURNAL_BYTES);
        if matches!(change, Operation::ReplaceTable { .. }) || !usable {
            return self.replace(whole());
        }
        let mut line = serde_json::to_vec(change)?;
        line.push(b'\n');
        let added = self.add(&line);
        if added.is_err() {
            // It may end with half a line.
            self.whole_bytes = 0;
        }
        added
    }

    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        let journal = match &mut self.journal {
            Some(journal) => journal,
            none => {
                let mut file = File::create(journal_of(&self.path))?;
                let mut first = serde_json::to_vec(&Epoch { epoch: self.epoch })?;
                first.push(b'\n');
                file.write_all(&first)?;
                sync_parent(&self.path)?;
                none.insert(Journal { file, bytes: 0 })
            }
        };
        failpoint("router.journal.before");
        journal.file.write_all(line)?;
        journal.bytes += line.len();
        journal.file.sync_data()
    }

    /// Replaces everything.
    fn replace(&mut self, (generation, apps): (u64, Vec<Box<str>>)) -> io::Result<()> {
        self.whole_bytes = 0;
        self.journal = None;
        self.epoch += 1;
        let boot = serde_json::to_string(&self.boot)?;
        let mut text = format!("{{\"epoch\":{},\"boot\":{boot},\"generation\":{generation},\"apps\":[", self.epoch).into_bytes();
        for (at, app) in apps.iter().enumerate() {
            text.extend_from_slice(if at == 0 { b"\n" } else { b",\n" });
            text.extend_from_slice(app.as_bytes());
        }
        text.extend_from_slice(b"\n]}\n");
        let temporary = self.path.with_extension("json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        failpoint("router.table.written");
        std::fs::rename(&temporary, &self.path)?;
        sync_parent(&self.path)?;
        self.whole_bytes = text.len();
        Ok(())
    }
}

/// The kernel's name for the time since the machine started (random(4)); empty where there is no such thing.
pub(crate) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

fn journal_of(path: &Path) -> PathBuf {
    path.with_extension("journal")
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?.sync_all()
}

/// Makes the changes of a journal, up to a line that is not whole.
fn replay(table: &mut Table, epoch: u64, journal: &[u8]) {
    let mut lines = journal.split_inclusive(|&byte| byte == b'\n');
    let belongs = lines.next().and_then(|line| serde_json::from_slice::<Epoch>(line).ok()).is_some_and(|first| first.epoch == epoch);
    if !belongs {
        return;
    }
    let mut apps: BTreeMap<String, AppRoutes> = std::mem::take(&mut table.apps).into_iter().map(|app| (app.id.clone(), app)).collect();
    for line in lines.filter(|line| line.ends_with(b"\n")) {
        match serde_json::from_slice(line) {
            Ok(Operation::ReplaceApp { generation, app }) => {
                table.generation = table.generation.max(generation);
                apps.insert(app.id.clone(), app);
            }
            Ok(Operation::RemoveApp { generation, app }) => {
                table.generation = table.generation.max(generation);
                apps.remove(&app);
            }
            _ => break,
        }
    }
    table.apps = apps.into_values().collect();
}

#[cfg(test)]
mod tests;
