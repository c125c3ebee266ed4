//! `landfall-buildpacks install DIR`: the tree that containers see read-only at `/cnb`.
//!
//! `DIR/order.toml`, and for each buildpack `DIR/buildpacks/<escaped id>/<version>/{buildpack.toml,bin/detect,bin/build}`. All programs are
//! hard links of one copy of this program.

use std::path::Path;

use crate::contract::Problem;
use crate::packs::{ORDER, PACKS, VERSION};

pub(crate) fn install(dir: &Path) -> Result<(), Problem> {
    let own = std::env::current_exe().map_err(|e| Problem::io("find", Path::new("this program"), e))?;
    let home = dir.join("buildpacks");
    std::fs::create_dir_all(&home).map_err(|e| Problem::io("create", &home, e))?;
    let copy = home.join(".program");
    let _ = std::fs::remove_file(&copy);
    std::fs::copy(&own, &copy).map_err(|e| Problem::io("write", &copy, e))?;
    for pack in PACKS {
        let place = home.join(pack.id.replace('/', "_")).join(VERSION);
        let bin = place.join("bin");
        std::fs::create_dir_all(&bin).map_err(|e| Problem::io("create", &bin, e))?;
        write(&place.join("buildpack.toml"), pack.descriptor)?;
        for phase in ["detect", "build"] {
            let link = bin.join(phase);
            let _ = std::fs::remove_file(&link);
            std::fs::hard_link(&copy, &link).map_err(|e| Problem::io("link", &link, e))?;
        }
    }
    std::fs::remove_file(&copy).map_err(|e| Problem::io("remove", &copy, e))?;
    write(&dir.join("order.toml"), ORDER)
}

fn write(path: &Path, text: &str) -> Result<(), Problem> {
    std::fs::write(path, text).map_err(|e| Problem::io("write", path, e))
}
