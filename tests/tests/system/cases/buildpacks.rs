//! Which buildpacks build an app: its own, those it chooses, those that are found, and the words when none is.

use anyhow::{Result, ensure};
use landfall_tests::{App, Instance};

use super::build_log::timed;

/// A buildpack written by the contract alone, in the app's repository, beside a built-in one.
pub(crate) fn of_the_apps_own(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "own-pack")?;
    app.write("project.toml", include_str!("../apps/own/project.toml"))?.write("web.py", include_str!("../apps/own/web.py"))?;
    app.write("packs/greeter/buildpack.toml", include_str!("../apps/own/packs/greeter/buildpack.toml"))?;
    app.write("packs/greeter/bin/detect", include_str!("../apps/own/packs/greeter/detect"))?;
    app.write("packs/greeter/bin/build", include_str!("../apps/own/packs/greeter/build"))?;
    app.write("requirements.txt", "")?.write("Procfile", "web: python web.py\n")?.write("docs/read.md", "read me")?;
    app.write("bin/post_compile", "#!/usr/bin/env bash\necho \"python sees: $FROM_OUTSIDE\"\n")?;
    let log = timed(&app, "first")?;
    for words in [
        "inline: 3 arguments, from project.toml",
        "greeter: good day, metadata none, contents none, store none, bill none",
        "python sees: of the outside buildpack",
        "Default types for the buildpack -> greet",
    ] {
        ensure!(log.contains(words), "no {words:?} in\n{log}");
    }
    let body = app.answers(200)?.body;
    ensure!(body == "['good day', 'only web', 'by exec.d', None, 'bill']\n", "{body}");
    let said = app.landfall(&["run", "/cnb/process/greet"]).ok()?.stdout;
    ensure!(said.contains("greeter says good day in /app/docs"), "{said}");

    let log = timed(&app, "again")?;
    ensure!(log.contains("greeter: good day, metadata 1, contents good day, store 1, bill kept"), "{log}");

    app.write("packs/greeter/bin/detect", "#!/usr/bin/env bash\nexit 100\n")?;
    let log = app.push_refused()?.stderr;
    ensure!(log.contains("project.toml chooses the buildpacks") && log.contains("example/greeter"), "{log}");
    app.write("project.toml", "[[io.buildpacks.group]]\nid = \"paketo-buildpacks/java\"\n")?;
    let log = app.push_refused()?.stderr;
    ensure!(log.contains("io.buildpacks.group[0]: paketo-buildpacks/java is not built in"), "{log}");
    Ok(())
}

/// A repository with both package.json and requirements.txt.
pub(crate) fn of_two_languages(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "two-languages")?;
    app.write("package.json", r#"{"name":"assets","private":true,"engines":{"node":"22.23.3"},"scripts":{"build":"echo made > asset"}}"#)?;
    app.write("requirements.txt", "")?.write(".gitignore", "node_modules\n")?;
    let serve = "import http.server, os; http.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ['PORT']))\n";
    app.write("web.py", serve)?.write("Procfile", "web: python web.py\n")?;
    let log = timed(&app, "Python alone")?;
    ensure!(log.contains("Python app detected") && !log.contains("Installing Node.js"), "{log}");
    ensure!(log.contains("package.json") && log.contains("app.json"), "it says how to have both:\n{log}");
    app.answers(200)?;
    ensure!(app.get("/asset")?.status == 404);

    app.write("app.json", r#"{"buildpacks": [{"url": "heroku/nodejs"}, {"url": "heroku/python"}, {"url": "heroku-community/apt"}]}"#)?;
    let log = timed(&app, "both")?;
    let both = log.find("Node.js app detected").zip(log.find("Python app detected"));
    ensure!(both.is_some_and(|(node, python)| node < python), "{log}");
    ensure!(log.contains("heroku-community/apt is not built in"), "{log}");
    app.answers_when(|_| app.get("/asset").is_ok_and(|asset| asset.body == "made\n"))?;
    Ok(())
}

pub(crate) fn in_words(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "foreign")?;
    for (file, words) in [
        ("go.mod", "This looks like a Go app (go.mod), which no buildpack here can build yet."),
        ("Gemfile", "This looks like a Ruby app (Gemfile)"),
        ("Dockerfile", "This looks like an app built by a Dockerfile"),
    ] {
        app.write(file, "")?;
        let log = app.push_refused()?.stderr;
        ensure!(log.contains(words) && log.contains("Procfile") && log.contains("project.toml"), "{log}");
        std::fs::remove_file(app.dir().join(file))?;
    }
    // A program that is in the repository needs no buildpack of its language.
    let program = "#!/usr/bin/env bash\nwhile true; do sleep 1; done\n";
    app.write("go.mod", "")?.write("bin/worker", program)?.write("Procfile", "worker: bin/worker\n")?;
    let log = app.push()?.stderr;
    ensure!(log.contains("this looks like a Go app (go.mod)") && log.contains("Procfile declares types -> worker"), "{log}");
    Ok(())
}
