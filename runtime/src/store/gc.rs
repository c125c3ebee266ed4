//! Removing what nothing needs. Named images are always needed.

use std::collections::BTreeSet;
use std::fs;
use std::sync::PoisonError;

use landfall_failpoint::failpoint;
use landfall_runtime_wire::image::GcReport;

use super::Store;
use crate::disk::remove_tree;
use crate::fault::{Doing as _, Result};

impl Store {
    /// Removes images that are neither kept nor named by `keep_references`, then blobs and layers no image and no keep list names.
    /// `stack` says which names survive; a name whose image nobody keeps otherwise goes with it.
    pub(crate) fn gc(
        &self,
        keep_images: &BTreeSet<String>,
        keep_layers: &BTreeSet<String>,
        stack: impl Fn(&str) -> bool,
    ) -> Result<GcReport> {
        let _nothing_half_made = self.making.write().unwrap_or_else(PoisonError::into_inner);
        self.alone(|| {
            let mut references = self.references()?;
            references.retain(|name, digest| stack(name) || keep_images.contains(digest));
            failpoint("agent.gc.before");
            self.references_write(&references)?;
            let mut keep: BTreeSet<String> = keep_images.clone();
            keep.extend(references.into_values());
            let (mut blobs, mut layers) = (BTreeSet::new(), keep_layers.clone());
            for digest in &keep {
                let Ok((manifest, _)) = self.documents(digest) else { continue };
                blobs.insert(digest.clone());
                blobs.extend(manifest["config"]["digest"].as_str().map(str::to_owned));
                layers.extend(
                    manifest["layers"].as_array().into_iter().flatten().filter_map(|layer| Some(layer["digest"].as_str()?.to_owned())),
                );
            }
            let mut report = GcReport::default();
            for blob in fs::read_dir(self.root.join("blobs/sha256")).doing("reading the blobs")?.flatten() {
                let digest = format!("sha256:{}", blob.file_name().to_string_lossy());
                if !blobs.contains(&digest) {
                    report.images += u64::from(self.is_manifest(&digest));
                    remove_tree(&blob.path())?;
                    failpoint("agent.gc.blob-gone");
                }
            }
            for layer in fs::read_dir(self.root.join("layers")).doing("reading the layers")?.flatten() {
                let digest = format!("sha256:{}", layer.file_name().to_string_lossy());
                if !layers.contains(&digest) {
                    self.checks.forget(&digest);
                    report.bytes += self.layer_info(&digest).map_or(0, |info| info.size_bytes);
                    report.layers += 1;
                    // Renamed first: a layer that is half there must not look like one that is.
                    let going = self.root.join("tmp").join(layer.file_name());
                    remove_tree(&going)?;
                    fs::rename(layer.path(), &going).doing("removing a layer")?;
                    failpoint("agent.gc.layer-taken");
                    remove_tree(&going)?;
                }
            }
            Ok(report)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use landfall_runtime_wire::image::ImageConfig;

    #[test]
    fn only_the_unneeded_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("images")).unwrap();
        let layer = |text: &str| {
            let staged = store.stage().unwrap();
            fs::write(staged.fs().join("file"), text).unwrap();
            store.layer_commit(staged).unwrap()
        };
        let (base, old, new, cache) = (layer("base"), layer("old"), layer("new"), layer("cache"));
        let config = ImageConfig::default();
        let old = store.image_put(&[base.clone(), old], &config, Some("app:1")).unwrap();
        let new = store.image_put(&[base.clone(), new], &config, None).unwrap();
        let stack = store.image_put(&[base], &config, Some("stack/run")).unwrap();
        let keep = [new.digest.clone()].into();
        let report = store.gc(&keep, &[cache.diff_id.clone()].into(), |name| name.starts_with("stack/")).unwrap();
        assert_eq!((report.images, report.layers), (1, 1));
        assert!(store.image(&old.digest).is_err() && store.image("app:1").is_err());
        assert!(store.image(&new.digest).is_ok() && store.image("stack/run").unwrap().info.digest == stack.digest);
        assert!(store.layer_fs(&cache.diff_id).is_ok());
    }

    #[test]
    fn an_image_that_is_being_made_loses_no_layer() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("images")).unwrap();
        let making = store.making();
        let staged = store.stage().unwrap();
        fs::write(staged.fs().join("file"), "new").unwrap();
        let layer = store.layer_commit(staged).unwrap();
        let other = store.clone();
        let collecting = std::thread::spawn(move || other.gc(&BTreeSet::new(), &BTreeSet::new(), |name| name.starts_with("stack/")));
        // The collection has every chance to be too early.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let image = store.image_put(&[layer], &ImageConfig::default(), Some("stack/run")).unwrap();
        drop(making);
        assert_eq!(collecting.join().unwrap().unwrap().layers, 0);
        assert!(store.image(&image.digest).is_ok());
    }

    #[test]
    fn a_damaged_image_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("images")).unwrap();
        let image = store.image_put(&[], &ImageConfig::default(), None).unwrap();
        fs::write(store.blob_path(&image.digest[7..]), "{}").unwrap();
        assert_eq!(store.image(&image.digest).unwrap_err().code, landfall_runtime_wire::agent::FaultCode::Digest);
    }
}
