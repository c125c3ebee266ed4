//! What people type, rightly or wrongly: names, numbers, releases, config vars, editors, shells.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::{App, Done, Instance, Pty, Run, eventually};

/// Refused, with these words, and with something to type next.
fn refused(run: Run, words: &[&str]) -> Result<Done> {
    let done = run.fails()?;
    for word in words {
        ensure!(done.stderr.contains(word), "no {word:?} in:\n{}", done.stderr);
    }
    let last = done.stderr.lines().last().unwrap_or_default();
    ensure!(last.starts_with(" !    ") && last.contains("landfall ") || last.contains("git "), "nothing to type next:\n{}", done.stderr);
    ensure!(done.stdout.is_empty(), "{done:?}");
    Ok(done)
}

pub(crate) fn app_names(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "name-is-taken")?;
    let create = |name: &str| instance.landfall(&["create", "--no-remote", "--", name]);
    refused(create("name-is-taken"), &["Name name-is-taken is already taken", "landfall create other-name"])?;
    for (name, rule) in [
        ("../x", "must start with a lower-case letter"),
        ("x/../y", "may hold only lower-case letters, digits and dashes"),
        ("a-name-that-is-longer-than-thirty", "must be 3 to 30 characters long"),
        ("ab", "must be 3 to 30 characters long"),
        ("1st", "must start with a lower-case letter"),
        ("Blog", "must start with a lower-case letter"),
        ("my blog", "may hold only"),
        ("blog-", "must not end with a dash"),
        ("bløg", "may hold only"),
        ("api", "is reserved for the platform"),
        ("localhost", "is reserved for the platform"),
    ] {
        refused(create(name), &[rule, "landfall create "]).with_context(|| name.to_owned())?;
    }
    // An empty variable names no app: the folder's remote does.
    let unset = |run: Run| {
        run.with(|command| {
            command.env("LANDFALL_APP", "").env("LANDFALL_API", "");
        })
    };
    ensure!(unset(app.landfall(&["apps:info", "--json"])).ok()?.stdout.contains("name-is-taken"));
    // The stack is one of those there are.
    let on_stack = |name: &str, stack: &str| instance.landfall(&["create", name, "--no-remote", "--stack", stack]);
    refused(on_stack("stackless", "hurd-1"), &["No stack is named \"hurd-1\"; there are: landfall-13", "landfall stacks"])?;
    on_stack("stacked", "landfall-13").ok()?;
    ensure!(instance.landfall(&["apps:info", "-a", "stacked"]).ok()?.stdout.contains("landfall-13"));
    // The same rules for a new name, and nothing changes.
    refused(app.landfall(&["apps:rename", "../x"]), &["must start with a lower-case letter"])?;
    ensure!(app.json(&["apps:info", "--json"])?["name"] == "name-is-taken");
    refused(instance.landfall(&["apps:info", "-a", "../x"]), &["must start with a lower-case letter", "landfall apps"])?;
    refused(instance.landfall(&["apps:info", "-a", "not-there"]), &["Couldn't find that app", "landfall apps"])?;
    Ok(())
}

pub(crate) fn destroying(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "short-lived")?;
    ensure!(instance.landfall(&["apps:info", "short-lived"]).ok()?.stdout.contains("=== short-lived"));
    let doubted = ["apps:destroy", "short-lived", "--confirm", "other"];
    refused(app.landfall(&doubted), &["\"other\" is not short-lived, so nothing was destroyed", "landfall apps:destroy"])?;
    app.git(&["remote", "add", "elsewhere", "ssh://git@example.com/short-lived.git"]).ok()?;
    let destroyed = app.landfall(&["apps:destroy", "short-lived", "--confirm", "short-lived"]).ok()?.stdout;
    ensure!(destroyed.contains("Destroyed short-lived\nRemoved the git remote landfall from this folder"), "{destroyed}");
    ensure!(app.git(&["remote"]).ok()?.stdout == "elsewhere\n");
    refused(instance.landfall(&["apps:info", "short-lived"]), &["Couldn't find that app", "landfall apps"])?;
    Ok(())
}

