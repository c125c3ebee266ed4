//! Whatever happens in whatever order: promises hold at each step, and in the end everything is as desired.

use std::time::Duration;

use landfall_deploy::{FirstDeploy, RouteMode, RouterView, State, Step, Told};
use proptest::prelude::*;

use crate::world::{Nature, World, web, worker};

#[derive(Clone, Debug)]
enum Event {
    /// Plan, then perform a part of the steps in an order given by the seed.
    Plan {
        seed: u64,
        lose: u8,
    },
    Advance(usize),
    Crash(usize),
    Sicken(usize),
    Wait(u64),
    Deploy(Nature),
    Hurry(u64),
    DeployWithPhase(Nature, bool),
    Scale(bool, u32),
    Restart,
    RestartOne(u32),
    Maintenance(bool),
    RouterAway,
    RouterBack,
    ServerRestarts,
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![3 => Just(Nature::Good), 1 => Just(Nature::NeverListens), 1 => Just(Nature::CrashesAtBoot), 1 => Just(Nature::FailsHealthCheck), 1 => Just(Nature::NeverReady)]
}

fn bad_nature() -> impl Strategy<Value = Nature> {
    prop_oneof![Just(Nature::NeverListens), Just(Nature::CrashesAtBoot), Just(Nature::FailsHealthCheck), Just(Nature::NeverReady)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (any::<u64>(), 0_u8..4).prop_map(|(seed, lose)| Event::Plan { seed, lose }),
        12 => any::<usize>().prop_map(Event::Advance),
        2 => any::<usize>().prop_map(Event::Crash),
        1 => any::<usize>().prop_map(Event::Sicken),
        2 => (0_u64..70).prop_map(Event::Wait),
        1 => nature().prop_map(Event::Deploy),
        1 => (0_u64..5_000).prop_map(Event::Hurry),
        1 => (nature(), any::<bool>()).prop_map(|(nature, fails)| Event::DeployWithPhase(nature, fails)),
        1 => (any::<bool>(), 0_u32..5).prop_map(|(is_web, quantity)| Event::Scale(is_web, quantity)),
        1 => Just(Event::Restart),
        1 => (1_u32..4).prop_map(Event::RestartOne),
        1 => any::<bool>().prop_map(Event::Maintenance),
        1 => Just(Event::RouterAway),
        2 => Just(Event::RouterBack),
        1 => Just(Event::ServerRestarts),
    ]
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Plan { seed, lose } => {
            let mut steps = world.plan().steps;
            let mut random = *seed;
            while !steps.is_empty() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let step = steps.swap_remove((random >> 33) as usize % steps.len());
                // What is told is told by the server itself: that is not lost on the way.
                if matches!(step, Step::Report { .. }) || (random >> 20) % 8 >= u64::from(*lose) {
                    world.apply(step);
                }
            }
        }
        Event::Advance(position) => world.advance(*position),
        Event::Crash(position) => world.crash(*position),
        Event::Sicken(position) => world.sicken(*position),
        Event::Wait(seconds) => world.now += Duration::from_secs(*seconds),
        Event::Deploy(nature) => drop(world.deploy(*nature)),
        Event::Hurry(ms) => world.observed.quiet_until = Some(world.now + Duration::from_millis(*ms)),
        Event::DeployWithPhase(nature, fails) if world.desired.pending.is_none() => drop(world.deploy_with_phase(*nature, *fails)),
        Event::Scale(is_web, quantity) => world.scale(&if *is_web { web() } else { worker() }, *quantity),
        Event::Restart => world.desired.restarts.app = next_generation(world),
        Event::RestartOne(index) => {
            let generation = next_generation(world);
            world.desired.restarts.dynos.insert(format!("web.{index}").parse().unwrap(), generation);
        }
        Event::Maintenance(on) => world.desired.maintenance = *on,
        Event::RouterAway => world.observed.router = RouterView::Away,
        Event::RouterBack if world.observed.router == RouterView::Away => {
            world.observed.router = RouterView::Untold;
        }
        Event::DeployWithPhase(..) | Event::RouterBack => {}
        Event::ServerRestarts => world.server_restarts(),
    }
}

