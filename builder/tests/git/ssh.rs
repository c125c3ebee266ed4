//! What else one may try over SSH.

use std::process::Stdio;

use tokio::process::Command;

use crate::harness::{Ran, SSH_OPTIONS, Server, Wire, finish};

async fn ssh(server: &Server, key: &str, options: &[&str], words: &[&str]) -> Ran {
    let mut command = Command::new("ssh");
    command.args(["-F", "/dev/null", "-i"]).arg(server.dir.path().join(key)).args(SSH_OPTIONS.split(' '));
    command.args(options).args(["-p", &server.ssh_port.to_string(), "git@127.0.0.1"]).args(words);
    command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    finish(command.spawn().unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_shell_and_it_says_so() {
    let server = Server::start().await;
    for words in [&[][..], &["ls"], &["git-receive-pack", "'blog.git';", "ls"], &["git-upload-archive", "'blog.git'"]] {
        let ran = ssh(&server, "key", &[], words).await;
        assert!(!ran.ok && ran.err.contains("gives no shell"), "{words:?}: {}", ran.err);
        assert!(ran.out.is_empty());
    }
    let ran = ssh(&server, "key", &["-tt"], &[]).await;
    assert!(!ran.ok && ran.err.contains("PTY allocation request failed"), "{}", ran.err);
    let ran = ssh(&server, "key", &["-s"], &["sftp"]).await;
    assert!(!ran.ok && ran.err.contains("subsystem request failed"), "{}", ran.err);
    let ran = ssh(&server, "key", &["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"], &["git-upload-pack", "'blog.git'"]).await;
    assert!(!ran.ok && ran.err.contains("remote port forwarding failed"), "{}", ran.err);
    let ran = ssh(&server, "key", &["-W", "127.0.0.1:1"], &[]).await;
    assert!(!ran.ok && ran.err.contains("stdio forwarding failed"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_known_keys_come_in() {
    let server = Server::start().await;
    let ran = ssh(&server, "stranger", &[], &["git-upload-pack", "'blog.git'"]).await;
    assert!(!ran.ok && ran.err.contains("Permission denied (publickey)"), "{}", ran.err);
    let ran = ssh(&server, "key", &["-o", "Compression=yes", "-v"], &["git-upload-pack", "'nope.git'"]).await;
    assert!(ran.err.contains("There is no app named nope"), "{}", ran.err);
    let ran = ssh(&server, "key", &["-o", "Compression=yes", "-o", "LogLevel=DEBUG1"], &["git-upload-pack", "'nope.git'"]).await;
    assert!(!ran.err.contains("compression: zlib"), "compression was agreed on: {}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_with_and_without_slash_and_suffix_are_one_app() {
    let server = Server::start().await;
    let tree = server.work_tree(Wire::Ssh, "work").await;
    assert!(tree.run(&["push", "landfall", "main:topic"]).await.ok);
    for name in ["blog.git", "/blog.git", "blog"] {
        let ran = tree.run(&["ls-remote", &server.url(Wire::Ssh, name.trim_start_matches('/'))]).await;
        assert!(ran.ok && ran.out.contains("refs/heads/topic"), "{name}: {}", ran.err);
    }
}