pub(crate) fn scaling(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "unscaled")?;
    refused(app.landfall(&["ps:scale", "web=1"]), &["process type web", "nothing was deployed", "git push landfall main"])?;
    ensure!(app.landfall(&["ps:scale"]).ok()?.stdout.contains("git push landfall main"));
    drop(app);
    let app = App::hello(instance, "scaling")?;
    for (change, words) in [
        ("web=10000", &["The quantity of web must be 0 to 100", "landfall ps:scale web=2"][..]),
        ("web=99999999999999999999", &["is not TYPE=QUANTITY"]),
        ("web=-1", &["is not TYPE=QUANTITY"]),
        ("web-5", &["cannot run -4 dynos of web", "landfall ps:scale"]),
        ("web+500", &["0 to 100"]),
        ("web=two", &["is not TYPE=QUANTITY"]),
        ("web", &["is not TYPE=QUANTITY"]),
        ("web=1:gigantic", &["gigantic", "landfall ps:type"]),
        ("clock=1", &["process type clock; this app has web", "Procfile"]),
        ("release=1", &["process type release; this app has web"]),
    ] {
        let args = ["ps:scale", "--", change];
        let done = app.landfall(&args).fails()?;
        for word in words {
            ensure!(done.stderr.to_lowercase().contains(&word.to_lowercase()), "{change}: no {word:?} in:\n{}", done.stderr);
        }
    }
    // All or nothing.
    app.landfall(&["ps:scale", "web=2", "clock=1"]).fails()?;
    ensure!(app.json(&["ps:scale", "--json"])?[0]["quantity"] == 1);
    ensure!(app.newest_release()?.0 == 2, "scaling makes no release");
    for (wrong, words) in
        [(&["ps:restart", "web.7"][..], "dyno"), (&["ps:stop", "clock"], "process type"), (&["ps:exec", "web.7", "true"], "dyno")]
    {
        refused(app.landfall(wrong), &[&format!("Couldn't find that {words}"), "landfall ps"])?;
    }
    Ok(())
}

pub(crate) fn misspelt_commands(instance: &Instance) -> Result<()> {
    for (args, words) in [
        (&["frobnicate"][..], ["unrecognized subcommand 'frobnicate'", "Next: landfall --help"]),
        (&["config:set"], ["KEY=VALUE", "Next: landfall config:set --help"]),
        (&["ps:scal", "web=1"], ["ps:scale", "Next: landfall --help"]),
        (&["logs", "-n", "0"], ["invalid value '0'", "Next: landfall logs --help"]),
        (&["apps", "--colour"], ["unexpected argument '--colour'", "Next: landfall apps --help"]),
    ] {
        let done = refused(instance.landfall(args), &words)?;
        ensure!(done.code == 2, "{done:?}");
    }
    ensure!(instance.landfall(&["ps:scale", "--help"]).ok()?.stdout.contains("Example:\n  landfall ps:scale web=3"));
    ensure!(instance.landfall(&["--version"]).ok()?.stdout.starts_with("landfall "));
    ensure!(instance.landfall(&[]).fails()?.stderr.contains("Usage: landfall"));
    Ok(())
}

pub(crate) fn rolling_back(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "back")?;
    refused(app.landfall(&["rollback", "v99"]), &["Couldn't find that release", "landfall releases"])?;
    refused(app.landfall(&["rollback", "v1"]), &["v1: it has nothing to run", "landfall releases"])?;
    refused(app.landfall(&["rollback", "yesterday"]), &["\"yesterday\" is no release", "landfall releases"])?;
    refused(app.landfall(&["rollback", "v0"]), &["Couldn't find that release"])?;
    refused(app.landfall(&["rollback"]), &["has no earlier release to go back to"])?;
    ensure!(app.newest_release()?.0 == 2, "a refusal makes no release");
    // To what runs already: allowed, as on Heroku; a new release that is the same.
    let said = app.landfall(&["rollback", "v2"]).ok()?.stdout;
    ensure!(said.contains("back to v2: released v3"), "{said}");
    app.write("Procfile", "web: python app.py\nrelease: test -z \"$BREAK\"\n")?.push()?;
    app.landfall(&["config:set", "BREAK=1"]).ok()?;
    eventually(Duration::from_secs(30), || if app.newest_release()? == (5, "failed".into()) { Ok(()) } else { bail!("not failed yet") })?;
    refused(app.landfall(&["rollback", "v5"]), &["Cannot roll back to v5: it failed", "landfall releases"])?;
    let info = app.landfall(&["releases:info", "v5"]).ok()?.stdout;
    ensure!(info.contains("failed") && info.contains("Can be rolled back to:  no"), "{info}");
    // Without a number: the one before the current.
    let said = app.landfall(&["rollback"]).ok()?.stdout;
    ensure!(said.contains("back to v3: released v6"), "{said}");
    Ok(())
}

