//! The whole flow with small bash buildpacks in a temporary tree.

use std::os::unix::fs::PermissionsExt;

use super::*;

mod contract;

struct Tree {
    root: tempfile::TempDir,
}

impl Tree {
    fn new(order: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["app", "layers", "platform/env", "buildpacks"] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        std::fs::write(root.path().join("order.toml"), order).unwrap();
        Self { root }
    }

    fn buildpack(&self, id: &str, detect: &str, build: &str) {
        self.buildpack_with(id, "", detect, build);
    }

    /// With more in its buildpack.toml, after `[buildpack]`.
    fn buildpack_with(&self, id: &str, more: &str, detect: &str, build: &str) {
        let dir = self.root.path().join("buildpacks").join(files::escaped(id)).join("1.0.0");
        std::fs::create_dir_all(dir.join("bin")).unwrap();
        std::fs::write(dir.join("buildpack.toml"), format!("api='0.10'\n[buildpack]\nid='{id}'\nversion='1.0.0'\n{more}")).unwrap();
        for (name, body) in [("detect", detect), ("build", build)] {
            let path = dir.join("bin").join(name);
            std::fs::write(&path, format!("#!/bin/bash\nset -eu\n{body}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn build(&self) -> Result<Report, Failure> {
        let at = |p: &str| self.root.path().join(p);
        build(&Context {
            app: at("app"),
            layers: at("layers"),
            platform: at("platform"),
            buildpacks: at("buildpacks"),
            order: at("order.toml"),
            inherited: Env::inherited(),
            target: descriptor::here(),
        })
    }
}

const TWO: &str = "[[order]]\ngroup=[{id='t/a',version='1.0.0'},{id='t/b',version='1.0.0',optional=true}]";

#[test]
fn layers_processes_and_plan_reach_the_report() {
    let tree = Tree::new(TWO);
    std::fs::write(tree.root.path().join("platform/env/FROM_USER"), "a b").unwrap();
    let a = r#"mkdir -p "$1/tool/bin" "$1/tool/env.build" "$1/gone"; printf yes >"$1/tool/env.build/TOOL"
        grep -q 'name = "x"' "$3"; test "$FROM_USER" = "a b"
        printf '[types]\nbuild=true\ncache=true\n[metadata]\nkey="1"\n' >"$1/tool.toml"; printf '[metadata]\nk=1\n' >"$1/gone.toml"
        printf '[[processes]]\ntype="web"\ncommand=["a"]\ndefault=true\n[[slices]]\npaths=["*.css"]\n' >"$1/launch.toml""#;
    let b = r#"test "$TOOL" = yes; [[ "$PATH" == *tool/bin:* ]]
        printf '[[processes]]\ntype="web"\ncommand=["bash","-c"]\nargs=["b $PORT"]\n' >"$1/launch.toml""#;
    tree.buildpack("t/a", "printf '[[provides]]\\nname=\"x\"\\n' >\"$2\"", a);
    tree.buildpack("t/b", "printf '[[requires]]\\nname=\"x\"\\n' >\"$2\"", b);
    let report = tree.build().unwrap();
    let written = std::fs::read(tree.root.path().join("layers").join(REPORT_FILE)).unwrap();
    assert_eq!(Report::from_json(&written).unwrap(), report);
    assert_eq!((report.layers.len(), report.layers[0].metadata.as_str()), (1, "[metadata]\nkey = \"1\"\n"));
    assert!(tree.root.path().join("layers/t_a/gone.ignore").is_dir());
    assert_eq!((report.processes[0].shown(), report.processes[0].default), ("b $PORT".to_owned(), false));
    assert_eq!(report.slices, [["*.css"]]);
}

#[test]
fn a_failing_buildpack_is_named() {
    let tree = Tree::new(TWO);
    tree.buildpack("t/a", "exit 0", "exit 7");
    tree.buildpack("t/b", "exit 100", "exit 0");
    let failure = tree.build().unwrap_err();
    assert_eq!(failure.code, 51);
    assert!(failure.message.contains("t/a"), "{}", failure.message);
}

#[test]
fn nothing_detected_says_what_to_add() {
    let tree = Tree::new(TWO);
    tree.buildpack("t/a", "exit 100", "exit 0");
    tree.buildpack("t/b", "exit 100", "exit 0");
    let failure = tree.build().unwrap_err();
    assert_eq!(failure.code, 20);
    insta::assert_snapshot!(failure.message);
    tree.buildpack("t/a", "exit 1", "exit 0");
    assert_eq!(tree.build().unwrap_err().code, 21);
}
