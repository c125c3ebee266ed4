//! How many dynos of what, and which should start anew.

use jiff::Timestamp;
use landfall_model::{DynoName, DynoSize, FormationEntry, FormationId, ProcessType};

/// One process type of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formation {
    /// Its id.
    pub id: FormationId,
    /// Type, quantity, size, command.
    pub entry: FormationEntry,
    /// When the type first appeared.
    pub created_at: Timestamp,
    /// When it was last scaled.
    pub updated_at: Timestamp,
}

/// A new quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantityChange {
    /// `web=3`.
    To(u32),
    /// `web+1`, `web-1`.
    By(i32),
}

/// A change to one process type.
#[derive(Clone, Debug)]
pub struct FormationChange {
    /// Which.
    pub process_type: ProcessType,
    /// `None` = leave.
    pub quantity: Option<QuantityChange>,
    /// `None` = leave.
    pub size: Option<DynoSize>,
}

/// What `ps:restart` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartTarget {
    /// Every dyno.
    App,
    /// Every dyno of a type.
    Type(ProcessType),
    /// One dyno.
    Dyno(DynoName),
}