pub(crate) fn outputs(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "talker")?;
    let said = app.landfall(&["releases:output", "v2"]).ok()?.stdout;
    ensure!(said.contains("v2 had no release phase"), "{said}");
    app.write("Procfile", "web: python app.py\nrelease: echo one; echo two >&2; echo ünïcödé\n")?.push()?;
    let said = app.landfall(&["releases:output", "v3"]).ok()?.stdout;
    ensure!(said == "one\ntwo\nünïcödé\n", "{said:?}");
    ensure!(app.landfall(&["releases:output"]).ok()?.stdout == said, "the newest by default");
    let log = app.log();
    ensure!(log.contains("app[release.3]: one"), "{log}");

    let info = app.landfall(&["builds:info"]).ok()?.stdout;
    for words in ["Status:", "succeeded", "Commit:", "-----> ", "Released v3"] {
        ensure!(info.contains(words), "no {words:?} in {info}");
    }
    let first = app.json(&["builds", "--json"])?[1]["id"].as_str().context("an id")?.to_owned();
    ensure!(app.landfall(&["builds:info", &first]).ok()?.stdout.contains("Released v2"));
    refused(app.landfall(&["builds:info", "nonsense"]), &["Couldn't find that build", "landfall builds"])?;
    refused(app.landfall(&["builds:cancel", &first]), &["has ended already", "landfall rollback"])?;
    let empty = App::create(instance, "never-built")?;
    refused(empty.landfall(&["builds:info"]), &["was never built", "git push landfall main"])?;
    ensure!(empty.landfall(&["builds"]).ok()?.stdout.contains("git push landfall main"), "an empty list says what fills it");
    let said = empty.landfall(&["releases:output"]).ok()?.stdout;
    ensure!(said.contains("v1 had no release phase"), "{said}");

    let said = app.landfall(&["open", "/a path?q=1"]).ok()?.stdout;
    ensure!(said.trim() == format!("http://talker.localhost:{}/a%20path?q=1", instance.router.port()), "{said}");
    Ok(())
}

/// An editor that does this to the file.
fn editor(app: &App<'_>, script: &str) -> Result<String> {
    app.write("editor", format!("#!/bin/bash\n{script}\n"))?;
    Ok(app.dir().join("editor").to_string_lossy().into_owned())
}

