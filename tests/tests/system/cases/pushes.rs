//! Pushes that are unusual: nothing, a tag, history rewritten, half a history, two at once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance, Pty};

fn python(app: &App<'_>) -> Result<()> {
    app.write("app.py", HELLO)?.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "")?;
    Ok(())
}

/// Somebody else's commits came first, and ours know nothing of them.
pub(crate) fn two_that_know_nothing_of_each_other(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "rivals")?;
    python(&app)?;
    app.write("bin/pre_compile", "#!/bin/bash\necho building-now\nsleep 4\n")?.commit()?;
    let mut first = push_on_terminal(&app, instance, &["landfall", "main"])?;
    first.shows("building-now")?;
    app.git(&["checkout", "-q", "--orphan", "other"]).ok()?;
    app.write("app.py", HELLO.replace("Hello from Landfall", "other"))?.commit()?;
    let mut second = push_on_terminal(&app, instance, &["landfall", "other:main"])?;
    second.shows("Waiting: ")?;
    ensure!(first.ends()? == 0, "{}", first.screen());
    ensure!(second.ends()? != 0, "{}", second.screen());
    for words in
        ["your commits are not based on that. Nothing was built.", "git pull --rebase landfall main", "git push --force landfall main"]
    {
        ensure!(second.screen().contains(words), "no {words:?} in {}", second.screen());
    }
    ensure!(app.answers(200)?.body == "Hello from Landfall\n" && app.newest_release()?.0 == 2);
    Ok(())
}

/// `git push` on a terminal, as a person sees it.
fn push_on_terminal(app: &App<'_>, instance: &Instance, args: &[&str]) -> Result<Pty> {
    Pty::start("git", &[&["push"], args].concat(), |command| {
        command.current_dir(app.dir());
        instance.environment(command);
    })
}

pub(crate) fn nothing_to_push(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "idle")?;
    let said = app.git(&["push", "landfall", "main"]).fails()?;
    ensure!(said.stderr.contains("src refspec main does not match any"), "git itself says that nothing is committed: {}", said.stderr);
    // A commit without a file.
    let refused = app.push_refused()?;
    ensure!(refused.stderr.contains("The commit holds no file.") && refused.stderr.contains("git add"), "{}", refused.stderr);
    ensure!(app.newest_release()?.0 == 1);

    python(&app)?;
    app.push()?;
    app.answers(200)?;
    let again = app.git(&["push", "landfall", "main"]).ok()?;
    ensure!(again.stderr.contains("Everything up-to-date"), "{}", again.stderr);
    ensure!(app.newest_release()?.0 == 2, "nothing new is no release");
    // The same tree in a new commit is how people ask for a new build.
    let push = app.push()?;
    ensure!(push.stderr.contains("Released v3"), "{}", push.stderr);
    ensure!(app.get("/")?.status == 200);
    Ok(())
}

pub(crate) fn tags_and_rewritten_history(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "tagged")?;
    app.git(&["tag", "one"]).ok()?;
    let push = app.git(&["push", "landfall", "one"]).ok()?;
    ensure!(
        push.stderr.contains("Tag one stored. It is not deployed") && push.stderr.contains("git push landfall 'one^{}:main'"),
        "{}",
        push.stderr
    );
    ensure!(app.newest_release()?.0 == 2, "a tag is no release");
    let refused = app.git(&["push", "landfall", ":main"]).fails()?;
    ensure!(
        refused.stderr.contains("cannot be deleted") && refused.stderr.contains("landfall apps:destroy --app tagged"),
        "{}",
        refused.stderr
    );

    app.write("app.py", HELLO.replace("Hello from Landfall", "two"))?.push()?;
    app.answers_when(|answer| answer.body == "two\n")?;
    // Back to before, with something else on top.
    app.git(&["reset", "-q", "--hard", "one"]).ok()?;
    app.write("app.py", HELLO.replace("Hello from Landfall", "another two"))?.commit()?;
    let refused = app.git(&["push", "landfall", "main"]).fails()?;
    ensure!(refused.stderr.contains("non-fast-forward") || refused.stderr.contains("fetch first"), "{}", refused.stderr);
    app.git(&["push", "--force", "landfall", "main"]).within(Duration::from_secs(200)).ok()?;
    app.answers_when(|answer| answer.body == "another two\n")?;
    ensure!(app.newest_release()?.0 == 4);
    Ok(())
}

