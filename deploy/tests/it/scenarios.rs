//! Named scenarios: every step of each, as one can read it.

use std::fmt::Write as _;
use std::time::Duration;

use landfall_deploy::{Drain, State, Step};

use crate::world::{Nature, World, web, worker};

/// A step in one line.
fn shown(step: &Step) -> String {
    match step {
        Step::RunReleasePhase { version } => format!("run release phase of {version}"),
        Step::FinishRelease { version, status } => format!("release {version}: {}", status.as_str()),
        Step::FirstLive { version } => format!("{version} is the first to be live"),
        Step::FinishPostdeploy { end } => format!("postdeploy: {end:?}"),
        Step::Report { dyno, lines, crash, .. } => {
            let crash = if crash.is_some() { " (counts as a crash)" } else { "" };
            format!("log {dyno}: {}{crash}", lines.join(" | "))
        }
        Step::SetRoutes { mode, backends } => {
            let names: Vec<&str> = backends.iter().map(|key| key.0.as_str()).collect();
            format!("routes: {mode:?} [{}]", names.join(", "))
        }
        Step::RemoveRoutes => "remove routes".to_owned(),
        Step::StartDyno { dyno, release, generation, .. } => format!("start {dyno} of {release} (generation {generation})"),
        Step::CheckHealth { key, id, probe } => format!("check {} of {}: {}", format!("{:?}", id.kind).to_lowercase(), key.0, probe.path),
        Step::Drain { key } => format!("drain {}", key.0),
        Step::StopDyno { key, reason, grace, crash, .. } => {
            let crash = if crash.is_some() { " (counts as a crash)" } else { "" };
            format!("stop {} within {} s: {}{crash}", key.0, grace.as_secs(), reason.lines(*grace).join(" | "))
        }
        Step::RemoveContainer { key } => format!("remove {}", key.0),
    }
}

/// Plans and performs until nothing is left to do (or `rounds` are over), writing down each round.
fn trace(world: &mut World, rounds: usize) -> String {
    let mut text = String::new();
    let began = world.now;
    for _ in 0..rounds {
        let plan = world.plan();
        let before = world.observed.clone();
        let at = world.now.saturating_sub(began).as_secs_f32();
        for step in &plan.steps {
            let _ = writeln!(text, "{at:>6.1} s  {}", shown(step));
        }
        let idle = plan.steps.is_empty();
        for step in plan.steps {
            world.apply(step);
        }
        for position in 0..world.observed.containers.len() {
            world.advance(position);
        }
        if idle && before == world.observed {
            match plan.wake_at {
                Some(at) => world.now = at.max(world.now),
                None => break,
            }
        } else {
            text.push_str("          ·\n");
        }
    }
    text
}

#[test]
fn first_deploy() {
    let mut world = World::new();
    world.deploy(Nature::Good);
    world.scale(&web(), 1);
    world.scale(&worker(), 1);
    insta::assert_snapshot!(trace(&mut world, 50));
}

#[test]
fn the_first_deploy_that_is_live_has_its_postdeploy_script_run_once() {
    let mut world = World::new();
    world.desired.first_deploy = landfall_deploy::FirstDeploy::Waiting;
    world.deploy(Nature::CrashesAtBoot);
    world.scale(&web(), 1);
    trace(&mut world, 6);
    assert_eq!(world.postdeploys, 0, "what never comes up is no first deploy");
    world.deploy(Nature::Good);
    insta::assert_snapshot!(trace(&mut world, 50));
    world.deploy(Nature::Good);
    world.settle();
    assert_eq!((world.postdeploys, world.ends.as_slice()), (1, &[landfall_deploy::PostdeployEnd::Exited(0)][..]));
}

#[test]
fn a_postdeploy_script_that_is_gone_is_not_run_again() {
    let mut world = World::serving(1, 0);
    world.desired.first_deploy = landfall_deploy::FirstDeploy::Postdeploy(landfall_model::ReleaseVersion(1));
    world.settle();
    assert_eq!((world.postdeploys, world.ends.as_slice()), (0, &[landfall_deploy::PostdeployEnd::Lost][..]));
}

#[test]
fn rollout_of_two_web_dynos_and_a_worker() {
    let mut world = World::serving(2, 1);
    world.deploy(Nature::Good);
    insta::assert_snapshot!(trace(&mut world, 50));
}

#[test]
fn a_release_that_crashes_at_boot_is_tried_again_with_a_back_off_while_the_old_one_serves() {
    let mut world = World::serving(1, 1);
    world.deploy(Nature::CrashesAtBoot);
    insta::assert_snapshot!(trace(&mut world, 24));
}

#[test]
fn a_release_whose_health_check_fails_never_takes_requests() {
    let mut world = World::serving(1, 0);
    world.deploy(Nature::FailsHealthCheck);
    insta::assert_snapshot!(trace(&mut world, 16));
}

#[test]
fn a_release_that_is_never_ready_never_takes_requests() {
    let mut world = World::serving(1, 0);
    world.deploy(Nature::NeverReady);
    insta::assert_snapshot!(trace(&mut world, 12));
}

#[test]
fn a_dyno_whose_liveness_check_fails_is_replaced_before_it_has_ended() {
    let mut world = World::serving(1, 0);
    world.desired.health.liveness = vec![landfall_deploy::Probe::default()];
    world.sicken(0);
    insta::assert_snapshot!(trace(&mut world, 20));
}