fn next_generation(world: &World) -> u64 {
    let restarts = &world.desired.restarts;
    restarts.dynos.values().copied().max().unwrap_or(0).max(restarts.app) + 1
}

fn is_as_desired(world: &World) {
    let desired = &world.desired;
    let target = desired.current.as_ref().unwrap();
    for process_type in [web(), worker()] {
        let mut names = Vec::new();
        for container in world.observed.containers.iter().filter(|c| c.dyno.process_type == process_type) {
            assert_eq!((container.release, container.told, &container.state), (target.version, Told::Up, &State::Ready));
            assert_eq!(container.generation, desired.restarts.generation(&container.dyno));
            names.push(container.dyno.index);
        }
        names.sort_unstable();
        assert_eq!(names, (1..=desired.quantity(&process_type)).collect::<Vec<_>>(), "{process_type}");
    }
    let RouterView::Here { acknowledged: Some(routes) } = &world.observed.router else { panic!("no routes") };
    let serving = world.observed.containers.iter().filter(|c| c.dyno.process_type.is_web()).map(|c| c.key.clone()).collect();
    assert_eq!(routes.backends, serving);
    let mode = match () {
        () if desired.maintenance => RouteMode::Maintenance,
        () if desired.quantity(&web()) == 0 => RouteMode::NoWeb,
        () => RouteMode::Serving,
    };
    assert_eq!(routes.mode, mode);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_and_everything_converges(quantity in 0_u32..4, events in prop::collection::vec(event(), 0..120)) {
        let mut world = World::serving(quantity, 1);
        world.desired.first_deploy = FirstDeploy::Waiting;
        for event in &events {
            happen(&mut world, event);
        }
        // The faults end: the router is there and the newest release is a good one.
        happen(&mut world, &Event::RouterBack);
        world.settle_pending();
        world.deploy(Nature::Good);
        // A world that is asked how it is for ever never comes to rest.
        world.desired.health = landfall_deploy::HealthCheck::default();
        world.settle();
        is_as_desired(&world);
        prop_assert_eq!(world.plan().steps, vec![]);
        prop_assert_eq!(world.plan().wake_at, None);
        prop_assert_eq!((world.desired.first_deploy, world.postdeploys, world.ends.len()), (FirstDeploy::Over, 1, 1));
    }

    #[test]
    fn a_destroyed_app_leaves_nothing(quantity in 0_u32..4, events in prop::collection::vec(event(), 0..60)) {
        let mut world = World::serving(quantity, 1);
        world.one_off();
        for event in &events {
            happen(&mut world, event);
        }
        happen(&mut world, &Event::RouterBack);
        world.desired.destroyed = true;
        world.settle();
        prop_assert!(world.observed.containers.is_empty());
        prop_assert_eq!(&world.observed.router, &RouterView::Here { acknowledged: None });
    }

    #[test]
    fn a_release_that_never_boots_changes_nothing(quantity in 1_u32..4, nature in bad_nature(), rounds in 1_usize..60) {
        let mut world = World::serving(quantity, 1);
        let serving = world.observed.acknowledged();
        world.deploy(nature);
        for _ in 0..rounds {
            let plan = world.plan();
            let idle = plan.steps.is_empty();
            for step in plan.steps {
                world.apply(step);
            }
            for position in 0..world.observed.containers.len() {
                world.advance(position);
            }
            if idle {
                world.now = plan.wake_at.expect("a crashed dyno is tried again");
            }
            prop_assert_eq!(&world.observed.acknowledged(), &serving);
            let running = world.observed.containers.iter().filter(|c| c.release.0 == 1 && c.state == State::Ready).count();
            prop_assert_eq!(running, quantity as usize + 1);
        }
    }
}
