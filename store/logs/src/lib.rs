//! An app's log on disk.
