//! A place in a log.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A place in the log to resume from: the place of the last line seen of each writer. Places grow strictly within a writer's files, so this
/// says exactly which lines were seen, whatever was rotated since. Its text form is one word without blanks, for an event id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub(crate) BTreeMap<String, i64>);

/// Not a cursor's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is not a place in a log")]
pub struct BadCursor;

impl Cursor {
    /// The last place seen of a writer, in microseconds; before all of them if none.
    pub(crate) fn seen(&self, stem: &str) -> i64 {
        self.0.get(stem).copied().unwrap_or(i64::MIN)
    }

    pub(crate) fn see(&mut self, stem: &str, micros: i64) {
        match self.0.get_mut(stem) {
            Some(seen) => *seen = (*seen).max(micros),
            None => drop(self.0.insert(stem.to_owned(), micros)),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("1")?;
        self.0.iter().try_for_each(|(stem, micros)| write!(f, ",{stem}@{micros:x}"))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;
    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut parts = text.split(',');
        if parts.next() != Some("1") {
            return Err(BadCursor);
        }
        let entry = |part: &str| {
            let (stem, micros) = part.split_once('@').ok_or(BadCursor)?;
            Ok((stem.to_owned(), i64::from_str_radix(micros, 16).map_err(|_| BadCursor)?))
        };
        parts.map(entry).collect::<Result<_, _>>().map(Self)
    }
}
