//! CNB lifecycle inside the build container, and the launcher inside the dyno.
