//! What a pusher lives through, over both wires.

use landfall_builder::source::{SourceLimits, checkout};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::harness::{DEADLINE, Server, WIRES, finish};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_streams_its_build_and_then_moves_the_branch() {
    for wire in WIRES {
        let mut server = Server::start().await;
        let tree = server.work_tree(wire, "work").await;
        let commit = tree.ok(&["rev-parse", "HEAD"]).await.trim().to_owned();
        let mut git = tree.spawn(&["push", "landfall", "main"]);
        let asked = server.asked().await;
        assert_eq!((asked.push.branch.as_str(), &asked.push.commit, asked.push.app_name.as_str()), ("main", &commit, "blog"));
        asked.lines.line("-----> Building");

        // The line is seen while the push still waits, and the commit can be read although git has not accepted it.
        let mut lines = BufReader::new(git.stderr.take().unwrap()).lines();
        loop {
            let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("no line came").unwrap().expect("the push ended");
            if line.trim_end() == "remote: -----> Building" {
                break;
            }
        }
        assert_eq!(asked.push.objects.quarantine.len(), 1);
        assert!(tree.remote("refs/heads/main").await.is_empty(), "the branch moved before the verdict");
        let source = server.dir.path().join("source");
        checkout(&asked.push.objects, &commit, &source, SourceLimits::default()).unwrap();
        assert_eq!(std::fs::read_to_string(source.join("hello.txt")).unwrap(), "hello\n");
        asked.accept();
        assert!(finish(git).await.ok, "{wire:?}");
        assert_eq!(tree.remote("refs/heads/main").await, commit);

        // The next push, and a clone.
        let next = tree.commit("more.txt", b"more\n").await;
        let git = tree.spawn(&["push", "landfall", "main"]);
        server.asked().await.accept();
        assert!(finish(git).await.ok, "{wire:?}");
        assert_eq!(tree.remote("refs/heads/main").await, next);
        tree.ok(&["clone", "-q", &server.url(wire, "blog.git"), "again"]).await;
        assert_eq!(std::fs::read_to_string(tree.path.join("again/more.txt")).unwrap(), "more\n");
        let again = tree.run(&["push", "landfall", "main"]).await;
        assert!(again.ok && again.err.contains("Everything up-to-date"), "{}", again.err);
        server.nothing_asked();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_push_changes_nothing_and_says_why() {
    for wire in WIRES {
        let mut server = Server::start().await;
        let tree = server.work_tree(wire, "work").await;
        let git = tree.spawn(&["push", "landfall", "main"]);
        server.asked().await.refuse("Push rejected, failed to compile the app.\nMend it and push again.");
        let ran = finish(git).await;
        assert!(!ran.ok);
        assert!(ran.err.contains("remote:  !     Push rejected, failed to compile the app."), "{}", ran.err);
        assert!(ran.err.contains("remote:  !     Mend it and push again."), "{}", ran.err);
        assert!(ran.err.contains("pre-receive hook declined"), "{}", ran.err);
        assert!(tree.remote("").await.is_empty());
        server.no_quarantine().await;
        // The same commit may come again.
        let git = tree.spawn(&["push", "landfall", "main"]);
        server.asked().await.accept();
        assert!(finish(git).await.ok);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_main_and_master_deploy() {
    for wire in WIRES {
        let mut server = Server::start().await;
        let tree = server.work_tree(wire, "work").await;
        tree.ok(&["tag", "v1"]).await;
        let ran = tree.run(&["push", "landfall", "main:topic", "v1"]).await;
        assert!(ran.ok && ran.err.contains("Branch topic stored. It is not deployed"), "{}", ran.err);
        assert!(!tree.remote("refs/heads/topic").await.is_empty());
        assert!(!tree.remote("refs/tags/v1").await.is_empty());
        server.nothing_asked();

        let ran = tree.run(&["push", "landfall", "main", "main:master"]).await;
        assert!(!ran.ok && ran.err.contains("main and master were pushed together"), "{}", ran.err);

        let git = tree.spawn(&["push", "landfall", "main:master"]);
        let asked = server.asked().await;
        assert_eq!(asked.push.branch, "master");
        asked.accept();
        assert!(finish(git).await.ok);
        tree.ok(&["clone", "-q", &server.url(wire, "blog.git"), "again"]).await;
        assert!(tree.path.join("again/hello.txt").exists(), "a clone checks out master if that is the branch there is");

        let ran = tree.run(&["push", "landfall", ":master"]).await;
        assert!(!ran.ok && ran.err.contains("master is the branch that deploys and cannot be deleted"), "{}", ran.err);
        assert!(!tree.remote("refs/heads/master").await.is_empty());
        assert!(tree.run(&["push", "landfall", ":topic"]).await.ok);
        server.nothing_asked();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pushes_to_one_app_go_one_after_the_other() {
    let mut server = Server::start().await;
    let first_tree = server.work_tree(crate::harness::Wire::Ssh, "one").await;
    let second_tree = server.work_tree(crate::harness::Wire::Http, "two").await;
    second_tree.commit("second.txt", b"2").await;
    let first = first_tree.spawn(&["push", "landfall", "main"]);
    let first_asked = server.asked().await;
    let mut second = second_tree.spawn(&["push", "landfall", "main:master"]);
    let mut lines = BufReader::new(second.stderr.take().unwrap()).lines();
    let short = &first_asked.push.commit[..7];
    let waiting =
        format!("remote: -----> Waiting: ann@example.com's push of {short} is being built for blog, pushes to one app go one at a time");
    loop {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("no line came").unwrap().expect("the push ended");
        if line.trim_end() == waiting {
            break;
        }
    }
    server.nothing_asked();
    first_asked.accept();
    assert!(finish(first).await.ok);
    let second_asked = server.asked().await;
    assert_eq!(second_asked.push.branch, "master");
    second_asked.accept();
    assert!(finish(second).await.ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_waited_joins_what_came_before_it_or_is_refused_unbuilt() {
    for wire in WIRES {
        let mut server = Server::start().await;
        let (first, second, stranger) =
            (server.work_tree(wire, "one").await, server.work_tree(wire, "two").await, server.work_tree(wire, "three").await);
        first.commit("first.txt", b"1").await;
        second.ok(&["fetch", "-q", &first.path.display().to_string(), "main"]).await;
        second.ok(&["reset", "-q", "--hard", "FETCH_HEAD"]).await;
        second.commit("second.txt", b"2").await;
        stranger.commit("stranger.txt", b"3").await;
        stranger.ok(&["commit", "-q", "--amend", "-m", "another history"]).await;
        // All saw the same: a branch that is not there.
        let pushed = first.spawn(&["push", "landfall", "main"]);
        let building = server.asked().await;
        let mut waiting = Vec::new();
        for tree in [&second, &stranger, &second] {
            let mut git = tree.spawn(&["push", "landfall", "main"]);
            let mut lines = BufReader::new(git.stderr.take().unwrap()).lines();
            while !tokio::time::timeout(DEADLINE, lines.next_line())
                .await
                .expect("no line came")
                .unwrap()
                .expect("it ended")
                .contains("Waiting: ")
            {}
            let rest = tokio::spawn(async move {
                let mut said = String::new();
                while let Some(line) = lines.next_line().await.unwrap() {
                    said.push_str(&line);
                    said.push('\n');
                }
                said
            });
            waiting.push((git, rest));
        }
        building.accept();
        assert!(finish(pushed).await.ok, "{wire:?}");
        let asked = server.asked().await;
        let newest = asked.push.commit.clone();
        asked.accept();
        let mut ends = Vec::new();
        for (git, rest) in waiting {
            ends.push((finish(git).await.ok, rest.await.unwrap()));
        }
        server.nothing_asked();
        let [(second_ok, second_said), (stranger_ok, stranger_said), (twin_ok, twin_said)] = &ends[..] else { panic!() };
        assert!(*second_ok, "{wire:?}: {second_said}");
        assert!(!stranger_ok && stranger_said.contains("moved to") && stranger_said.contains("Nothing was built"), "{stranger_said}");
        assert!(stranger_said.contains("git pull --rebase landfall main"), "{stranger_said}");
        assert!(*twin_ok && twin_said.contains("was deployed while this push waited"), "{twin_said}");
        assert!(first.remote("refs/heads/main").await.contains(&newest), "{wire:?}: the branch is at what was built last");
        server.no_quarantine().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_cancels_the_build_and_leaves_nothing() {
    for wire in WIRES {
        let mut server = Server::start().await;
        let tree = server.work_tree(wire, "work").await;
        let git = tree.spawn(&["push", "landfall", "main"]);
        let asked = server.asked().await;
        // What a terminal does: SIGINT to the whole foreground group.
        killpg(Pid::from_raw(i32::try_from(git.id().unwrap()).unwrap()), Signal::SIGINT).unwrap();
        tokio::time::timeout(DEADLINE, asked.cancel.cancelled()).await.expect("the build was not cancelled");
        assert!(!finish(git).await.ok);
        server.no_quarantine().await;
        assert!(tree.remote("").await.is_empty());
        // Its turn is over too.
        let git = tree.spawn(&["push", "landfall", "main"]);
        server.asked().await.accept();
        assert!(finish(git).await.ok, "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_stopped_reading_stops_neither_the_build_nor_the_answer() {
    for wire in WIRES {
        let mut server = Server::start().await;
        let tree = server.work_tree(wire, "work").await;
        let mut git = tree.spawn(&["push", "landfall", "main"]);
        let group = Pid::from_raw(i32::try_from(git.id().unwrap()).unwrap());
        // Read on, so that only the stop holds the client up.
        let mut stderr = git.stderr.take().unwrap();
        let reading = tokio::spawn(async move {
            let mut all = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut all).await.unwrap();
            all
        });
        let asked = server.asked().await;
        killpg(group, Signal::SIGSTOP).unwrap();
        let started = std::time::Instant::now();
        let line = "x".repeat(200);
        for _ in 0..100_000 {
            asked.lines.line(&line);
        }
        assert!(started.elapsed() < DEADLINE / 3, "a writer was held up by the reader");
        assert!(!asked.cancel.is_cancelled(), "a stopped client is not a gone client");
        asked.accept();
        killpg(group, Signal::SIGCONT).unwrap();
        assert!(finish(git).await.ok, "{wire:?}");
        assert!(reading.await.unwrap().contains(&line));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_no_app_are_answered_in_words() {
    for wire in WIRES {
        let server = Server::start().await;
        let tree = server.work_tree(wire, "work").await;
        for (path, words) in
            [("../x.git", "no such repository"), ("nope.git", "There is no app named nope"), ("Blog.git", "no such repository")]
        {
            // Over HTTP a plain ".." would never leave the client.
            let url = if wire == crate::harness::Wire::Http {
                server.url(wire, &path.replace("../", "%2e%2e%2f"))
            } else {
                server.url(wire, path)
            };
            let ran = tree.run(&["push", &url, "main"]).await;
            assert!(!ran.ok && ran.err.contains(words), "{wire:?} {path}: {}", ran.err);
        }
        assert!(!server.dir.path().join("x.git").exists());
        assert!(!server.receiver.config().repositories.exists(), "nothing is made for a name that is refused");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_git_finds_wrong_are_refused() {
    let mut server = Server::start().await;
    let tree = server.work_tree(crate::harness::Wire::Ssh, "work").await;
    // A tree that holds a file ".git": fsck says no on the server, whatever the client thinks.
    let blob = tree.ok(&["hash-object", "-w", "hello.txt"]).await;
    let mut raw = b"100644 .git\0".to_vec();
    raw.extend((0..20).map(|at| u8::from_str_radix(&blob[at * 2..at * 2 + 2], 16).unwrap()));
    std::fs::write(tree.path.join("raw"), raw).unwrap();
    let bad = tree.ok(&["hash-object", "-w", "-t", "tree", "--literally", "raw"]).await;
    let commit = tree.ok(&["commit-tree", "-m", "bad", bad.trim()]).await;
    let ran = tree.run(&["push", "landfall", &format!("{}:refs/heads/main", commit.trim())]).await;
    assert!(!ran.ok && ran.err.contains("hasDotgit"), "{}", ran.err);
    server.nothing_asked();
}
