//! Pages the router answers with itself. An operator may replace each; all are rendered once, at start, so that a mistake in one
//! is found then and not by a visitor.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use handlebars::Handlebars;
use serde::Serialize;

use crate::code::Code;

const TEMPLATES: [(&str, &str); 4] = [
    ("error.html.hbs", include_str!("../templates/error.html.hbs")),
    ("maintenance.html.hbs", include_str!("../templates/maintenance.html.hbs")),
    ("blank.html.hbs", include_str!("../templates/blank.html.hbs")),
    ("not-found.html.hbs", include_str!("../templates/not-found.html.hbs")),
];

/// A page that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The file is there but not readable.
    #[error("cannot read the page template {}", path.display())]
    Read {
        /// Of the template.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not a template, or it uses a variable that does not exist.
    #[error("the page template {name} is wrong: {reason}; it may use title, explanation, code and status")]
    Template {
        /// Of the template.
        name: String,
        /// What handlebars says.
        reason: String,
    },
}

#[derive(Serialize)]
struct Context<'a> {
    title: &'a str,
    explanation: &'a str,
    code: &'a str,
    status: u16,
}

/// All pages, ready to send.
#[derive(Debug)]
pub(crate) struct Pages {
    errors: HashMap<(Code, u16), Arc<str>>,
    not_found: Arc<str>,
}

impl Pages {
    /// Renders every page, from `overrides` where it has a file of the template's name.
    pub(crate) fn load(overrides: Option<&Path>) -> Result<Self, PageError> {
        let mut templates = Handlebars::new();
        templates.set_strict_mode(true);
        for (name, built_in) in TEMPLATES {
            let source = match overrides.map(|dir| dir.join(name)) {
                Some(path) => match std::fs::read_to_string(&path) {
                    Ok(text) => text,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => built_in.to_owned(),
                    Err(source) => return Err(PageError::Read { path, source }),
                },
                None => built_in.to_owned(),
            };
            templates
                .register_template_string(name, source)
                .map_err(|error| PageError::Template { name: name.to_owned(), reason: error.to_string() })?;
        }
        let render = |name: &str, context: &Context<'_>| {
            templates
                .render(name, context)
                .map(Arc::<str>::from)
                .map_err(|error| PageError::Template { name: name.to_owned(), reason: error.to_string() })
        };
        let mut errors = HashMap::new();
        for code in Code::ALL {
            let template = match code {
                Code::H80 => "maintenance.html.hbs",
                Code::H81 => "blank.html.hbs",
                _ => "error.html.hbs",
            };
            let statuses: &[u16] = if code == Code::H26 { &[400, 405, 408, 414, 417, 431, 505] } else { &[code.status()] };
            for &status in statuses {
                let title = if code == Code::H26 { reason(status) } else { "Application error" };
                let context = Context { title, explanation: code.explanation(), code: code.name(), status };
                errors.insert((code, status), render(template, &context)?);
            }
        }
        let explanation = "There is no app at this address.";
        let not_found = render("not-found.html.hbs", &Context { title: "Not found", explanation, code: "", status: 404 })?;
        Ok(Self { errors, not_found })
    }

    /// The page of a code; `status` differs from the code's own only for H26.
    pub(crate) fn error(&self, code: Code, status: u16) -> Arc<str> {
        self.errors.get(&(code, status)).or_else(|| self.errors.get(&(code, code.status()))).cloned().unwrap_or_default()
    }

    /// For hosts nobody has.
    pub(crate) fn not_found(&self) -> Arc<str> {
        Arc::clone(&self.not_found)
    }
}

/// Reason phrases of the statuses the router makes.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        505 => "HTTP Version Not Supported",
        _ => "Service Unavailable",
    }
}
