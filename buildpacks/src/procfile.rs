//! Reads a Procfile as Heroku users write them: tolerant where nothing is lost, and an error naming the line where something would be.
//!
//! It is not YAML: everything after the first colon is the command, byte for byte except the blanks around it.
//! Byte-order mark, CRLF, tabs, a missing last newline, blank lines and lines starting with `#` are fine. Names are lowercased and `_`
//! becomes `-` with a warning, as in Heroku's own buildpack.

use std::collections::HashMap;

/// Longest process type name, as a DNS label allows.
const NAME_MAX: usize = 63;
/// Most bytes of a Procfile that are read: 1 MiB.
pub const BYTES_MAX: usize = 1024 * 1024;

/// One line of a Procfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process type: `web`, `worker`, `release`, …
    pub name: String,
    /// What `bash -c` is to run.
    pub command: String,
}

/// A Procfile's processes in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Procfile {
    /// The processes; names are unique.
    pub processes: Vec<Process>,
    /// What was changed while reading, in words for the build log.
    pub warnings: Vec<String>,
}

/// Why a Procfile cannot be used. Every message names the line and its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcfileError {
    /// Not UTF-8.
    #[error("the Procfile is not UTF-8 text (line {line}): save it as UTF-8 and commit it again")]
    NotText {
        /// Line number from 1.
        line: usize,
    },
    /// Over [`BYTES_MAX`].
    #[error("the Procfile is over 1 MiB: a Procfile has one `name: command` line for each process type")]
    TooLong,
    /// `<<<<<<<`, `=======` or `>>>>>>>`.
    #[error(
        "Procfile line {line} is a leftover of a merge conflict: {text}\nDecide between the two sides, remove the marker lines and commit."
    )]
    MergeMarker {
        /// Line number from 1.
        line: usize,
        /// The line, shortened.
        text: String,
    },
    /// No `name: command`.
    #[error(
        "Procfile line {line} is not of the form `name: command`: {text}\nWrite it like `web: python app.py`; a name has letters, digits, `-` and `_`."
    )]
    BadLine {
        /// Line number from 1.
        line: usize,
        /// The line, shortened.
        text: String,
    },
    /// `web:` and nothing more.
    #[error("Procfile line {line} has no command: {text}\nPut the command to run after the colon, or remove the line.")]
    NoCommand {
        /// Line number from 1.
        line: usize,
        /// The line, shortened.
        text: String,
    },
    /// The same type twice, with different commands.
    #[error("Procfile line {line} defines `{name}` again with another command: {text}\nIt is already on line {first}. Keep one of them.")]
    Duplicate {
        /// Line number from 1.
        line: usize,
        /// Where it was first.
        first: usize,
        /// The process type.
        name: String,
        /// The line, shortened.
        text: String,
    },
}

impl Procfile {
    /// Reads the bytes of a Procfile.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProcfileError> {
        if bytes.len() > BYTES_MAX {
            return Err(ProcfileError::TooLong);
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|e| ProcfileError::NotText { line: 1 + String::from_utf8_lossy(&bytes[..e.valid_up_to()]).matches('\n').count() })?;
        let mut read = Self::default();
        let mut seen: HashMap<String, (usize, usize)> = HashMap::new();
        for (at, raw) in text.trim_start_matches('\u{feff}').split('\n').enumerate() {
            let (line, content) = (at + 1, raw.trim());
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let shown = || content.chars().take(200).collect::<String>();
            if ["<<<<<<<", "=======", ">>>>>>>", "|||||||"].iter().any(|m| content.starts_with(m)) {
                return Err(ProcfileError::MergeMarker { line, text: shown() });
            }
            let Some((written, command)) = content.split_once(':').map(|(n, c)| (n.trim_end(), c.trim())) else {
                return Err(ProcfileError::BadLine { line, text: shown() });
            };
            let name = normal_name(written).ok_or_else(|| ProcfileError::BadLine { line, text: shown() })?;
            if command.is_empty() {
                return Err(ProcfileError::NoCommand { line, text: shown() });
            }
            if name != written {
                read.warnings
                    .push(format!("process type `{written}` (Procfile line {line}) is called `{name}`: names are lowercase, with `-`"));
            }
            match seen.get(&name) {
                Some((first, index)) if read.processes[*index].command != command => {
                    return Err(ProcfileError::Duplicate { line, first: *first, name, text: shown() });
                }
                Some((first, _)) => read.warnings.push(format!("Procfile line {line} repeats `{name}` of line {first}")),
                None => {
                    seen.insert(name.clone(), (line, read.processes.len()));
                    read.processes.push(Process { name, command: command.to_owned() });
                }
            }
        }
        Ok(read)
    }

    /// The command of a process type.
    pub fn command(&self, name: &str) -> Option<&str> {
        self.processes.iter().find(|p| p.name == name).map(|p| p.command.as_str())
    }
}

fn normal_name(written: &str) -> Option<String> {
    let name = written.to_ascii_lowercase().replace('_', "-");
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ok = !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-');
    ok.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        Procfile::parse(text.as_bytes()).unwrap().processes.into_iter().map(|p| (p.name, p.command)).collect()
    }

    #[test]
    fn reads_what_people_write() {
        let text = "\u{feff}# comment\r\nweb: echo foo: bar\r\n\r\n  worker:\t\tnode w.js # not stripped\nMy_Job: a 'b' \"c\"";
        let read = Procfile::parse(text.as_bytes()).unwrap();
        assert_eq!(read.command("web"), Some("echo foo: bar"));
        assert_eq!(read.command("worker"), Some("node w.js # not stripped"));
        assert_eq!(read.command("my-job"), Some("a 'b' \"c\""));
        assert_eq!(read.warnings.len(), 1);
        assert_eq!(pairs("web: a\nweb: a"), [("web".to_owned(), "a".to_owned())]);
        assert!(pairs("").is_empty());
    }

    #[test]
    fn errors_name_the_line() {
        let of = |text: &str| Procfile::parse(text.as_bytes()).unwrap_err().to_string();
        let cases = ["web: a\n<<<<<<< HEAD\n", "web: a\nworker node w.js", "web:", "web: a\n\nweb: b", "w eb: a", "-x: a"];
        insta::assert_snapshot!(cases.map(of).join("\n---\n"));
        assert_eq!(Procfile::parse(b"web: a\n\xff"), Err(ProcfileError::NotText { line: 2 }));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Procfile::parse(&bytes);
        }

        #[test]
        fn keeps_every_command(rows in proptest::collection::btree_map("[a-z][a-z0-9]{0,8}", "[!-~]([ -~]{0,20}[!-~])?", 1..8), crlf: bool) {
            let end = if crlf { "\r\n" } else { "\n" };
            let text = rows.iter().map(|(n, c)| [n, ": ", c, end].concat()).collect::<Vec<_>>().concat();
            prop_assert_eq!(pairs(&text), rows.into_iter().collect::<Vec<_>>());
        }
    }
}
