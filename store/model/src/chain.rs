//! Errors for a log line: the one printer of causes.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its causes, outermost first, as one line. A cause that its error already quotes is not told twice.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Outer {
        words: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn causes_follow_once() {
        let told = |words| chain(&Outer { words, source: std::io::Error::other("no room") });
        assert_eq!([told("writing"), told("writing: no room")], ["writing: no room", "writing: no room"]);
    }
}
