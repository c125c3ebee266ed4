//! What a person reads during a build: Heroku's shape, from this one writer.
//!
//! `-----> ` opens a step, seven spaces carry its detail, ` !     ` marks a problem. Nothing here decides anything.

use std::io::{BufRead, BufReader, Read, Write};

/// Writes a build's lines to `W`. Write errors are ignored: a reader that went away must not fail a build.
pub struct Output<W: Write> {
    to: W,
}

impl Output<std::io::Stdout> {
    /// The usual one: standard output, which the git client shows as `remote:` lines.
    pub fn stdout() -> Self {
        Self::new(std::io::stdout())
    }
}

impl<W: Write> Output<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self { to }
    }

    /// Opens a step: `-----> text`.
    pub fn step(&mut self, text: impl AsRef<str>) {
        self.prefixed("-----> ", "       ", text.as_ref());
    }

    /// Detail under the last step, each line indented by seven spaces.
    pub fn detail(&mut self, text: impl AsRef<str>) {
        self.prefixed("       ", "       ", text.as_ref());
    }

    /// A problem that ends the build: what failed, why, what to do. Each line gets the mark.
    pub fn problem(&mut self, text: impl AsRef<str>) {
        self.blank();
        self.prefixed(" !     ", " !     ", text.as_ref());
        self.blank();
    }

    /// Something to know that does not end the build.
    pub fn warning(&mut self, text: impl AsRef<str>) {
        self.prefixed(" !     ", " !     ", &format!("Warning: {}", text.as_ref()));
    }

    /// An empty line.
    pub fn blank(&mut self) {
        let _ = self.to.write_all(b"\n");
        let _ = self.to.flush();
    }

    /// Copies a child's output as detail, line by line as it comes, and returns what was copied (its last 64 KiB).
    pub fn pump(&mut self, from: impl Read) -> String {
        const KEEP: usize = 64 * 1024;
        let mut reader = BufReader::new(from);
        let mut kept = String::new();
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']);
            self.detail(text.rsplit('\r').next().unwrap_or(text));
            kept.push_str(text);
            kept.push('\n');
            if kept.len() > KEEP {
                let from = (kept.len() - KEEP..kept.len()).find(|at| kept.is_char_boundary(*at)).unwrap_or(0);
                kept.drain(..from);
            }
            line.clear();
        }
        kept
    }

    /// The writer itself, when all is said.
    pub fn into_inner(self) -> W {
        self.to
    }

    fn prefixed(&mut self, first: &str, rest: &str, text: &str) {
        let mut block = String::with_capacity(text.len() + 16);
        for (at, line) in text.split('\n').enumerate() {
            let prefix = if at == 0 { first } else { rest };
            if line.is_empty() {
                block.push_str(prefix.trim_end());
            } else {
                block.push_str(prefix);
                block.push_str(line);
            }
            block.push('\n');
        }
        let _ = self.to.write_all(block.as_bytes());
        let _ = self.to.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_herokus_shape() {
        let mut out = Output::new(Vec::new());
        out.step("Installing dependencies");
        out.detail("Using pip\nand a second line");
        assert_eq!(out.pump(&b"50%\r100%\ndone"[..]), "50%\r100%\ndone\n");
        out.warning("no lockfile");
        out.problem("It failed.\n\nTry again.");
        insta::assert_snapshot!(String::from_utf8(out.into_inner()).unwrap(), @"
        -----> Installing dependencies
               Using pip
               and a second line
               100%
               done
         !     Warning: no lockfile

         !     It failed.
         !
         !     Try again.
        ");
    }
}