pub(crate) fn half_a_history(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "shallow")?;
    python(&app)?;
    app.commit()?;
    app.write("app.py", HELLO.replace("Hello from Landfall", "from a shallow clone"))?.commit()?;
    // As CI services check out.
    let clone = tempfile::TempDir::new()?;
    let dir = clone.path().join("work").to_string_lossy().into_owned();
    app.git(&["clone", "-q", "--depth", "1", &format!("file://{}", app.dir().display()), &dir]).ok()?;
    let url = app.git(&["remote", "get-url", "landfall"]).ok()?.stdout.trim().to_owned();
    let push = || app.git(&["-C", &dir, "push", &url, "main"]).within(Duration::from_secs(200));
    push().ok()?;
    app.answers_when(|answer| answer.body == "from a shallow clone\n")?;
    // The whole history later, and what is there can be cloned.
    app.write("app.py", HELLO.replace("Hello from Landfall", "whole"))?.push()?;
    app.answers_when(|answer| answer.body == "whole\n")?;
    let copy = clone.path().join("copy").to_string_lossy().into_owned();
    app.git(&["clone", "-q", &url, &copy]).ok()?;
    ensure!(std::fs::read_to_string(clone.path().join("copy/app.py"))?.contains("whole"));
    Ok(())
}

pub(crate) fn two_at_once(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "busy")?;
    python(&app)?;
    // The build waits until it is let go.
    app.write("bin/pre_compile", "#!/bin/bash\necho first-is-building\nsleep 8\n")?.commit()?;
    let mut first = push_on_terminal(&app, instance, &["landfall", "main"])?;
    first.shows("first-is-building")?;
    std::fs::remove_file(app.dir().join("bin/pre_compile"))?;
    app.write("app.py", HELLO.replace("Hello from Landfall", "second"))?.commit()?;
    let mut second = push_on_terminal(&app, instance, &["landfall", "main"])?;
    second.shows("Waiting: ")?;
    second.shows("is being built for busy, pushes to one app go one at a time")?;
    // Config may change meanwhile: it makes its release at once, and both builds' releases take it over.
    app.landfall(&["config:set", "DURING=the push"]).ok()?;
    ensure!(first.ends()? == 0, "{}", first.screen());
    ensure!(first.screen().contains("Released v3"), "{}", first.screen());
    ensure!(second.ends()? == 0, "{}", second.screen());
    ensure!(second.screen().contains("Released v4"), "{}", second.screen());
    app.answers_when(|answer| answer.body == "second\n")?;
    ensure!(app.landfall(&["config:get", "DURING"]).ok()?.stdout == "the push\n", "a build does not undo a config change");
    ensure!(app.landfall(&["run", "echo $DURING"]).ok()?.stdout == "the push\n");
    let releases = app.json(&["releases", "--json"])?;
    let told: Vec<&str> = releases.as_array().into_iter().flatten().filter_map(|release| release["description"].as_str()).collect();
    ensure!(
        matches!(told[..], [second, first, "Set DURING config vars", _] if second.starts_with("Deploy ") && first.starts_with("Deploy ")),
        "{told:?}"
    );
    Ok(())
}

pub(crate) fn two_from_one_commit(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "twins")?;
    python(&app)?;
    app.write("bin/pre_compile", "#!/bin/bash\necho building-now\nsleep 4\n")?.commit()?;
    let mut first = push_on_terminal(&app, instance, &["landfall", "main"])?;
    first.shows("building-now")?;
    // What the second wants is what the first brings.
    let mut second = push_on_terminal(&app, instance, &["landfall", "main"])?;
    second.shows("Waiting: ")?;
    ensure!(first.ends()? == 0, "{}", first.screen());
    ensure!(second.ends()? == 0, "{}", second.screen());
    ensure!(second.screen().contains("was deployed while this push waited: there is nothing left to do"), "{}", second.screen());
    app.answers(200)?;
    ensure!(app.json(&["builds", "--json"])?.as_array().map(Vec::len) == Some(1) && app.newest_release()?.0 == 2, "it was built once");
    let next = app.write("app.py", HELLO.replace("Hello from Landfall", "after"))?.push().context("the next push works")?;
    ensure!(next.stderr.contains("Released v"), "{}", next.stderr);
    app.answers_when(|answer| answer.body == "after\n")?;
    Ok(())
}
