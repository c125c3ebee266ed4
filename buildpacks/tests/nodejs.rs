//! A small app built twice by the real programs, with packages from the npm registry that `NPM_CONFIG_REGISTRY` names.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

fn phase(dir: &Path, phase: &str, home: Option<&str>) -> Output {
    let mut command = Command::new(dir.join("cnb/buildpacks/landfall_nodejs/1.0.0/bin").join(phase));
    match phase {
        "detect" => command.args(["/platform", "/dev/null"]),
        _ => command.arg(dir.join("layers")).args(["/platform", "/dev/null"]),
    };
    match home {
        Some(home) => command.env("HOME", home),
        None => command.env_remove("HOME"),
    };
    // What the builder does for an operator's bundle: npm brings certificates of its own, and a registry may be behind others.
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if bundle.exists() {
        command.env("NODE_EXTRA_CA_CERTS", bundle);
    }
    command.current_dir(dir.join("app")).output().unwrap()
}

/// Builds and gives the log.
fn build(dir: &Path, home: Option<&str>) -> String {
    let ran = phase(dir, "build", home);
    let log = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{log}{}", String::from_utf8_lossy(&ran.stderr));
    log
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join("app").join(name), text).unwrap();
}

fn prepared() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("app")).unwrap();
    std::fs::create_dir(dir.path().join("layers")).unwrap();
    let installed = Command::new(env!("CARGO_BIN_EXE_landfall-buildpacks")).arg("install").arg(dir.path().join("cnb")).status().unwrap();
    assert!(installed.success());
    dir
}

const LOCK: &str = r#"{"name":"tiny","lockfileVersion":3,"requires":true,"packages":{
"":{"name":"tiny","dependencies":{"is-number":"7.0.0"},"devDependencies":{"is-odd":"0.1.2"}},
"node_modules/is-number":{"version":"7.0.0","resolved":"https://registry.npmjs.org/is-number/-/is-number-7.0.0.tgz","integrity":"sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng=="},
"node_modules/is-odd":{"version":"0.1.2","resolved":"https://registry.npmjs.org/is-odd/-/is-odd-0.1.2.tgz","integrity":"sha512-Ri7C2K7o5IrUU9UEI8losXJCCD/UtsaIrkR5sxIcFg4xQ9cRJXlWA5DQvTE0yDc0krvSNLsRGXN11UPS6KyfBw==","dev":true,"dependencies":{"is-number":"^3.0.0"}},
"node_modules/is-odd/node_modules/is-number":{"version":"3.0.0","resolved":"https://registry.npmjs.org/is-number/-/is-number-3.0.0.tgz","integrity":"sha512-4cboCqIpliH+mAvFNegjZQ4kgKc3ZUhQVr3HvWbSh5q3WH2v82ct+T2Y1hdU5Gdtorx/cLifQjqCbL7bpznLTg==","dev":true,"dependencies":{"kind-of":"^3.0.2"}},
"node_modules/kind-of":{"version":"3.2.2","resolved":"https://registry.npmjs.org/kind-of/-/kind-of-3.2.2.tgz","integrity":"sha512-NOW9QQXMoZGg/oqnVNoNTTIFEIid1627WCffUBJEdMxYApq7mNE7CpzucIPc+ZQg25Phej7IJSmX3hO+oblOtQ==","dev":true,"dependencies":{"is-buffer":"^1.1.5"}},
"node_modules/is-buffer":{"version":"1.1.6","resolved":"https://registry.npmjs.org/is-buffer/-/is-buffer-1.1.6.tgz","integrity":"sha512-NcdALwpXkTm5Zvvbk7owOUSvVvBKDgKP5/ewfXEznmQFfs4ZRmanOeKBTjRVjka3QFoN6XJ+9F3USqfHqTaU5w==","dev":true}}}"#;

