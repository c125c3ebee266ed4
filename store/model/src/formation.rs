//! Formation: how many dynos of each process type, and how big.

use crate::{DynoSize, ProcessType};

/// The most dynos one process type may ask for (Heroku's limit for one process type is 100; one machine holds no more).
pub const MAX_QUANTITY: u32 = 100;

/// One process type of an app.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FormationEntry {
    /// `web`, `worker`, …
    pub process_type: ProcessType,
    /// How many dynos should run; 0 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// Their size.
    pub size: DynoSize,
    /// The Procfile line.
    pub command: String,
}
