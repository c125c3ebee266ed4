//! Python apps by each package manager: built, built again from the cache, and again after a change of the lockfile.

use anyhow::{Context as _, Result, ensure};
use landfall_tests::{App, Instance};

use super::build_log::{layers, timed};

const SERVER: &str = include_str!("../apps/server.py");

/// Files of an app: one state of its dependencies.
type Files<'a> = &'a [(&'a str, &'a str)];

pub(crate) fn by_pip(instance: &Instance) -> Result<()> {
    let lock = |version| format!("# what the app needs\n-r more.txt\niniconfig==2.0.0 ; python_version < '3'\nsix{version}\n");
    let (first, next) = (lock("==1.16.0"), lock("==1.17.0"));
    let more: (&str, &str) = ("more.txt", "");
    three_pushes(instance, "by-pip", "pip", &[more, ("requirements.txt", &first)], &[more, ("requirements.txt", &next)])
}

pub(crate) fn by_uv(instance: &Instance) -> Result<()> {
    let first: Files = &[("pyproject.toml", include_str!("../apps/uv/pyproject.toml")), ("uv.lock", include_str!("../apps/uv/uv.lock"))];
    let next: Files =
        &[("pyproject.toml", include_str!("../apps/uv-next/pyproject.toml")), ("uv.lock", include_str!("../apps/uv-next/uv.lock"))];
    three_pushes(instance, "by-uv", "uv", first, next)
}

pub(crate) fn by_poetry(instance: &Instance) -> Result<()> {
    let first: Files =
        &[("pyproject.toml", include_str!("../apps/poetry/pyproject.toml")), ("poetry.lock", include_str!("../apps/poetry/poetry.lock"))];
    let next: Files = &[
        ("pyproject.toml", include_str!("../apps/poetry-next/pyproject.toml")),
        ("poetry.lock", include_str!("../apps/poetry-next/poetry.lock")),
    ];
    three_pushes(instance, "by-poetry", "poetry", first, next)
}

/// From nothing, with other code, with other dependencies.
fn three_pushes(instance: &Instance, name: &str, manager: &str, first: Files, next: Files) -> Result<()> {
    let app = App::create(instance, name)?;
    app.write("server.py", SERVER)?.write("Procfile", "web: python server.py\n")?;
    for (file, text) in first {
        app.write(file, text)?;
    }
    let log = timed(&app, "first")?;
    ensure!(log.contains(&format!("Installing dependencies with {manager}")) && !log.contains("Using cached dependencies"), "{log}");
    let body = app.answers(200)?.body;
    ensure!(body == "six 1.16.0, without development packages, WEB_CONCURRENCY=2, round 1\n", "{body}");

    app.write("server.py", SERVER.replace("round 1", "round 2"))?;
    let log = timed(&app, "other code")?;
    ensure!(log.contains("Using cached dependencies"), "the dependencies are reused:\n{log}");
    let (all, unchanged) = layers(&log)?;
    ensure!(all == unchanged, "other code changes no layer of the buildpack:\n{log}");
    app.answers_when(|answer| answer.body.contains("six 1.16.0") && answer.body.ends_with("round 2\n"))?;

    for (file, text) in next {
        app.write(file, text)?;
    }
    let log = timed(&app, "other dependency")?;
    ensure!(!log.contains("Using cached dependencies"), "{log}");
    let (all, unchanged) = layers(&log)?;
    ensure!(unchanged < all, "{log}");
    app.answers_when(|answer| answer.body.contains("six 1.17.0"))?;
    Ok(())
}

pub(crate) fn django_and_hooks(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "djangos")?;
    app.write("manage.py", include_str!("../apps/django/manage.py"))?.write("web.py", include_str!("../apps/django/web.py"))?;
    app.write("bin/pre_compile", include_str!("../apps/django/pre_compile"))?;
    app.write("bin/post_compile", include_str!("../apps/django/post_compile"))?;
    app.write("assets/site.css", "h1{}")?.write("Procfile", "web: python web.py\n")?;
    app.write("requirements.txt", "django==5.2.8\n")?.write(".python-version", "3.13\n")?;
    let log = timed(&app, "first")?;
    let order = ["Python 3.13", "before the packages: ", "Installing dependencies", "1 static file copied", "after the packages: 5.2.8"];
    let places: Vec<_> =
        order.iter().map(|words| log.find(words).with_context(|| format!("no {words:?} in\n{log}"))).collect::<Result<_>>()?;
    ensure!(places.is_sorted(), "{log}");
    let body = app.answers(200)?.body;
    ensure!(body == "django 5.2.8: collected/site.css before after\n", "{body}");

    app.landfall(&["config:set", "DISABLE_COLLECTSTATIC=1"]).ok()?;
    app.write("bin/post_compile", "#!/usr/bin/env bash\necho \"settings: $DISABLE_COLLECTSTATIC\"; exit 3\n")?;
    app.commit()?;
    let log = app.push_refused()?.stderr;
    ensure!(log.contains("Skipped: DISABLE_COLLECTSTATIC is set") && log.contains("settings: 1"), "{log}");
    ensure!(log.contains("The bin/post_compile hook failed"), "{log}");
    Ok(())
}

pub(crate) fn in_words(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "python-words")?;
    app.write("Procfile", "web: python server.py\n")?;
    let said = |files: Files, words: &[&str]| {
        for (file, text) in files {
            app.write(file, text)?;
        }
        let log = app.push_refused()?.stderr;
        for word in words {
            ensure!(log.contains(word), "{files:?}: no {word:?} in\n{log}");
        }
        files.iter().try_for_each(|(file, _)| Ok(std::fs::remove_file(app.dir().join(file))?))
    };
    said(&[("runtime.txt", "python-3.9.18\n"), ("requirements.txt", "")], &["Python 3.9.18", "runtime.txt", "landfall stacks", "3.13"])?;
    said(&[(".python-version", "pypy3.10\n"), ("requirements.txt", "")], &[".python-version", "\"pypy3.10\""])?;
    said(&[("Pipfile", "[packages]\n")], &["Pipenv is not supported", "pipenv requirements > requirements.txt"])?;
    said(&[("requirements.txt", ""), ("uv.lock", "")], &["Several package managers are in use: requirements.txt, uv.lock"])?;
    ensure!(app.newest_release()?.0 == 1, "nothing was released");
    Ok(())
}
