//! The less travelled parts of the buildpack contract (API 0.10).

use super::*;

const NOTHING: &str = "exit 0";

impl Tree {
    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.path().join(path)).unwrap_or_else(|e| format!("{path}: {e}"))
    }

    /// Buildpacks of the group, in order.
    fn group(&self) -> Vec<String> {
        self.build().unwrap().group.into_iter().map(|b| b.id).collect()
    }
}

fn order(groups: &[&[&str]]) -> String {
    let entry = |id: &&str| match id.strip_suffix('?') {
        Some(id) => format!("{{id='{id}',version='1.0.0',optional=true}}"),
        None => format!("{{id='{id}',version='1.0.0'}}"),
    };
    groups.iter().map(|group| format!("[[order]]\ngroup=[{}]\n", group.iter().map(entry).collect::<Vec<_>>().join(","))).collect()
}

#[test]
fn targets_and_stacks() {
    let here = descriptor::here();
    let (name, version, arch) = (&here.distros[0].name, &here.distros[0].version, &here.arch);
    for (more, fits) in [
        (String::new(), true),
        ("[[targets]]\nos='linux'".into(), true),
        ("[[targets]]\nos='windows'".into(), false),
        (format!("[[targets]]\nos='linux'\narch='{arch}'"), true),
        ("[[targets]]\narch='s390x'".into(), false),
        (format!("[[targets]]\n[[targets.distros]]\nname='{name}'\nversion='{version}'"), true),
        (format!("[[targets]]\n[[targets.distros]]\nname='{name}'"), true),
        ("[[targets]]\n[[targets.distros]]\nname='ubuntu'\nversion='1.04'".into(), false),
        (format!("[[targets]]\nos='windows'\n[[targets]]\n[[targets.distros]]\nname='x'\n[[targets.distros]]\nname='{name}'"), true),
        ("[[stacks]]\nid='*'".into(), true),
        ("[[stacks]]\nid='heroku-24'".into(), true),
        ("[[stacks]]\nid='io.buildpacks.stacks.bionic'".into(), false),
    ] {
        let tree = Tree::new(&order(&[&["t/a"]]));
        tree.buildpack_with("t/a", &more, NOTHING, NOTHING);
        match tree.build() {
            Ok(_) => assert!(fits, "{more}"),
            Err(failure) => assert!(!fits && failure.code == 21, "{more}: {}", failure.message),
        }
    }
}

#[test]
fn a_composite_stands_for_each_of_its_groups() {
    let tree = Tree::new(&order(&[&["t/all", "t/last?"]]));
    let composite = |id: &str, groups: &[&[&str]]| {
        tree.write(
            &format!("buildpacks/{}/1.0.0/buildpack.toml", files::escaped(id)),
            &format!("api='0.10'\n[buildpack]\nid='{id}'\nversion='1.0.0'\n{}", order(groups)),
        );
    };
    composite("t/all", &[&["t/no", "t/b"], &["t/inner", "t/b"]]);
    composite("t/inner", &[&["t/no"], &["t/a", "t/last"]]);
    tree.buildpack("t/no", "exit 100", NOTHING);
    for id in ["t/a", "t/b", "t/last"] {
        tree.buildpack(id, &format!("echo x >>\"$CNB_APP_DIR/detected-{}\"", files::escaped(id)), NOTHING);
    }
    assert_eq!(tree.group(), ["t/a", "t/last", "t/b"], "a buildpack that comes twice counts once, at its first place");
    assert_eq!(tree.read("app/detected-t_b"), "x\n", "each detect runs once, however many groups name it");

    composite("t/inner", &[&["t/all"]]);
    let failure = tree.build().unwrap_err();
    assert!(failure.message.contains("t/all contains itself"), "{}", failure.message);
}

