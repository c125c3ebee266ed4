//! Reading what a push prints.

use std::time::Instant;

use anyhow::{Context as _, Result};
use landfall_tests::App;

/// Pushes; gives the log. With `LANDFALL_TEST_TIMES` set, tells how long it took.
pub(crate) fn timed(app: &App, what: &str) -> Result<String> {
    app.commit()?;
    let started = Instant::now();
    let log = app.push()?.stderr;
    if std::env::var_os("LANDFALL_TEST_TIMES").is_some() {
        eprintln!("{} {what}: {} ms", app.name, started.elapsed().as_millis());
    }
    Ok(log)
}

/// How many layers the build kept or made, and how many of them are the same as before: `Done: app 1 kB, 4 layers (3 unchanged)`.
pub(crate) fn layers(log: &str) -> Result<(u32, u32)> {
    let (before, after) = log.split_once(" layers (").with_context(|| format!("no layers in\n{log}"))?;
    let number = |text: Option<&str>| text.and_then(|n| n.parse().ok()).with_context(|| format!("no number of layers in\n{log}"));
    Ok((number(before.rsplit(' ').next())?, number(after.split(' ').next())?))
}
