//! What a pusher sends to break out, or to choke the machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance, Options, Run, eventually};

fn peak_kb(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Every file of a repository's object store.
fn objects(repository: &Path) -> Result<Vec<PathBuf>> {
    let listed = Run::new("find", &[&repository.join("objects").to_string_lossy(), "-type", "f"]).ok()?.stdout;
    let mut files: Vec<PathBuf> = listed.lines().map(PathBuf::from).collect();
    files.sort();
    Ok(files)
}

fn repository(instance: &Instance, app: &App<'_>) -> Result<PathBuf> {
    let id = app.json(&["apps:info", "--json"])?["id"].as_str().context("an id")?.to_owned();
    Ok(instance.data_dir().join("git").join(format!("{id}.git")))
}

/// One gigabyte that cannot be squeezed, and one that squeezes to nothing: the first is too long for a push, the second for a source.
pub(crate) fn a_gigabyte_in_a_push_is_refused_and_leaves_nothing() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::hello(&instance, "heavy")?;
    let repository = repository(&instance, &app)?;
    let (before, server) = (objects(&repository)?, instance.pid("server")?);
    let base_kb = peak_kb(server)?;
    // The client's time is not what is tested.
    app.git(&["config", "core.compression", "0"]).ok()?;
    for (source, words) in [
        ("/dev/urandom", ["Push rejected, it sends more than 512 MB.", "git rm --cached FILE"]),
        ("/dev/zero", ["holds more than 1024 MB", "Keep data out of the repository"]),
    ] {
        let file = app.dir().join("data.bin");
        Run::new("dd", &[&format!("if={source}"), &format!("of={}", file.display()), "bs=1M", "count=1030", "status=none"]).ok()?;
        if source == "/dev/zero" {
            app.git(&["config", "core.compression", "1"]).ok()?;
        }
        app.commit()?;
        let push = app.git(&["push", "landfall", "main"]).within(Duration::from_mins(10)).fails()?;
        for word in words {
            ensure!(push.stderr.contains(word), "{word:?} is not in:\n{}", push.stderr);
        }
        app.git(&["reset", "-q", "--hard", "HEAD~1"]).ok()?;
        eventually(Duration::from_secs(30), || {
            let now = objects(&repository)?;
            if now == before { Ok(()) } else { bail!("{} objects before, now {now:?}", before.len()) }
        })?;
        let grown = peak_kb(server)?.saturating_sub(base_kb);
        ensure!(grown < 128 << 10, "the server's memory peaked {grown} kB higher");
    }
    ensure!(app.newest_release()?.0 == 2 && app.get("/")?.status == 200);
    app.write("app.py", HELLO.replace("Hello from Landfall", "light"))?.push()?;
    app.answers_when(|answer| answer.body == "light\n")?;
    Ok(())
}

/// A tarball through the API, made by a program that has no scruples.
fn tarball(instance: &Instance, app: &App<'_>, entry: &str) -> Result<String> {
    let program = format!(
        "import tarfile, io\n\
         tar = tarfile.open('{path}', 'w:gz')\n\
         def add(name, kind=tarfile.REGTYPE, mode=0o644, link='', data=b'', dev=None):\n    \
             info = tarfile.TarInfo(name); info.type = kind; info.mode = mode; info.linkname = link; info.size = len(data)\n    \
             if dev: info.devmajor, info.devminor = dev\n    \
             tar.addfile(info, io.BytesIO(data))\n\
         add('Procfile', data=b'web: true\\n')\n\
         {entry}\n\
         tar.close()\n",
        path = app.dir().join("source.tgz").display()
    );
    Run::new("python3", &["-c", &program]).ok()?;
    let source = instance.api_request("POST", "/sources", "{}")?;
    let source: serde_json::Value = serde_json::from_str(&source.body)?;
    let url = source["source_blob"]["put_url"].as_str().context("an upload URL")?.to_owned();
    let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned())).context("a path")?;
    let sent = std::fs::read(app.dir().join("source.tgz"))?;
    let put = landfall_tests::http::request(instance.api, "PUT", "127.0.0.1", &path, &[], &sent)?;
    ensure!(put.status == 200, "{put:?}");
    let build = serde_json::json!({ "source_blob": { "url": url } }).to_string();
    let build = instance.api_request("POST", &format!("/apps/{}/builds", app.name), &build)?;
    ensure!(build.status == 201, "{build:?}");
    let build: serde_json::Value = serde_json::from_str(&build.body)?;
    Ok(build["id"].as_str().context("a build")?.to_owned())
}

