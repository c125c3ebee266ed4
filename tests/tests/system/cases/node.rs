//! Node.js apps: every package manager, build scripts, what stays out of the dyno.

use anyhow::{Result, ensure};
use landfall_tests::{App, Instance};

use super::build_log::{layers, timed};

const PACKAGE: &str = include_str!("../apps/node/package.json");
const SERVER: &str = include_str!("../apps/server.js");
/// Lockfile, its content, what the log says of the manager.
const MANAGERS: [(&str, &str, &str); 4] = [
    ("package-lock.json", include_str!("../apps/node/package-lock.json"), "Installing dependencies with npm 10."),
    ("yarn.lock", include_str!("../apps/node/yarn-1.lock"), "Installing dependencies with yarn 1.22."),
    ("yarn.lock", include_str!("../apps/node/yarn-4.lock"), "Installing dependencies with yarn 4."),
    ("pnpm-lock.yaml", include_str!("../apps/node/pnpm-lock.yaml"), "Installing dependencies with pnpm 10."),
];

pub(crate) fn by_every_manager(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "nodes")?;
    app.write("package.json", PACKAGE)?.write(".gitignore", "node_modules\n")?;
    let mut round = 0;
    let mut push = |what: &str| {
        round += 1;
        app.write("server.js", SERVER.replace("round 1", &format!("round {round}")))?;
        let log = timed(&app, what)?;
        let wanted = format!("node v22.23.3, is-number true, without development packages, built true, production, round {round}\n");
        app.answers_when(|answer| answer.body == wanted)?;
        anyhow::Ok(log)
    };
    for (at, (file, text, words)) in MANAGERS.into_iter().enumerate() {
        app.write(file, text)?;
        let log = push(&format!("{words} first"))?;
        ensure!(log.contains(words) && !log.contains("Using cached node_modules"), "{log}");
        ensure!(log.contains("Using cached Node.js") == (at > 0), "Node.js itself is kept:\n{log}");
        ensure!(log.contains("Running the build script") && log.contains("Removing development dependencies"), "{log}");

        let log = push(&format!("{words} other code"))?;
        ensure!(log.contains("Using cached node_modules") && log.contains("Using cached Node.js"), "{log}");
        let (all, unchanged) = layers(&log)?;
        ensure!(all == unchanged, "other code changes no layer of the buildpack:\n{log}");
        std::fs::remove_file(app.dir().join(file))?;
    }

    app.write("package-lock.json", MANAGERS[0].1)?.write("yarn.lock", MANAGERS[1].1)?;
    let log = app.push_refused()?.stderr;
    ensure!(log.contains("Several package managers are in use: package-lock.json, yarn.lock"), "{log}");
    Ok(())
}
