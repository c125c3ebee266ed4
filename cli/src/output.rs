//! How listings look: aligned columns for people, JSON for programs.

use serde_json::Value;

/// Prints JSON, indented.
pub(crate) fn json(value: &Value) {
    println!("{}", serde_json::to_string_pretty(value).expect("a value serialises"));
}

/// Lines of aligned columns, two spaces apart, no trailing blanks.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let pad = width - cell.chars().count();
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', pad + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `=== title` as Heroku heads its listings.
pub(crate) fn heading(title: &str) {
    println!("=== {title}\n");
}

/// A text member of an object, or nothing.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// An instant as people read it: local-free, to the second, `2026-01-02 03:04:05Z`; unreadable text stays as it is.
pub(crate) fn when(value: &Value) -> String {
    let raw = value.as_str().unwrap_or_default();
    raw.parse::<jiff::Timestamp>().map_or_else(|_| raw.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// What a terminal may show of text that others wrote: no control characters but tab (trust rule R11).
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_align_without_trailing_blanks() {
        let rows = [vec!["v10".into(), "Deploy".into()], vec!["v9".into(), String::new()]];
        assert_eq!(super::table(&rows), "v10  Deploy\nv9\n");
    }
}
