//! Images from outside: a root file system as a directory or an uncompressed tar.

use std::path::Path;

use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::image::{ImageConfig, ImageInfo};

use super::untar::{self, TarLimits};
use super::{Store, tree};
use crate::disk::{Owner, copy_tree};
use crate::fault::{Doing as _, Result, fault};

impl Store {
    /// Makes an image of one layer. A tar is checked whole before a byte of it is unpacked.
    pub(crate) fn import(&self, reference: &str, from: &Path) -> Result<ImageInfo> {
        let staged = self.stage()?;
        let doing = || format!("importing {}", from.display());
        if from.is_dir() {
            copy_tree(from, &staged.fs(), Owner::Keep).doing(doing())?;
            tree::settle(&staged.fs()).doing(doing())?;
        } else {
            for to in [None, Some(staged.fs())] {
                let file = std::fs::File::open(from).doing(doing())?;
                match untar::read(std::io::BufReader::new(file), to.as_deref(), TarLimits::default()) {
                    Ok(()) => {}
                    Err(untar::TarError::Io(source)) => return Err(source).doing(doing()),
                    Err(refused) => return Err(fault(FaultCode::Invalid, format!("{}: {refused}", doing()))),
                }
            }
        }
        let _making = self.making();
        let layer = self.layer_commit(staged)?;
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let config =
            ImageConfig { env: vec![("PATH".to_owned(), path.to_owned())], cmd: vec!["/bin/sh".to_owned()], ..ImageConfig::default() };
        self.image_put(&[layer], &config, Some(reference))
    }
}
