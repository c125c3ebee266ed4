//! Built-in buildpacks.
