//! The result: rows for people and for the file the README's table is made from.

use std::fmt;
use std::time::Duration;

/// Rows in the order they were measured.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

struct Row {
    what: String,
    value: String,
    against: String,
}

impl Table {
    /// One row; `against` names a peer and ratio, or an aim.
    pub(crate) fn row(&mut self, what: impl Into<String>, value: impl Into<String>, against: impl Into<String>) {
        let row = Row { what: what.into(), value: value.into(), against: against.into() };
        eprintln!("{}: {} {}", row.what, row.value, row.against);
        self.0.push(row);
    }

    /// The rows as JSON.
    pub(crate) fn to_json(&self) -> String {
        let rows: Vec<_> =
            self.0.iter().map(|row| serde_json::json!({ "what": row.what, "value": row.value, "against": row.against })).collect();
        serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | against |\n| --- | --- | --- |")?;
        self.0.iter().try_for_each(|row| writeln!(f, "| {} | {} | {} |", row.what, row.value, row.against))
    }
}

/// A page with the table between its two marks, instead of what was there. `None`: the page has no such marks.
pub(crate) fn replaced(page: &str, table: &Table) -> Option<String> {
    const MARKS: [&str; 2] = ["<!-- make bench -->\n", "<!-- end -->"];
    let (before, rest) = page.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some(format!("{before}{}{table}{}{after}", MARKS[0], MARKS[1]))
}

/// The middle of several.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The mean of the middle half of many: of times that come in steps, where a middle one would jump from step to step.
pub(crate) fn middle_half(mut times: Vec<Duration>) -> Duration {
    times.sort();
    let half = times.get(times.len() / 4..times.len() - times.len() / 4).unwrap_or_default();
    half.iter().sum::<Duration>() / u32::try_from(half.len().max(1)).unwrap_or(u32::MAX)
}

/// `123 ms`.
pub(crate) fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
