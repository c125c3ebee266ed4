//! Real `git` and `ssh` clients against the real servers, with a control plane that does what each test tells it.

mod harness;
mod http;
mod limits;
mod pushes;
mod ssh;
