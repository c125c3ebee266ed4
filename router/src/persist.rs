//! The table on disk: the router's memory when nobody is there to tell it again.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use crate::control::Table;

/// Reads the table; an empty one if there is no file.
pub(crate) fn load(path: &Path) -> io::Result<Table> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Table::default()),
        Err(error) => Err(error),
    }
}

/// Replaces the file: after a crash at any point it is the old or the new table, never a mixture.
pub(crate) fn save(path: &Path, table: &Table) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = path.with_extension("json.new");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(table)?)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()
}