pub(crate) fn editing_config(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "edited")?;
    app.landfall(&["config:set", "KEEP=as it is", "CHANGE=old", "DROP=gone soon", "LINES=one\ntwo"]).ok()?;
    let edit = |editor: &str| {
        let editor = editor.to_owned();
        app.landfall(&["config:edit"]).with(|command| {
            command.env_remove("VISUAL").env("EDITOR", editor);
        })
    };
    let releases = || -> Result<u64> { Ok(app.newest_release()?.0) };
    ensure!(releases()? == 2);
    refused(edit("/no/such/editor"), &["starting /no/such/editor", "No such file", "EDITOR=nano landfall config:edit"])?;
    refused(edit("false"), &["false ended with", "nothing was changed", "landfall config:edit"])?;
    let program = editor(&app, "echo 'THIS IS NO PAIR' >> \"$1\"")?;
    refused(edit(&program), &["line 6", "\"THIS IS NO PAIR\" is not KEY=VALUE", "nothing was changed", "landfall config:edit"])?;
    let program = editor(&app, "echo '2BAD=x' >> \"$1\"")?;
    refused(edit(&program), &["line 6", "2BAD", "must not start with a digit", "nothing was changed"])?;
    let program = editor(&app, "sed -i 's/^LINES=.*/LINES=\"no end/' \"$1\"")?;
    refused(edit(&program), &["line 5", "the value of LINES", "nothing was changed"])?;
    let program = editor(&app, "echo 'KEEP=twice' >> \"$1\"")?;
    refused(edit(&program), &["line 6", "KEEP is there twice", "nothing was changed"])?;
    ensure!(edit("true").ok()?.stdout == "No changes\n");
    ensure!(releases()? == 2, "none of that made a release");

    let program =
        editor(&app, "sed -i -e 's/^CHANGE=.*/CHANGE=new = better/' -e '/^DROP=/d' \"$1\" && echo 'ADD=\"two\\nlines\"' >> \"$1\"")?;
    let said = edit(&program).ok()?.stdout;
    ensure!(said.contains("ADD, CHANGE, DROP") && said.contains("v3"), "{said}");
    let config = app.json(&["config", "--json"])?;
    ensure!(
        config == serde_json::json!({ "ADD": "two\nlines", "CHANGE": "new = better", "KEEP": "as it is", "LINES": "one\ntwo" }),
        "{config}"
    );
    // Somebody else works at the same time: on something else, and on the same.
    let program = editor(&app, "landfall config:set -a edited THEIRS=yes >/dev/null && echo 'OURS=yes' >> \"$1\"")?;
    edit(&program).ok()?;
    ensure!(
        app.landfall(&["config:get", "THEIRS"]).ok()?.stdout == "yes\n" && app.landfall(&["config:get", "OURS"]).ok()?.stdout == "yes\n"
    );
    let program = editor(&app, "landfall config:set -a edited KEEP=theirs >/dev/null && sed -i 's/^KEEP=.*/KEEP=ours/' \"$1\"")?;
    refused(edit(&program), &["KEEP changed while you were editing", "nothing of yours was saved", "landfall config:edit"])?;
    ensure!(app.landfall(&["config:get", "KEEP"]).ok()?.stdout == "theirs\n");

    // On a terminal a mistake is no reason to type everything again.
    let program = editor(&app, "if grep -q MISTAKE \"$1\"; then sed -i 's/^MISTAKE.*/MENDED=1/' \"$1\"; else echo MISTAKE >> \"$1\"; fi")?;
    let mut terminal = Pty::start(instance.program(), &["config:edit"], |command| {
        command.current_dir(app.dir());
        instance.environment(command);
        command.env_remove("VISUAL").env("EDITOR", &program);
    })?;
    terminal.shows("\"MISTAKE\" is not KEY=VALUE")?;
    terminal.shows("Enter opens the editor again, q gives up")?;
    terminal.types("\r")?;
    terminal.shows("Changed MENDED and restarting edited")?;
    ensure!(terminal.ends()? == 0);
    Ok(())
}

/// What a shell, given its completions like this, makes of a line and the Tab key.
fn completed(instance: &Instance, [shell, args, load]: [&str; 3], line: &str, wanted: &str) -> Result<()> {
    let args: Vec<&str> = args.split(' ').collect();
    let mut terminal = Pty::start(shell, &args, |command| {
        instance.environment(command);
        command.env("TERM", if shell == "fish" { "xterm" } else { "dumb" });
    })?;
    terminal.types(
        &format!("{load}; echo loaded-(math 6 x 7)\r").replace("(math 6 x 7)", if shell == "fish" { "(math 6 x 7)" } else { "$((6*7))" }),
    )?;
    terminal.shows("loaded-42")?;
    terminal.clear();
    terminal.types(line)?;
    terminal.shows(wanted).with_context(|| format!("{shell}: {line:?}"))?;
    Ok(())
}

pub(crate) fn completions_in_real_shells(instance: &Instance) -> Result<()> {
    let bash = ["bash", "--norc --noprofile -i", "source <(landfall completions bash)"];
    completed(instance, bash, "landfall domains:\t\t", "remove")?;
    let zsh = ["zsh", "-f -i", "autoload -Uz compinit; compinit -u -D; source <(landfall completions zsh)"];
    let fish = ["fish", "--no-config -i", "landfall completions fish | source"];
    for shell in [bash, zsh, fish] {
        completed(instance, shell, "landfall ps:sc\t", "ps:scale")?;
        completed(instance, shell, "landfall config:e\t", "config:edit")?;
        completed(instance, shell, "landfall ps:scale --js\t", "--json")?;
        completed(instance, shell, "landfall whoa\t", "whoami")?;
    }
    Ok(())
}
