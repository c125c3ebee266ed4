//! `landfall/static`: a site of files. The image gets a copy of this program, which is the file server too.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::contract::{Build, LaunchProcess, Problem, Types};
use crate::procfile::Procfile;
use crate::serve::site::Site;
use crate::serve::{Root, no_root};

const MARKS: &[&str] = &["static.json", "Staticfile", ".static", "index.html", "public/index.html"];
const LAYER: &str = "server";
/// The program in the layer's `bin`, which is in the dyno's PATH.
const PROGRAM: &str = "landfall-buildpacks";

pub(crate) fn detect(app: &Path) -> bool {
    MARKS.iter().any(|m| app.join(m).is_file())
}

pub(crate) fn build(build: &mut Build) -> Result<(), Problem> {
    build.out.step("Static site detected");
    if has_web(build)? {
        build.out.detail("The Procfile has a web process: it serves the site");
        return build.launch(&[]);
    }
    let site = Site::read(&build.app)?;
    site.warnings.iter().for_each(|w| build.out.warning(w));
    let root = site.root.display().to_string();
    Root::new(&build.app, &site.root).ok_or_else(|| no_root(&root))?;
    let pages = site.error_page.iter().chain(site.routes.iter().map(|(_, file)| file));
    for page in pages.filter(|p| !build.app.join(&site.root).join(p.trim_start_matches('/')).is_file()) {
        build.out.warning(format!("static.json names {page}, which is not in {root}"));
    }
    let what = if root == "." { "the top directory".to_owned() } else { format!("{root}/") };
    build.out.detail(format!("Serving {what} with Landfall's file server"));
    server(build)?;
    let command = [PROGRAM, "serve", &root].map(str::to_owned).to_vec();
    build.launch(&[LaunchProcess { kind: "web".into(), command, args: Vec::new(), default: true }])
}

fn has_web(build: &Build) -> Result<bool, Problem> {
    let path = build.app.join("Procfile");
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Procfile::parse(&bytes).map_err(|e| Problem::new(e.to_string()))?.command("web").is_some()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Problem::io("read", &path, e)),
    }
}

/// Puts this program into its layer.
fn server(build: &mut Build) -> Result<(), Problem> {
    let own = Path::new("/proc/self/exe");
    let key = digest(own).map_err(|e| Problem::io("read", own, e))?;
    let types = Types { launch: true, cache: true, ..Types::default() };
    if build.layer_is(LAYER, &key) {
        build.layer_set(LAYER, types, &key)?;
        return Ok(());
    }
    build.layer_clear(LAYER)?;
    let bin = build.layer_set(LAYER, types, "")?.join("bin");
    std::fs::create_dir_all(&bin).map_err(|e| Problem::io("create", &bin, e))?;
    let program = bin.join(PROGRAM);
    std::fs::copy(own, &program).map_err(|e| Problem::io("write", &program, e))?;
    build.layer_set(LAYER, types, &key)?;
    Ok(())
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&chunk[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;

    fn app(files: &[(&str, &str)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("layers")).unwrap();
        for (name, text) in files {
            let path = tree.path().join("app").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        tree
    }

    fn built(tree: &Path) -> Result<toml::Table, Problem> {
        let mut run = Build { app: tree.join("app"), layers: tree.join("layers"), out: Output::stdout() };
        build(&mut run)?;
        Ok(toml::from_str(&std::fs::read_to_string(tree.join("layers/launch.toml")).unwrap()).unwrap())
    }

    #[test]
    fn detects_each_mark() {
        for mark in MARKS {
            assert!(detect(&app(&[(mark, "")]).path().join("app")), "{mark}");
        }
        assert!(!detect(&app(&[("docs/index.html", ""), ("Procfile", "web: a")]).path().join("app")));
    }

    #[test]
    fn the_image_gets_the_server_and_a_web_process() {
        let tree = app(&[("public/index.html", "hi"), ("Procfile", "worker: ./w")]);
        let launch = built(tree.path()).unwrap();
        let web = &launch["processes"][0];
        assert_eq!((web["type"].as_str(), web["default"].as_bool()), (Some("web"), Some(true)));
        let argv: Vec<_> = web["command"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        assert_eq!(argv, ["landfall-buildpacks", "serve", "public"]);
        let program = tree.path().join("layers/server/bin/landfall-buildpacks");
        assert_eq!(digest(&program).unwrap(), digest(Path::new("/proc/self/exe")).unwrap());
        let written = program.metadata().unwrap().modified().unwrap();
        built(tree.path()).unwrap();
        assert_eq!(program.metadata().unwrap().modified().unwrap(), written, "the layer is kept when the program is the same");
    }

    #[test]
    fn a_web_line_of_the_procfile_wins() {
        let tree = app(&[("index.html", ""), ("static.json", "broken"), ("Procfile", "web: ./mine")]);
        assert!(built(tree.path()).unwrap()["processes"].as_array().unwrap().is_empty());
        assert!(!tree.path().join("layers/server").exists());
    }

    #[test]
    fn a_root_that_is_not_there_stops_the_build() {
        let tree = app(&[("static.json", r#"{"root": "dist"}"#)]);
        insta::assert_snapshot!(built(tree.path()).unwrap_err(), @"
        The site's root `dist` is not a directory of this app.

        `root` in static.json (or Staticfile) names the directory with index.html.
        If a build makes it, commit what it made, or add the language's own files so that its buildpack runs the build.
        ");
    }
}
