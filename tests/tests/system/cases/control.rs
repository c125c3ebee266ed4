//! The control plane itself: whose database it is, builds that wait, who did what.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance, Options, Run, eventually, http};

pub(crate) fn one_server_and_only_its_own_data() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::hello(&instance, "keeper")?;
    let dyno = || -> Result<serde_json::Value> { Ok(app.json(&["ps", "--json"])?[0]["id"].clone()) };
    let before = dyno()?;
    let run_dir = format!("run_dir={}2", instance.run_dir().display());
    let second = |more: &[&str]| {
        let own = ["server", "--set", "api.listen=127.0.0.1:0", "--set", "ssh.listen=127.0.0.1:0", "--set", &run_dir];
        instance.landfall(&[&own, more].concat()).fails()
    };
    let refused = second(&[])?.stderr;
    ensure!(refused.contains(&format!("in use by another Landfall server: process {} on ", instance.pid("server")?)), "{refused}");
    ensure!(refused.contains("landfall down"), "{refused}");
    let other = format!("store.url=sqlite:{}/other.db", instance.data_dir().display());
    let refused = second(&["--set", &other])?.stderr;
    ensure!(refused.contains("holds the data of another database") && refused.contains("rm "), "{refused}");
    ensure!(app.get("/")?.status == 200 && dyno()? == before, "a server with another database touched the dynos");

    // What destroyed apps left, and what living ones have.
    let gone = String::from_utf8(std::fs::read("/proc/sys/kernel/random/uuid")?)?;
    let strays = ["git/ID.git", "logs/ID", "release-output/ID"].map(|path| instance.data_dir().join(path.replace("ID", gone.trim())));
    strays.iter().try_for_each(std::fs::create_dir)?;
    let own = std::fs::read_dir(instance.data_dir().join("git"))?.count() - 1;
    instance.kill("server")?;
    instance.api_answers()?;
    eventually(Duration::from_mins(1), || if strays.iter().any(|path| path.exists()) { bail!("{strays:?}") } else { Ok(()) })?;
    ensure!(std::fs::read_dir(instance.data_dir().join("git"))?.count() == own && dyno()? == before);

    let log = instance.landfall(&["audit", "-n", "20"]).ok()?.stdout;
    for part in ["app.create", "deploy", "keeper", "127.0.0.1", "v2: Deploy "] {
        ensure!(log.contains(part), "{part} is not in {log}");
    }
    Ok(())
}

/// Uploads a folder; the URL to build it from.
fn upload(instance: &Instance, dir: &Path) -> Result<String> {
    let source: serde_json::Value = serde_json::from_str(&instance.api_request("POST", "/sources", "{}")?.body)?;
    let url = |name: &str| source["source_blob"][name].as_str().map(str::to_owned).context("a URL");
    let tar = tempfile::NamedTempFile::new()?;
    Run::new("tar", &["--exclude=.git", "-czf", &tar.path().to_string_lossy(), "-C", &dir.to_string_lossy(), "."]).ok()?;
    let put = url("put_url")?;
    let path = put.split_once(&instance.api.to_string()).context("our address")?.1;
    let put = http::request(instance.api, "PUT", "127.0.0.1", path, &[], &std::fs::read(tar.path())?)?;
    ensure!(put.status == 200, "{put:?}");
    url("get_url")
}

pub(crate) fn builds_that_wait() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::create(&instance, "patient")?;
    app.write("app.py", HELLO)?.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "")?;
    app.write("bin/pre_compile", "#!/bin/bash\necho build-is-sleeping\nsleep 300\n")?;
    let slow = upload(&instance, app.dir())?;
    std::fs::remove_file(app.dir().join("bin/pre_compile"))?;
    let good = upload(&instance, app.dir())?;
    let build = |url: &str| instance.api_request("POST", "/apps/patient/builds", &format!(r#"{{"source_blob":{{"url":"{url}"}}}}"#));
    let id = |answer: &http::Answer| -> Result<String> {
        let build: serde_json::Value = serde_json::from_str(&answer.body)?;
        build["id"].as_str().map(str::to_owned).with_context(|| format!("{answer:?}"))
    };
    let builds = (0..10).map(|_| id(&build(&slow)?)).collect::<Result<Vec<_>>>()?;
    let full = build(&slow)?;
    ensure!(full.status == 409 && full.body.contains("landfall builds:cancel"), "{full:?}");
    // The command would wait for the build's end.
    let log = |id: &str| std::fs::read_to_string(instance.data_dir().join("builds").join(id).join("log")).unwrap_or_default();
    let source = instance.data_dir().join("builds").join(&builds[0]).join("source");
    eventually(Duration::from_mins(1), || if source.is_dir() { Ok(()) } else { bail!("{} is not there", source.display()) })?;
    // The newest first: what waits is cancelled while the first still runs.
    for id in builds.iter().rev() {
        let cancelled = instance.api_request("DELETE", &format!("/apps/patient/builds/{id}"), "")?;
        ensure!(cancelled.status == 200 && cancelled.body.contains(r#""status":"failed""#), "{cancelled:?}");
    }
    ensure!(log(&builds[0]).contains("----->"), "the first build did not run");
    for id in &builds[1..] {
        ensure!(!log(id).contains("----->"), "a cancelled build ran: {}", log(id));
    }
    id(&build(&good)?)?;
    app.answers(200)?;
    // Each goes when the rollout of its build has ended.
    eventually(Duration::from_mins(1), || {
        let uploads = std::fs::read_dir(instance.data_dir().join("uploads"))?.flatten();
        let taken: Vec<_> = uploads.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "build")).collect();
        if taken.is_empty() { Ok(()) } else { bail!("{taken:?} were left by builds") }
    })?;
    let log = instance.landfall(&["audit", "--json"]).ok()?.stdout;
    let log: serde_json::Value = serde_json::from_str(&log)?;
    let deploy = log.as_array().into_iter().flatten().find(|entry| entry["action"] == "deploy").context("the deploy")?;
    ensure!(deploy["address"] == "127.0.0.1", "{deploy}");
    Ok(())
}
