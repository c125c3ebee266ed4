//! What a person reads when a command fails: what failed, why, and what to type next.

use std::fmt;

/// A failure with its next step.
#[derive(Debug)]
pub(crate) struct CliError {
    /// What failed and why, in one or more lines.
    pub(crate) message: String,
    /// What to type next.
    pub(crate) next: Option<String>,
    /// The exit code.
    pub(crate) code: u8,
}

/// A command's result.
pub(crate) type Result<T> = std::result::Result<T, CliError>;

impl CliError {
    /// A failure and the command that helps.
    pub(crate) fn new(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { message: message.into(), next: Some(next.into()), code: 1 }
    }

    /// A failure whose message already says what to do, or where nothing sensible can be said.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), next: None, code: 1 }
    }

    /// With this to type next, unless it already says what.
    pub(crate) fn or_next(self, next: impl FnOnce() -> String) -> Self {
        let says = self.next.is_some() || ["landfall ", "git "].iter().any(|command| self.message.contains(command));
        if says { self } else { Self { next: Some(next()), ..self } }
    }

    /// Wraps an I/O error with what was being done.
    pub(crate) fn io(doing: impl fmt::Display, error: impl fmt::Display, next: impl Into<String>) -> Self {
        Self::new(format!("{doing}: {error}"), next)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.message.lines() {
            writeln!(f, " !    {line}")?;
        }
        if let Some(next) = &self.next {
            writeln!(f, " !    Next: {next}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_something_to_type_next() {
        let next = |error: CliError| error.or_next(|| "landfall create --help".to_owned()).next;
        assert_eq!(next(CliError::plain("no")).as_deref(), Some("landfall create --help"));
        assert_eq!(next(CliError::plain("no; choose another: landfall create x")), None);
        assert_eq!(next(CliError::new("no", "landfall apps")).as_deref(), Some("landfall apps"));
    }

    #[test]
    fn an_error_ends_with_what_to_type() {
        insta::assert_snapshot!(CliError::new("no app is named \"blog\"", "landfall apps"), @r#"
         !    no app is named "blog"
         !    Next: landfall apps
        "#);
    }
}
