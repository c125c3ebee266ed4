//! The tests, by what a user is doing.

mod attach;
mod bad_input;
mod boot;
mod build_log;
mod buildpacks;
mod cancel;
mod clock;
mod control;
mod crowd;
mod deploy;
mod faults;
mod full_disk;
mod health;
mod hostile;
mod keep;
mod kill;
mod limits;
mod machine;
mod node;
mod operate;
mod postdeploy;
mod pushes;
mod python;
mod words;

use anyhow::Result;
use landfall_tests::Instance;

/// A test on a Landfall as anybody has it, or with the settings of its group.
pub(crate) type Case = (&'static str, fn(&Instance) -> Result<()>);
/// A test that starts its Landfall itself: with settings of its own, more than one, or to look at what it leaves.
pub(crate) type OwnCase = (&'static str, fn() -> Result<()>);

/// What people do with Landfall, and what goes wrong for them; on each database.
pub(crate) const EVERYDAY: &[Case] = &[
    ("push_then_config_then_rollback", deploy::push_then_config_then_rollback),
    ("no_request_fails_during_deploys", deploy::no_request_fails_during_deploys),
    ("release_phase_guards_the_switch", deploy::release_phase_guards_the_switch),
    ("app_that_never_boots_never_takes_traffic", deploy::app_that_never_boots_never_takes_traffic),
    ("other_branches_are_stored_not_built", deploy::other_branches_are_stored_not_built),
    ("push_over_ssh", deploy::push_over_ssh),
    ("static_site", deploy::static_site),
    ("node_app", deploy::node_app),
    ("unknown_language_is_refused", bad_input::unknown_language_is_refused),
    ("bad_procfile_line_is_named", bad_input::bad_procfile_line_is_named),
    ("unresolvable_requirements_show_pips_words", bad_input::unresolvable_requirements_show_pips_words),
    ("unmet_node_version_names_the_nearest", bad_input::unmet_node_version_names_the_nearest),
    ("config_keys_and_values", bad_input::config_keys_and_values),
    ("names_and_limits", bad_input::names_and_limits),
    ("rollback_to_nothing", bad_input::rollback_to_nothing),
    ("deploy_branch_cannot_be_deleted", bad_input::deploy_branch_cannot_be_deleted),
    ("many_config_changes_at_once_leave_no_gap", bad_input::many_config_changes_at_once_leave_no_gap),
    ("a_thousand_config_changes_at_once", crowd::a_thousand_config_changes_at_once),
    ("nothing_to_push", pushes::nothing_to_push),
    ("tags_and_rewritten_history", pushes::tags_and_rewritten_history),
    ("half_a_history", pushes::half_a_history),
    ("two_pushes_at_once", pushes::two_at_once),
    ("two_pushes_that_know_nothing_of_each_other", pushes::two_that_know_nothing_of_each_other),
    ("two_pushes_of_one_commit", pushes::two_from_one_commit),
    ("postdeploy_runs_once", postdeploy::runs_once_after_the_first_deploy),
    ("postdeploy_failure_undoes_nothing", postdeploy::its_failure_undoes_nothing),
    ("app_names", words::app_names),
    ("destroying_an_app", words::destroying),
    ("misspelt_commands", words::misspelt_commands),
    ("scaling", words::scaling),
    ("rolling_back", words::rolling_back),
    ("outputs", words::outputs),
    ("editing_config", words::editing_config),
    ("scale_restart_stop", operate::scale_restart_stop),
    ("logs_show_app_and_router", operate::logs_show_app_and_router),
    ("run_gives_output_input_and_exit_code", operate::run_gives_output_input_and_exit_code),
    ("exec_in_a_dyno", operate::exec_in_a_dyno),
    ("domains_and_maintenance", operate::domains_and_maintenance),
    ("listings_as_json", operate::listings_as_json),
    ("memory_over_its_quota_is_told_and_far_over_it_is_the_end", limits::memory_over_its_quota_is_told_and_far_over_it_is_the_end),
    ("tarballs_that_reach_out_are_refused_in_words", hostile::tarballs_that_reach_out_are_refused_in_words),
    ("links_of_a_build_lead_nowhere", hostile::links_of_a_build_lead_nowhere),
    ("a_damaged_layer_is_never_started", faults::a_damaged_layer_is_never_started),
    ("doctor_tells_how_exposed_the_machine_is", machine::doctor_tells_how_exposed_the_machine_is),
    ("destroyed_apps_leave_nothing", operate::destroyed_apps_leave_nothing),
];

/// Builds of every language.
pub(crate) const LANGUAGES: &[Case] = &[
    ("python_by_pip", python::by_pip),
    ("python_by_uv", python::by_uv),
    ("python_by_poetry", python::by_poetry),
    ("django_and_hooks", python::django_and_hooks),
    ("python_in_words", python::in_words),
    ("node_by_every_manager", node::by_every_manager),
    ("languages_nobody_builds_yet", buildpacks::in_words),
];

/// Apps that misbehave, on a Landfall that loses patience early; and terminals, which no database makes a difference to.
pub(crate) const HASTY: &[Case] = &[
    ("never_listens", boot::never_listens),
    ("listens_on_the_wrong_port", boot::listens_on_the_wrong_port),
    ("listens_on_loopback_only", boot::listens_on_loopback_only),
    ("exits_at_once", boot::exits_at_once),
    ("first_deploy_that_does_not_come_up", boot::first_deploy_that_does_not_come_up),
    ("ignores_sigterm", boot::ignores_sigterm),
    ("leaves_zombies", boot::leaves_zombies),
    ("startup_check_guards_the_switch", health::startup_check_guards_the_switch),
    ("readiness_check_gates_requests", health::readiness_check_gates_requests),
    ("liveness_check_replaces_the_sick", health::liveness_check_replaces_the_sick),
    ("unknown_checks_are_left_out_and_named", health::unknown_checks_are_left_out_and_named),
    ("run_on_a_terminal", attach::run_on_a_terminal),
    ("exec_on_a_terminal", attach::exec_on_a_terminal),
    ("exit_codes_and_signals", attach::exit_codes_and_signals),
    ("pipes_carry_every_byte", attach::pipes_carry_every_byte),
    ("a_killed_client_ends_its_dyno", attach::a_killed_client_ends_its_dyno),
    ("completions_in_real_shells", words::completions_in_real_shells),
];

/// What [`HASTY`]'s Landfalls differ in.
pub(crate) const HASTE: &[(&str, &str)] = &[("dyno.boot_seconds", "4"), ("dyno.stop_seconds", "2")];

pub(crate) const OWN: &[OwnCase] = &[
    ("down_leaves_nothing_and_up_brings_all_back", faults::down_leaves_nothing_and_up_brings_all_back),
    ("a_killed_supervisor_is_followed_by_another", faults::a_killed_supervisor_is_followed_by_another),
    ("killed_processes_cost_no_request", faults::killed_processes_cost_no_request),
    ("killed_server_during_a_build", faults::killed_server_during_a_build),
    ("a_new_server_asks_no_first_check_again", health::a_new_server_asks_no_first_check_again),
    ("ctrl_c_and_builds_cancel", cancel::ctrl_c_and_builds_cancel),
    ("leaving_after_the_release_keeps_it", cancel::leaving_after_the_release_keeps_it),
    ("ctrl_c_while_waiting_for_a_turn", cancel::ctrl_c_while_waiting_for_a_turn),
    ("postdeploy_is_begun_once_or_never", postdeploy::is_begun_once_or_never),
    ("postdeploy_survives_a_killed_server", postdeploy::survives_a_killed_server_and_never_runs_twice),
    ("killed_shim_is_replaced", faults::killed_shim_is_replaced),
    ("postgres_restart", faults::postgres_restart),
    ("up_says_what_the_machine_lacks", machine::up_says_what_the_machine_lacks),
    ("up_logs_root_in_again", machine::up_logs_root_in_again),
    ("make_says_what_the_machine_lacks", machine::make_says_what_the_machine_lacks),
    ("one_server_and_only_its_own_data", control::one_server_and_only_its_own_data),
    ("builds_that_wait", control::builds_that_wait),
    ("only_what_is_referred_to_stays", keep::only_what_is_referred_to_stays),
    ("a_dyno_that_fills_its_disk_starts_anew", limits::a_dyno_that_fills_its_disk_starts_anew),
    ("a_flood_of_one_app_is_nobody_elses_business", limits::a_flood_of_one_app_is_nobody_elses_business),
    ("a_gigabyte_in_a_push_is_refused_and_leaves_nothing", hostile::a_gigabyte_in_a_push_is_refused_and_leaves_nothing),
    ("a_full_disk_refuses_writes_and_stops_nothing_else", full_disk::a_full_disk_refuses_writes_and_stops_nothing_else),
    ("a_build_that_fills_the_disk_leaves_nothing", full_disk::a_build_that_fills_the_disk_leaves_nothing),
    ("what_ends_and_dies_on_a_full_disk_is_made_up_for", full_disk::what_ends_and_dies_on_a_full_disk_is_made_up_for),
    ("a_new_server_knows_what_the_old_one_knew", keep::a_new_server_knows_what_the_old_one_knew),
    ("killed_at_each_step", kill::at_each_step),
    ("killed_at_each_commit_on_postgres", kill::at_each_commit_on_postgres),
    ("no_step_is_left_out", kill::no_step_is_left_out),
    ("killed_containers", kill::containers::at_any_moment),
    ("a_clock_that_is_set_changes_nothing", clock::a_clock_that_is_set_changes_nothing),
];
