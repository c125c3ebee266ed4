//! What people get wrong, and what they are told.

use anyhow::{Result, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance};

pub(crate) fn unknown_language_is_refused(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "nothing-known")?;
    app.write("notes.txt", "no app here")?;
    let push = app.push_refused()?;
    ensure!(push.stderr.contains("Procfile") && push.stderr.contains(" ! "), "{}", push.stderr);
    ensure!(app.newest_release()?.0 == 1, "nothing was released");
    Ok(())
}

pub(crate) fn bad_procfile_line_is_named(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "bad-procfile")?;
    app.write("app.py", HELLO)?.write("requirements.txt", "")?.write("Procfile", "web: python app.py\nthis is no process\n")?;
    let push = app.push_refused()?;
    ensure!(push.stderr.contains("this is no process") && push.stderr.contains('2'), "{}", push.stderr);
    Ok(())
}

pub(crate) fn unresolvable_requirements_show_pips_words(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "bad-requirements")?;
    app.write("app.py", HELLO)?.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "six==999.0\n")?;
    let push = app.push_refused()?;
    ensure!(push.stderr.contains("six==999.0") && !push.stderr.contains("panicked"), "{}", push.stderr);
    Ok(())
}

pub(crate) fn unmet_node_version_names_the_nearest(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "bad-node")?;
    app.write("package.json", r#"{"name":"x","version":"1.0.0","engines":{"node":"22.999.x"},"scripts":{"start":"node s.js"}}"#)?;
    let push = app.push_refused()?;
    ensure!(push.stderr.contains("22.999") && push.stderr.matches("22.").count() > 1, "{}", push.stderr);
    Ok(())
}

pub(crate) fn config_keys_and_values(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "values")?;
    for bad in ["A B=1", "PORT=1", "1A=2", "=x", "A-B=1", "noequals"] {
        let refused = app.landfall(&["config:set", bad]).fails()?;
        ensure!(refused.stderr.contains("Next:"), "{bad}: {}", refused.stderr);
    }
    // On the command line "a=b=c" is the key `a`; only another client can ask for a key that holds the sign.
    for bad in ["a=b", "PORT", "A B", "", "1A", "Ä"] {
        let refused = instance.api_request("PATCH", "/apps/values/config-vars", &serde_json::json!({ bad: "x" }).to_string())?;
        ensure!(refused.status == 422 && refused.body.contains("Example: landfall config:set GREETING=hi"), "{bad}: {refused:?}");
    }
    ensure!(app.newest_release()?.0 == 1, "refused keys make no release");
    // "a=b" as a key is `a` with the value `b=c`: what the user typed is kept whole.
    let awkward = ["line one\nline two", "quote ' and \" and `", "ünïcödé ✓", "a=b=c", "$HOME \\n", ""];
    for value in awkward {
        app.landfall(&["config:set", &format!("AWKWARD={value}")]).ok()?;
        ensure!(app.landfall(&["config:get", "AWKWARD"]).ok()?.stdout == format!("{value}\n"), "{value:?}");
    }
    let big = "x".repeat(30_000);
    app.landfall(&["config:set", &format!("BIG={big}")]).ok()?;
    ensure!(app.landfall(&["config:get", "BIG"]).ok()?.stdout.trim_end().len() == big.len());
    // 1 MB fits no process environment (Linux: 128 KiB a string); it is refused whole and says so.
    let body = serde_json::json!({ "HUGE": "x".repeat(1 << 20) }).to_string();
    let refused = instance.api_request("PATCH", "/apps/values/config-vars", &body)?;
    ensure!(refused.status == 422 && refused.body.contains("message"), "{refused:?}");
    app.landfall(&["config:unset", "BIG", "AWKWARD"]).ok()?;
    ensure!(app.json(&["config", "--json"])? == serde_json::json!({}));
    let absent = app.landfall(&["config:unset", "NEVER"]).fails()?;
    ensure!(absent.stderr.contains("Next:"), "{}", absent.stderr);
    Ok(())
}

pub(crate) fn names_and_limits(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "taken")?;
    for bad in ["taken", "../x", "A", "x", "this-name-is-much-too-long-for-an-app", "api"] {
        let refused = instance.landfall(&["create", "--no-remote", bad]).fails()?;
        ensure!(refused.stderr.contains(" ! "), "{bad}: {}", refused.stderr);
    }
    let refused = app.landfall(&["ps:scale", "web=10000"]).fails()?;
    ensure!(refused.stderr.contains(" ! "), "{}", refused.stderr);
    let refused = instance.landfall(&["config", "-a", "no-such-app"]).fails()?;
    ensure!(refused.stderr.contains("landfall apps"), "{}", refused.stderr);
    Ok(())
}

pub(crate) fn rollback_to_nothing(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "no-past")?;
    for target in ["v99", "v1", "nonsense"] {
        let refused = app.landfall(&["rollback", target]).fails()?;
        ensure!(refused.stderr.contains(" ! "), "{target}: {}", refused.stderr);
    }
    ensure!(app.newest_release()?.0 == 1);
    Ok(())
}

pub(crate) fn deploy_branch_cannot_be_deleted(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "kept")?;
    app.git(&["push", "landfall", ":main"]).fails()?;
    ensure!(app.get("/")?.status == 200);
    let again = app.git(&["push", "landfall", "main"]).ok()?;
    ensure!(again.stderr.contains("up-to-date"), "{}", again.stderr);
    Ok(())
}

pub(crate) fn many_config_changes_at_once_leave_no_gap(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "crowded")?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                scope.spawn({
                    let app = &app;
                    move || -> Result<()> {
                        for round in 0..10 {
                            app.landfall(&["config:set", &format!("W{worker}={round}")]).ok()?;
                        }
                        Ok(())
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
    })?;
    let releases = app.json(&["releases", "-n", "1000", "--json"])?;
    let mut versions: Vec<u64> = releases.as_array().into_iter().flatten().filter_map(|release| release["version"].as_u64()).collect();
    versions.sort_unstable();
    ensure!(versions == (1..=41).collect::<Vec<_>>(), "{versions:?}");
    Ok(())
}