#[test]
fn a_second_build_installs_nothing() {
    let dir = prepared();
    let dir = dir.path();
    assert_eq!(phase(dir, "detect", None).status.code(), Some(100));
    let package = |build: &str| {
        format!(
            r#"{{"name":"tiny","engines":{{"node":"22.23.3"}},"scripts":{{"start":"node index.js"{build}}},
            "dependencies":{{"is-number":"7.0.0"}},"devDependencies":{{"is-odd":"0.1.2"}}}}"#
        )
    };
    write(dir, "package.json", &package(""));
    write(dir, "package-lock.json", LOCK);
    write(dir, "index.js", "console.log(require('is-number')(7))");
    assert_eq!(phase(dir, "detect", None).status.code(), Some(0));

    let first = build(dir, None);
    assert!(first.contains("Node.js 22.23.3 (engines.node in package.json asks for 22.23.3)"), "{first}");
    assert!(first.contains("Installing dependencies with npm 10.9.9") && !first.contains("cached"), "{first}");
    let modules = dir.join("layers/modules");
    assert_eq!(std::fs::read_link(dir.join("app/node_modules")).unwrap(), modules.join("node_modules"));
    assert!(!modules.join("node_modules/is-odd").exists(), "development packages stay out");
    let said = Command::new(dir.join("layers/node/bin/node")).arg("index.js").current_dir(dir.join("app")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "true");
    let launch = std::fs::read_to_string(dir.join("layers/launch.toml")).unwrap();
    assert!(launch.contains(r#"args = ["node index.js"]"#), "{launch}");
    assert!(dir.join("layers/npm/bin/npm").is_file() && !dir.join("layers/.scratch").exists());

    // The app comes anew from git, the layers from the cache. Home is a place that cannot be written.
    std::fs::remove_file(dir.join("app/node_modules")).unwrap();
    let stamp = |name: &str| std::fs::metadata(dir.join("layers").join(name)).map(|m| (m.ino(), m.ctime(), m.ctime_nsec())).unwrap();
    let before = [stamp("modules"), stamp("modules/node_modules"), stamp("node")];
    let second = build(dir, Some("/proc"));
    assert!(second.contains("Using cached node_modules") && second.contains("Using cached Node.js"), "{second}");
    assert_eq!(before, [stamp("modules"), stamp("modules/node_modules"), stamp("node")], "a reused layer is not touched");

    // A build script sees the development packages, the dyno does not; also from the cache.
    let script = r#","build":"node -e \"require('fs').writeFileSync('built', String(require('is-odd')(3)))\"""#;
    write(dir, "package.json", &package(script));
    for cached in [false, true] {
        std::fs::remove_file(dir.join("app/node_modules")).unwrap();
        let log = build(dir, None);
        assert_eq!(log.contains("Using cached node_modules"), cached, "{log}");
        assert_eq!(std::fs::read_to_string(dir.join("app/built")).unwrap(), "true");
        std::fs::remove_file(dir.join("app/built")).unwrap();
        assert!(modules.join("node_modules/is-number").is_dir() && !modules.join("node_modules/is-odd").exists());
        assert_eq!(std::fs::read_link(dir.join("app/node_modules")).unwrap(), modules.join("node_modules"));
    }

    // npm's own words are shown when it fails.
    write(dir, "package.json", &package("").replace(r#""is-number":"7.0.0""#, r#""is-number":"6.0.0""#));
    let failed = phase(dir, "build", None);
    let log = String::from_utf8_lossy(&failed.stdout);
    assert_eq!(failed.status.code(), Some(1), "{log}");
    assert!(log.contains("       npm error") && log.contains("package-lock.json does not fit package.json"), "{log}");
}

#[test]
fn a_version_that_does_not_exist_is_an_error_with_the_nearest() {
    let dir = prepared();
    let dir = dir.path();
    write(dir, "package.json", r#"{"engines":{"node":"18.21.x"}}"#);
    let ran = phase(dir, "build", None);
    let log = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(1), "{log}");
    assert!(log.contains("No Node.js version fits \"18.21.x\"") && log.contains("18.20.8") && log.contains("19.0.0"), "{log}");
}