#[test]
fn unmet_requirements_go_to_the_next_provider() {
    let tree = Tree::new(&order(&[&["t/a", "t/b", "t/c", "t/d"]]));
    let provides = r#"printf '[[provides]]\nname="x"\n' >"$2""#;
    let seen = |n: &str| format!(r#"cp "$3" "$CNB_APP_DIR/plan-{n}""#);
    tree.buildpack("t/a", provides, &format!("{}\nprintf '[[unmet]]\\nname=\"x\"\\n' >\"$1/build.toml\"", seen("a")));
    tree.buildpack("t/b", provides, &seen("b"));
    tree.buildpack("t/c", provides, &seen("c"));
    tree.buildpack("t/d", r#"printf '[[requires]]\nname="x"\n[requires.metadata]\nversion="1"\n' >"$2""#, &seen("d"));
    tree.build().unwrap();
    for (buildpack, gets) in [("a", true), ("b", true), ("c", false), ("d", false)] {
        let plan = tree.read(&format!("app/plan-{buildpack}"));
        assert_eq!(plan.contains("name = \"x\"") && plan.contains("version = \"1\""), gets, "{buildpack}: {plan}");
    }

    tree.buildpack("t/a", provides, r#"printf '[[unmet]]\nname="y"\n' >"$1/build.toml""#);
    let failure = tree.build().unwrap_err();
    assert!(failure.code == 52 && failure.message.contains("t/a calls y unmet"), "{}", failure.message);
}

#[test]
fn a_required_need_that_nobody_meets_fails_the_group() {
    let tree = Tree::new(&order(&[&["t/a"], &["t/b"]]));
    tree.buildpack("t/a", r#"printf '[[requires]]\nname="gone"\n' >"$2""#, NOTHING);
    tree.buildpack("t/b", NOTHING, NOTHING);
    assert_eq!(tree.group(), ["t/b"]);
}

#[test]
fn restored_layers_live_only_if_they_are_named_again() {
    let tree = Tree::new(&order(&[&["t/a"]]));
    // As the platform restores them: metadata without types, contents beside.
    for layer in ["kept", "forgotten"] {
        tree.write(&format!("layers/t_a/{layer}.toml"), "[metadata]\nround = 1\n");
        tree.write(&format!("layers/t_a/{layer}/file"), layer);
    }
    tree.write("layers/t_a/store.toml", "[metadata]\nbuilds = 1\n");
    let build = r#"grep -q 'round = 1' "$1/kept.toml"; test "$(cat "$1/kept/file")" = kept; grep -q 'builds = 1' "$1/store.toml"
        printf '[types]\ncache=true\n[metadata]\nround = 2\n' >"$1/kept.toml"
        printf '[metadata]\nbuilds = 2\n' >"$1/store.toml"
        printf '[types]\nlaunch=true\n' >"$1/again.toml""#;
    tree.buildpack("t/a", NOTHING, build);
    let report = tree.build().unwrap();
    let shown: Vec<_> = report.layers.iter().map(|l| (l.name.as_str(), l.launch, l.cache, l.reuse_previous, l.metadata.as_str())).collect();
    // A launch layer without a directory is the last image's.
    assert_eq!(shown, [("again", true, false, true, ""), ("kept", false, true, false, "[metadata]\nround = 2\n")]);
    assert!(tree.root.path().join("layers/t_a/forgotten.ignore").is_dir(), "without types it is no layer any more");
    assert_eq!(report.store["t/a"], "[metadata]\nbuilds = 2\n");
}

#[test]
fn a_cached_layer_must_have_contents() {
    let tree = Tree::new(&order(&[&["t/a"]]));
    for types in ["cache=true", "build=true", "launch=true\ncache=true"] {
        tree.buildpack("t/a", NOTHING, &format!("printf '[types]\\n{types}\\n' >\"$1/gone.toml\""));
        let failure = tree.build().unwrap_err();
        assert!(failure.message.contains("describes the layer gone"), "{types}: {}", failure.message);
    }
}

#[test]
fn only_build_layers_reach_later_buildpacks() {
    let tree = Tree::new(&order(&[&["t/a", "t/b"]]));
    let layer = |name: &str, types: &str| {
        let shout = name.to_uppercase();
        format!(
            "mkdir -p \"$1/{name}/env\" \"$1/{name}/bin\"; printf {name} >\"$1/{name}/env/{shout}\"; printf '[types]\\n{types}\\n' >\"$1/{name}.toml\"\n"
        )
    };
    let a = [layer("forbuild", "build=true"), layer("forlaunch", "launch=true"), layer("forcache", "cache=true")].concat();
    tree.buildpack("t/a", NOTHING, &a);
    tree.buildpack_with("t/b", "clear-env=true", NOTHING, r#"env >"$CNB_APP_DIR/env"; cat "$2/env/SECRET" >>"$CNB_APP_DIR/env""#);
    tree.write("platform/env/SECRET", "from the user");
    tree.build().unwrap();
    let env = tree.read("app/env");
    assert!(env.contains("\nFORBUILD=forbuild\n") && env.contains("/forbuild/bin:"), "{env}");
    assert!(!env.contains("FORLAUNCH") && !env.contains("FORCACHE") && !env.contains("/forlaunch/bin"), "{env}");
    assert!(!env.contains("SECRET=") && env.ends_with("from the user"), "clear-env leaves the files:\n{env}");
    for name in
        ["CNB_BUILDPACK_DIR", "CNB_LAYERS_DIR", "CNB_BP_PLAN_PATH", "CNB_PLATFORM_DIR", "CNB_TARGET_OS=linux", "CNB_TARGET_DISTRO_NAME"]
    {
        assert!(env.contains(name), "{name}:\n{env}");
    }
}

#[test]
fn processes_labels_and_slices_are_merged() {
    let tree = Tree::new(&order(&[&["t/a", "t/b"]]));
    let a = r#"cat >"$1/launch.toml" <<'T'
[[processes]]
type = "web"
command = ["a"]
default = true
[[processes]]
type = "tool"
command = ["tool", "x"]
args = ["y"]
working-dir = "sub"
[[labels]]
key = "org.example"
value = "a"
[[slices]]
paths = ["static/*"]
T"#;
    let b = r#"cat >"$1/launch.toml" <<'T'
[[processes]]
type = "worker"
command = ["b"]
default = true
[[labels]]
key = "org.example"
value = "b"
[[slices]]
paths = ["docs", "*.md"]
T"#;
    tree.buildpack("t/a", NOTHING, a);
    tree.buildpack("t/b", NOTHING, b);
    let report = tree.build().unwrap();
    let shown: Vec<_> = report.processes.iter().map(|p| (p.kind.as_str(), p.shown(), p.default, p.working_dir.as_deref())).collect();
    assert_eq!(
        shown,
        [("web", "a".to_owned(), false, None), ("tool", "tool x y".into(), false, Some("sub")), ("worker", "b".into(), true, None)]
    );
    assert!(report.processes.iter().all(|p| p.direct), "from API 0.9 on no shell is between");
    assert_eq!(report.labels["org.example"], "b");
    assert_eq!(report.slices, [vec!["static/*"], vec!["docs", "*.md"]]);

    for (launch, word) in [
        ("[[processes]]\ntype='a'\ncommand=['x']\ndefault=true\n[[processes]]\ntype='b'\ncommand=['x']\ndefault=true", "more than one"),
        ("[[processes]]\ntype='a/b'\ncommand=['x']", "a/b"),
        ("[[processes]]\ntype='a'", "missing field `command`"),
        ("no toml", "launch.toml"),
    ] {
        tree.write("app/launch.toml", launch);
        tree.buildpack("t/b", NOTHING, r#"cp "$CNB_APP_DIR/launch.toml" "$1/launch.toml""#);
        let failure = tree.build().unwrap_err();
        assert!(failure.code == 52 && failure.message.contains(word), "{launch}: {}", failure.message);
    }
}

#[test]
fn sboms_are_gathered_and_come_back_with_cached_layers() {
    let tree = Tree::new(&order(&[&["t/a"]]));
    let formats = "sbom-formats=['application/vnd.cyclonedx+json', 'application/spdx+json']";
    let build = r#"test ! -e "$1/kept.sbom.cdx.json" || cp "$1/kept.sbom.cdx.json" "$CNB_APP_DIR/restored"
        mkdir -p "$1/kept" "$1/tool"; printf '[types]\nlaunch=true\ncache=true\n' >"$1/kept.toml"; printf '[types]\nbuild=true\n' >"$1/tool.toml"
        echo kept >"$1/kept.sbom.cdx.json"; echo tool >"$1/tool.sbom.spdx.json"; echo all >"$1/launch.sbom.cdx.json"; echo no >"$1/gone.sbom.cdx.json""#;
    tree.buildpack_with("t/a", formats, NOTHING, build);
    for round in 0..2 {
        let report = tree.build().unwrap();
        for (path, text) in [("launch/t_a/kept", "kept"), ("launch/t_a", "all"), ("cache/t_a/kept", "kept"), ("build/t_a/tool", "tool")] {
            let format = if text == "tool" { "spdx" } else { "cdx" };
            assert_eq!(tree.read(&format!("layers/sbom/{path}/sbom.{format}.json")), format!("{text}\n"));
        }
        assert!(!tree.root.path().join("layers/sbom/launch/t_a/gone").exists(), "of a layer that is not there");
        let kept: Vec<_> = report.layers.iter().filter(|l| l.buildpack.is_empty()).map(|l| (l.name.as_str(), l.launch, l.cache)).collect();
        assert_eq!(kept, [("launch", true, false), ("cache", false, true)]);
        assert_eq!(tree.root.path().join("app/restored").exists(), round > 0);
        std::fs::remove_file(tree.root.path().join("layers/t_a/kept.sbom.cdx.json")).unwrap();
    }

    tree.buildpack("t/a", NOTHING, r#"echo x >"$1/launch.sbom.cdx.json""#);
    let failure = tree.build().unwrap_err();
    assert!(failure.message.contains("does not list application/vnd.cyclonedx+json"), "{}", failure.message);
}

#[test]
fn an_apps_own_buildpack_and_its_choice_of_them() {
    let tree = Tree::new("chosen-by='project.toml'\n[[order]]\ngroup=[{id='',uri='packs/own'},{id='t/a',version='1.0.0'}]");
    tree.buildpack("t/a", "exit 100", NOTHING);
    let failure = tree.build().unwrap_err();
    assert!(failure.message.contains("the app has no buildpack at packs/own"), "{}", failure.message);

    let buildpacks = tree.root.path().join("buildpacks");
    tree.buildpack("my/own", NOTHING, r#"test "$CNB_BUILDPACK_DIR" = "$CNB_APP_DIR/packs/own"; echo yes >"$CNB_APP_DIR/ran""#);
    std::fs::create_dir(tree.root.path().join("app/packs")).unwrap();
    std::fs::rename(buildpacks.join("my_own/1.0.0"), tree.root.path().join("app/packs/own")).unwrap();
    let failure = tree.build().unwrap_err();
    assert!(
        failure.code == 20 && failure.message.contains("project.toml chooses") && failure.message.contains(": t/a."),
        "{}",
        failure.message
    );
    tree.buildpack("t/a", NOTHING, NOTHING);
    assert_eq!(tree.group(), ["my/own", "t/a"]);
    assert_eq!(tree.read("app/ran"), "yes\n");

    for id in ["../x", "sbom", "config", ""] {
        tree.write("app/packs/own/buildpack.toml", &format!("api='0.10'\n[buildpack]\nid='{id}'\nversion='1.0.0'\n"));
        assert!(tree.build().unwrap_err().message.contains("has the id"), "{id}");
    }
}

#[test]
fn other_languages_are_named() {
    let tree = Tree::new(&order(&[&["t/a"]]));
    tree.buildpack("t/a", "exit 100", NOTHING);
    for (file, words) in
        [("Dockerfile", "an app built by a Dockerfile"), ("Gemfile", "a Ruby app (Gemfile)"), ("go.mod", "a Go app (go.mod)")]
    {
        tree.write(&format!("app/{file}"), "");
        let said = tree.build().unwrap_err().message;
        assert!(said.contains(words) && said.contains("Procfile"), "{said}");
    }
}
