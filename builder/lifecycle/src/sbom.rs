//! Software bills of materials: `<layer>.sbom.<format>`, `launch.sbom.<format>` and `build.sbom.<format>` of each buildpack, gathered where the
//! specification wants them: `/layers/sbom/launch` goes into the image, `/layers/sbom/cache` comes back with the layers at the next build.

use std::path::{Path, PathBuf};

use crate::build::INVALID;
use crate::descriptor::About;
use crate::report::{Report, ReportedLayer};
use crate::{Failure, files};

/// File name endings, and the media types that buildpack.toml must list for them.
const FORMATS: &[(&str, &str)] =
    &[("cdx.json", "application/vnd.cyclonedx+json"), ("spdx.json", "application/spdx+json"), ("syft.json", "application/vnd.syft+json")];

/// Refuses a file whose format the buildpack does not list.
pub(crate) fn declared(about: &About, format: &str, path: &Path) -> Result<(), Failure> {
    let media_type = FORMATS.iter().find(|(ending, _)| *ending == format).map(|(_, media_type)| *media_type);
    let listed = media_type.is_some_and(|wanted| about.sbom_formats.iter().any(|f| f.split(';').next().map(str::trim) == Some(wanted)));
    if listed {
        return Ok(());
    }
    Err(Failure::new(
        INVALID,
        format!(
            "{} left {}, but its buildpack.toml does not list {} in sbom-formats",
            about.id,
            path.display(),
            media_type.unwrap_or("such a format")
        ),
    ))
}

/// Puts the cached layers' files back beside them and forgets all others of the last build.
pub(crate) fn restore(layers: &Path) -> Result<(), Failure> {
    let kept = layers.join("sbom/cache");
    for file in files::sorted(&kept).iter().flat_map(|b| files::sorted(b)).flat_map(|l| files::sorted(&l)) {
        let parts: Vec<_> =
            file.strip_prefix(&kept).ok().into_iter().flat_map(Path::components).map(|c| c.as_os_str().to_owned()).collect();
        let [buildpack, layer, name] = &parts[..] else { continue };
        let place = layers.join(buildpack);
        let (Some(layer), Some(name)) = (layer.to_str(), name.to_str()) else { continue };
        if place.join(format!("{layer}.toml")).is_file() {
            copy(&file, &place.join(format!("{layer}.{name}")))?;
        }
    }
    let _ = std::fs::remove_dir_all(layers.join("sbom"));
    Ok(())
}

/// Copies what the buildpacks left to its places and adds those that are kept to the report, as layers.
pub(crate) fn place(layers: &Path, report: &mut Report) -> Result<(), Failure> {
    let root = layers.join("sbom");
    for sbom in &report.sboms {
        let format = sbom.path.rsplit_once(".sbom.").map_or("", |(_, format)| format);
        let of = files::escaped(&sbom.buildpack);
        let name = format!("sbom.{format}");
        let mut places: Vec<PathBuf> = Vec::new();
        match sbom.subject.as_str() {
            whole @ ("launch" | "build") => places.push(root.join(whole).join(&of).join(&name)),
            subject => {
                let Some(layer) = report.layers.iter().find(|l| l.buildpack == sbom.buildpack && l.name == subject) else { continue };
                let kinds = [Some(if layer.launch { "launch" } else { "build" }), layer.cache.then_some("cache")];
                places.extend(kinds.into_iter().flatten().map(|kind| root.join(kind).join(&of).join(subject).join(&name)));
            }
        }
        for place in places {
            copy(Path::new(&sbom.path), &place)?;
        }
    }
    for (name, launch, cache) in [("launch", true, false), ("cache", false, true)] {
        let path = root.join(name);
        if path.is_dir() {
            let path = path.display().to_string();
            report.layers.push(ReportedLayer { path, name: name.into(), launch, cache, ..ReportedLayer::default() });
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(INVALID, format!("cannot copy {} to {}: {e}", from.display(), to.display()));
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::copy(from, to).map(drop).map_err(failed)
}
