//! What the platform itself reads of a source before anything runs: Procfile and app.json.

use std::path::Path;

use landfall_buildpacks::procfile::{self, Procfile};

use super::failure::BuildFailure;
use super::log::BuildLog;
use crate::app_json::{self, AppJson};
use crate::source::{SourceError, read_file};

pub(super) struct Inputs {
    pub(super) procfile: Option<Procfile>,
    pub(super) app_json: Option<AppJson>,
}

pub(super) fn read(source: &Path, stack: &str, log: &BuildLog) -> Result<Inputs, BuildFailure> {
    let mut procfile = None;
    if let Some(text) = text(source, "Procfile", procfile::BYTES_MAX)? {
        procfile =
            Some(Procfile::parse(text.as_bytes()).map_err(|error| BuildFailure::BadFile { file: "Procfile", message: error.to_string() })?);
    }
    let mut app_json = None;
    if let Some(text) = text(source, "app.json", app_json::MAX_BYTES)? {
        let read = app_json::parse(&text).map_err(|error| BuildFailure::BadFile { file: "app.json", message: error.to_string() })?;
        for warning in &read.warnings {
            log.problem(&format!("Warning: {warning}"));
        }
        if !read.buildpacks.is_empty() {
            log.problem("Warning: app.json lists buildpacks; Landfall finds the right built-in one by itself.");
        }
        if let Some(wanted) = read.stack.as_deref().filter(|wanted| *wanted != stack) {
            log.problem(&format!("Warning: app.json asks for the stack {wanted}; this build is on {stack}."));
        }
        app_json = Some(read);
    }
    Ok(Inputs { procfile, app_json })
}

fn text(source: &Path, file: &'static str, limit: usize) -> Result<Option<String>, BuildFailure> {
    read_file(source, file, limit).map_err(|error| match error {
        SourceError::File { file, message } => BuildFailure::BadFile { file, message },
        other => other.into(),
    })
}
