//! `landfall/procfile`: process types from the Procfile. The launcher runs each line by `bash -c`, so `$PORT` expands.

use std::path::Path;

use crate::contract::{Build, LaunchProcess, Problem};
use crate::procfile::Procfile;

pub(crate) fn detect(app: &Path) -> bool {
    app.join("Procfile").is_file()
}

pub(crate) fn build(build: &mut Build) -> Result<(), Problem> {
    let path = build.app.join("Procfile");
    let bytes = std::fs::read(&path).map_err(|e| Problem::io("read", &path, e))?;
    let read = Procfile::parse(&bytes).map_err(|e| Problem::new(e.to_string()))?;
    // Which types there are is told by the platform, once all buildpacks have had their say.
    read.warnings.iter().for_each(|w| build.out.warning(w));
    let only = read.processes.len() == 1;
    let processes: Vec<_> = read
        .processes
        .into_iter()
        .map(|p| LaunchProcess {
            default: only || p.name == "web",
            kind: p.name,
            command: vec!["bash".into(), "-c".into()],
            args: vec![p.command],
        })
        .collect();
    build.launch(&processes)
}
