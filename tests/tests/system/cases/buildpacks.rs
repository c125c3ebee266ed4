//! Languages that nobody here builds yet are told in words.

use anyhow::{Result, ensure};
use landfall_tests::{App, Instance};

pub(crate) fn in_words(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "foreign")?;
    for (file, words) in [
        ("go.mod", "This looks like a Go app (go.mod), which no buildpack here can build yet."),
        ("Gemfile", "This looks like a Ruby app (Gemfile)"),
        ("Dockerfile", "This looks like an app built by a Dockerfile"),
    ] {
        app.write(file, "")?;
        let log = app.push_refused()?.stderr;
        ensure!(log.contains(words) && log.contains("Procfile"), "{log}");
        std::fs::remove_file(app.dir().join(file))?;
    }
    // A program that is in the repository needs no buildpack of its language.
    let program = "#!/usr/bin/env bash\nwhile true; do sleep 1; done\n";
    app.write("go.mod", "")?.write("bin/worker", program)?.write("Procfile", "worker: bin/worker\n")?;
    let log = app.push()?.stderr;
    ensure!(log.contains("this looks like a Go app (go.mod)") && log.contains("Procfile declares types -> worker"), "{log}");
    Ok(())
}
