//! doctor, stacks, config:check: what a person asks of this machine itself.

use std::process::ExitCode;

use crate::args::{ConfigArg, JsonArg};
use crate::config::Config;
use crate::error::Result;
use crate::output;

pub(crate) fn config_check(arg: &ConfigArg) -> Result<()> {
    let config = Config::load(&arg.config)?;
    println!("{} is sound: instance {}, data in {}", arg.config.display(), config.instance, config.data_dir.display());
    Ok(())
}