pub(crate) fn tarballs_that_reach_out_are_refused_in_words(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "smuggler")?;
    for (entry, words) in [
        ("add('sda', kind=tarfile.BLKTYPE, dev=(8, 0))", "is a device"),
        ("add('null', kind=tarfile.CHRTYPE, dev=(1, 3))", "is a device"),
        ("add('pipe', kind=tarfile.FIFOTYPE)", "is a named pipe"),
        ("add('su', mode=0o4755, data=b'x')", "setuid"),
        ("add('dev', kind=tarfile.SYMTYPE, link='/dev')", "leaves the source tree"),
        ("add('up', kind=tarfile.SYMTYPE, link='../../../etc')", "leaves the source tree"),
        ("add('passwd', kind=tarfile.LNKTYPE, link='/etc/passwd')", "is a hard link to something"),
        ("add('../../escaped', data=b'x')", "climbs out of the source tree"),
        ("add('/etc/escaped', data=b'x')", "is an absolute path"),
        ("add('d', kind=tarfile.SYMTYPE, link='e'); add('d/x', data=b'x')", "appears twice"),
        ("add('/'.join('d' * 100), data=b'x')", "nested too deep"),
        ("[add('f%d' % n) for n in range(200001)]", "more than 200000 files"),
    ] {
        let build = tarball(instance, &app, entry)?;
        eventually(Duration::from_mins(2), || {
            let status = instance.api_request("GET", &format!("/apps/smuggler/builds/{build}"), "")?;
            if status.body.contains("\"failed\"") { Ok(()) } else { bail!("{status:?}") }
        })?;
        let output = app.landfall(&["builds:output", &build]).done()?.all();
        ensure!(output.contains(words) && output.contains(" !     "), "{entry}: {words:?} is not in:\n{output}");
        ensure!(!instance.data_dir().join("builds").join(&build).join("source").exists(), "{entry} left its source");
    }
    ensure!(app.newest_release()?.0 == 1 && !Path::new("/etc/escaped").exists());
    Ok(())
}

/// A build that puts links where the platform looks, and a dyno that is made of it.
pub(crate) fn links_of_a_build_lead_nowhere(instance: &Instance) -> Result<()> {
    let host = tempfile::tempdir()?;
    std::fs::create_dir(host.path().join("deps"))?;
    std::fs::write(host.path().join("deps/secret"), "the host's own")?;
    Run::new("chmod", &["-R", "a+rX", &host.path().to_string_lossy()]).ok()?;
    let app = App::create(instance, "pathfinder")?;
    let hook = format!(
        "#!/bin/bash\nln -s {host} /layers/evil\nln -s / /app/root\nln -s /dev /app/dev\nln -s {host}/deps/secret /app/secret\n\
         mkdir -p /tmp/x && ln -s {host} /tmp/x/y\nrm -rf /dev/shm /proc/1 /sys/fs 2>/dev/null\nmv /dev /gone 2>/dev/null\nln -sfn {host} /dev 2>/dev/null\ntrue\n",
        host = host.path().display()
    );
    app.write("app.py", HELLO)?.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "")?.write("bin/pre_compile", hook)?;
    app.push()?;
    app.answers(200)?;
    let seen = app
        .landfall(&["run", "cat /app/secret; ls /layers; ls /app/dev/ /app/root/; touch /app/root/x /app/dev/x; echo done"])
        .done()?
        .all();
    ensure!(seen.contains("done") && !seen.contains("the host's own") && !seen.contains("evil"), "{seen}");
    ensure!(std::fs::read_to_string(host.path().join("deps/secret"))? == "the host's own");
    ensure!(std::fs::read_dir(host.path())?.count() == 1 && !Path::new("/x").exists() && !Path::new("/dev/x").exists());
    Ok(())
}
