//! The agent: images, containers, networks.
