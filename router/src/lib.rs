//! Host to dynos.
