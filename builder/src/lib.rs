//! Git receiver and builds: a pushed commit becomes an image.
