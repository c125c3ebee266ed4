//! The launcher, started as a dyno starts it, over layers as an image holds them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Output};

struct Image {
    root: tempfile::TempDir,
}

const METADATA: &str = r#"
[[buildpacks]]
id = "a/first"
[[buildpacks]]
id = "b/second"
[[processes]]
type = "web"
command = ["bash", "-c"]
args = ["env; pwd"]
default = true
direct = true
[[processes]]
type = "direct"
command = ["show", "fixed"]
args = ["default one"]
direct = true
[[processes]]
type = "there"
command = ["bash", "-c"]
args = ["pwd; echo $FROM_PROFILE"]
direct = true
working-dir = "sub"
[[processes]]
type = "old"
command = ["show"]
args = ["$LIST", "a b", "$(echo two words)"]
direct = false
"#;

impl Image {
    fn new() -> Self {
        let image = Self { root: tempfile::tempdir().unwrap() };
        image.file("layers/config/metadata.toml", METADATA);
        image.file("app/sub/x", "");
        image.file("layers/a_first/tools/bin/show", "#!/bin/sh\nprintf '<%s>' \"$@\"; echo\n");
        for process in ["web", "direct", "there", "old"] {
            std::fs::create_dir_all(image.path("process")).unwrap();
            symlink(env!("CARGO_BIN_EXE_landfall-lifecycle"), image.path("process").join(process)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_landfall-lifecycle"), image.path("process/launcher")).unwrap();
        image
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn run(&self, name: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = Command::new(self.path("process").join(name));
        command.args(args).env_clear().env("PATH", "/cnb/process:/cnb/lifecycle:/usr/bin:/bin").envs(env.iter().copied());
        command.env("CNB_LAYERS_DIR", self.path("layers")).env("CNB_APP_DIR", self.path("app")).current_dir("/");
        command.output().unwrap()
    }

    /// What it prints; it must end well.
    fn said(&self, name: &str, args: &[&str], env: &[(&str, &str)]) -> String {
        let ran = self.run(name, args, env);
        assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).replace(&self.root.path().display().to_string(), "").trim_end().to_owned()
    }

    /// One variable of the web process.
    fn variable(&self, key: &str, env: &[(&str, &str)]) -> Option<String> {
        self.said("web", &[], env).lines().find_map(|line| line.strip_prefix(&format!("{key}="))).map(str::to_owned)
    }
}

#[test]
fn environment_files_of_layers() {
    let image = Image::new();
    for (file, text) in [
        ("a_first/one/env/PLAIN", "a"),
        ("a_first/one/env/LIST.append", "a1"),
        ("a_first/one/env/LIST.delim", ","),
        ("a_first/one/env/WISH.default", "first"),
        ("a_first/one/env.launch/ROAD.prepend", "a2"),
        ("a_first/one/env.launch/web/ONLY", "web"),
        ("a_first/one/env.launch/direct/ONLY", "direct"),
        ("a_first/one/env.build/BUILT", "never here"),
        ("b_second/two/env/PLAIN.override", "b"),
        ("b_second/two/env/LIST.append", "b1"),
        ("b_second/two/env/LIST.delim", ";"),
        ("b_second/two/env/WISH.default", "second"),
        ("b_second/two/env/ROAD.prepend", "b2"),
        ("b_second/two/env/ROAD.delim", ":"),
        ("b_second/two/bin/x", ""),
        ("b_second/two/lib/x", ""),
        ("b_second/two/include/x", ""),
    ] {
        image.file(&format!("layers/{file}"), text);
    }
    let of = |key| image.variable(key, &[("LIST", "0"), ("CNB_PROCESS_TYPE", "x")]);
    assert_eq!(of("PLAIN").as_deref(), Some("b"), "a later buildpack overrides");
    assert_eq!(of("LIST").as_deref(), Some("0,a1;b1"), "appends come last, with the delimiter of their directory");
    assert_eq!(of("WISH").as_deref(), Some("first"), "the earlier default stays");
    assert_eq!(of("ROAD").as_deref(), Some("b2:a2"), "a later buildpack's prepend comes first");
    assert_eq!(of("ONLY").as_deref(), Some("web"), "a process type's own directory");
    assert_eq!(of("PATH").as_deref(), Some("/layers/b_second/two/bin:/layers/a_first/tools/bin:/usr/bin:/bin"));
    assert_eq!(of("LD_LIBRARY_PATH").as_deref(), Some("/layers/b_second/two/lib"));
    for absent in ["BUILT", "CPATH", "CNB_LAYERS_DIR", "CNB_APP_DIR", "CNB_PROCESS_TYPE"] {
        assert_eq!(of(absent), None, "{absent}");
    }
}

#[test]
fn exec_d_programs_add_variables_or_stop_the_start() {
    let image = Image::new();
    image.file("layers/a_first/one/exec.d/10-first", "#!/bin/bash\npwd >&2; echo noise; printf 'MADE = \"one\"\\nBOTH = \"1\"\\n' >&3\n");
    image.file("layers/a_first/one/exec.d/20-second", "#!/bin/bash\nprintf 'BOTH = \"%s2\"\\n' \"$BOTH\" >&3\n");
    image.file("layers/a_first/one/exec.d/direct/only", "#!/bin/bash\nprintf 'KIND = \"direct\"\\n' >&3\n");
    image.file("layers/b_second/two/exec.d/quiet", "#!/bin/bash\n");
    assert_eq!(image.variable("MADE", &[]).as_deref(), Some("one"));
    assert_eq!(image.variable("BOTH", &[]).as_deref(), Some("12"), "each sees what the one before said");
    assert_eq!(image.variable("KIND", &[]), None, "another process type's programs do not run");

    image.file("layers/b_second/two/exec.d/broken", "#!/bin/bash\nexit 3\n");
    let ran = image.run("web", &[], &[]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(82), "{said}");
    assert!(said.contains("exec.d/broken failed before the app could start") && said.contains("exit status: 3"), "{said}");
}

#[test]
fn profile_scripts_share_the_shell_of_a_line() {
    let image = Image::new();
    image.file("layers/a_first/one/profile.d/a.sh", "export FROM_PROFILE=layer; false\n");
    image.file("layers/a_first/one/profile.d/web/b.sh", "export ONLY_WEB=yes\n");
    image.file("app/.profile.d/c.sh", "FROM_PROFILE=\"$FROM_PROFILE app\"\n");
    image.file("app/.profile", "export FROM_PROFILE=\"$FROM_PROFILE own\"\n");
    assert_eq!(image.variable("FROM_PROFILE", &[]).as_deref(), Some("layer app own"));
    assert_eq!(image.variable("ONLY_WEB", &[]).as_deref(), Some("yes"));
    assert_eq!(image.said("there", &[], &[]), "/app/sub\nlayer app own", "scripts run in the app directory, the line in its own");
    assert_eq!(image.said("launcher", &["echo $FROM_PROFILE $ONLY_WEB"], &[]), "layer app own", "a one-off line has no process type");
    assert_eq!(image.said("launcher", &["--", "show", "$FROM_PROFILE"], &[]), "<$FROM_PROFILE>", "after -- no shell reads anything");
}

#[test]
fn arguments_replace_defaults_or_are_added() {
    let image = Image::new();
    assert_eq!(image.said("direct", &[], &[]), "<fixed><default one>");
    assert_eq!(image.said("direct", &["own"], &[]), "<fixed><own>", "from API 0.9 on");
    assert_eq!(image.said("old", &[], &[("LIST", "x y")]), "<x y><a b><two words>", "before API 0.9 the shell reads each argument");
    assert_eq!(image.said("old", &["more"], &[("LIST", "")]), "<><a b><two words><more>");
    assert!(image.said("launcher", &[], &[]).contains("/app"), "without a name, the default process");
}

#[test]
fn what_cannot_start_says_so() {
    let image = Image::new();
    let ran = image.run("launcher", &["--", "no-such-program"], &[]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(82));
    assert!(said.contains("cannot start no-such-program") && said.contains("Procfile"), "{said}");
    std::fs::remove_dir_all(image.path("app/sub")).unwrap();
    let said = image.run("there", &[], &[]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("cannot enter the working directory"));
}