#[test]
fn boot_timeout_with_advice() {
    let mut world = World::serving(1, 0);
    world.deploy(Nature::NeverListens);
    for step in world.plan().steps {
        world.apply(step);
    }
    world.observed.containers.iter_mut().filter(|c| c.release.0 == 2).for_each(|c| c.listeners = vec!["127.0.0.1:5000".to_owned()]);
    world.now += Duration::from_mins(1);
    insta::assert_snapshot!(trace(&mut world, 4));
}

#[test]
fn a_release_phase_that_fails_changes_nothing() {
    let mut world = World::serving(1, 1);
    world.deploy_with_phase(Nature::Good, true);
    insta::assert_snapshot!(trace(&mut world, 20));
}

#[test]
fn restart_of_one_dyno_starts_before_it_stops() {
    let mut world = World::serving(1, 0);
    world.desired.restarts.dynos.insert("web.1".parse().unwrap(), 1);
    insta::assert_snapshot!(trace(&mut world, 30));
}

#[test]
fn scale_down_stops_the_highest_numbers() {
    let mut world = World::serving(3, 2);
    world.scale(&web(), 1);
    world.scale(&worker(), 0);
    insta::assert_snapshot!(trace(&mut world, 30));
}

#[test]
fn rapid_releases_drop_half_started_dynos_of_the_ones_between() {
    let mut world = World::serving(1, 0);
    world.deploy(Nature::Good);
    for step in world.plan().steps {
        world.apply(step);
    }
    world.deploy(Nature::Good);
    world.deploy(Nature::Good);
    insta::assert_snapshot!(trace(&mut world, 30));
}

#[test]
fn while_releases_rain_down_nothing_new_is_started_and_the_old_one_serves() {
    let mut world = World::serving(1, 0);
    let serving = world.observed.acknowledged();
    for ms in 0..100 {
        world.deploy(Nature::Good);
        world.now += Duration::from_millis(ms);
        world.observed.quiet_until = Some(world.now + world.desired.settings.quiet);
        assert_eq!(world.plan().steps, vec![]);
        assert_eq!(world.plan().wake_at, world.observed.quiet_until);
        assert_eq!(world.observed.acknowledged(), serving);
    }
    world.now += world.desired.settings.quiet;
    assert!(matches!(&world.plan().steps[..], [Step::StartDyno { release, .. }] if release.0 == 101));
}

#[test]
fn an_old_dyno_that_crashes_while_its_successor_does_not_come_up_is_restarted() {
    let mut world = World::serving(1, 0);
    world.deploy(Nature::NeverListens);
    for step in world.plan().steps {
        world.apply(step);
    }
    let old = world.observed.containers.iter().position(|c| c.release.0 == 1).unwrap();
    world.crash(old);
    insta::assert_snapshot!(trace(&mut world, 6));
}

#[test]
fn a_destroyed_app_stops_everything() {
    let mut world = World::serving(1, 1);
    world.one_off();
    world.desired.destroyed = true;
    insta::assert_snapshot!(trace(&mut world, 30));
}

#[test]
fn a_drain_that_never_ends_is_cut_at_its_limit() {
    let mut world = World::serving(1, 0);
    world.deploy(Nature::Good);
    let key = world.observed.containers[0].key.clone();
    while world.observed.containers.iter().any(|c| c.key == key && c.drain == Drain::NotAsked) {
        for step in world.plan().steps {
            world.apply(step);
        }
        let new = world.observed.containers.iter().position(|c| c.key != key);
        if let Some(position) = new {
            world.advance(position);
        }
    }
    assert_eq!(world.plan().steps, vec![]);
    assert_eq!(world.plan().wake_at, Some(world.now + world.desired.settings.drain_limit));
    world.now += world.desired.settings.drain_limit;
    assert!(matches!(&world.plan().steps[..], [Step::StopDyno { key: stopped, .. }] if *stopped == key));
}

#[test]
fn a_dyno_that_ignores_everything_is_killed_again() {
    let mut world = World::serving(1, 0);
    world.desired.restarts.app = 1;
    while !world.observed.containers.iter().any(|c| matches!(c.state, State::Stopping { .. })) {
        for step in world.plan().steps {
            world.apply(step);
        }
        for position in 0..world.observed.containers.len() {
            if !matches!(world.observed.containers[position].state, State::Stopping { .. }) {
                world.advance(position);
            }
        }
    }
    assert_eq!(world.plan().steps, vec![]);
    world.now += Duration::from_secs(40);
    assert!(matches!(&world.plan().steps[..], [Step::StopDyno { grace: Duration::ZERO, .. }]));
}

#[test]
fn while_the_router_is_away_no_routed_dyno_is_stopped() {
    let mut world = World::serving(2, 0);
    world.deploy(Nature::Good);
    world.observed.router = landfall_deploy::RouterView::Away;
    let text = trace(&mut world, 30);
    assert!(!text.contains("stop") && !text.contains("routes"), "{text}");
    assert!(text.contains("start web.1 of v2") && text.contains("start web.2 of v2"), "{text}");
}

#[test]
fn a_new_server_stops_no_dyno_before_the_router_has_its_word() {
    let mut world = World::serving(1, 0);
    world.deploy(Nature::Good);
    // The new dyno is up and routed beside the old one when the server dies.
    while world.observed.acknowledged().len() < 2 {
        for step in world.plan().steps {
            world.apply(step);
        }
        for position in 0..world.observed.containers.len() {
            world.advance(position);
        }
    }
    // The release that it had just recorded wants neither of them, and one is enough until it is up.
    world.deploy(Nature::Good);
    world.server_restarts();
    let steps = world.plan().steps;
    assert!(steps.iter().all(|step| matches!(step, Step::SetRoutes { .. } | Step::StartDyno { .. })), "{steps:?}");
    world.settle();
    assert_eq!(world.observed.containers.len(), 1);
}
