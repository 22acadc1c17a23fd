//! Two copies under a seeded simulator: what clients were promised holds through link faults,
//! killed processes, power losses, hand-overs and corruption, between any two effects.
//!
//! `YUNDU_SEED=n` replays one seed (`YUNDU_TRACE=1` tells its story), `YUNDU_SEEDS=n` runs more.
#![allow(
    clippy::unit_arg,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "simulator/chance.rs"]
mod chance;
#[path = "simulator/check.rs"]
mod check;
#[path = "simulator/client.rs"]
mod client;
#[path = "simulator/disk.rs"]
mod disk;
#[path = "simulator/fault.rs"]
mod fault;
#[path = "simulator/register.rs"]
mod register;
#[path = "simulator/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Planted, World};
use yundu_replicate_core::node::SyncState;

const OPERATIONS: u64 = 1000;
const FAULTS: u64 = 8;

#[derive(Default, Debug)]
struct Totals {
    operations: u64,
    faults: u64,
    cuts: u64,
    resyncs: u64,
    power_losses: u64,
    promotions: u64,
    found: u64,
}

fn run(seed: u64, planted: Planted) -> Totals {
    let mut world = World::new(seed, OPERATIONS, FAULTS, planted);
    let mut limit_us = 120_000_000;
    while world.issued < OPERATIONS || world.faults_left > 0 {
        world.advance();
        if world.now_us > limit_us {
            // Everything may wait for a lost site (policy `protect`); the calm must end that.
            break;
        }
    }
    world.calm = true;
    world.run_for(5_000_000);
    match world.chance.below(8) {
        0 | 1 => world.destroy_primary(),
        2 => world.fail_primary(),
        3 => world.fail_secondary(),
        _ => {}
    }
    limit_us = world.now_us + 60_000_000;
    while !world.doomed && !is_settled(&world) {
        world.advance();
        assert!(
            world.now_us < limit_us,
            "seed {seed}: no rest is found: {}",
            describe(&world)
        );
    }
    if !world.doomed {
        if let Some(primary) = world.primary() {
            // What was corrupted behind everybody's back is still to be repaired.
            world.node(primary).start_verify(true).unwrap();
            world.pump(primary);
            let limit_us = world.now_us + 60_000_000;
            while !is_settled(&world)
                || world
                    .node(primary)
                    .verify_progress()
                    .is_some_and(|p| p.running)
            {
                world.advance();
                assert!(
                    world.now_us < limit_us,
                    "seed {seed}: the repair does not end: {}",
                    describe(&world)
                );
            }
        }
        world.check_end();
    }
    Totals {
        operations: world.issued,
        faults: world.faults,
        cuts: world.cuts,
        resyncs: world.resyncs,
        power_losses: world.power_losses,
        promotions: world.promotions,
        found: world.verify_found,
    }
}

fn is_settled(world: &World) -> bool {
    let answered = world
        .clients
        .iter()
        .all(|client| client.requests.is_empty());
    let Some(primary) = world.primary() else {
        return false;
    };
    let in_step = world.sites[primary]
        .node
        .as_ref()
        .is_some_and(|node| node.sync_state() == SyncState::InStep && node.dirty().count() == 0);
    let other = &world.sites[1 - primary];
    let followed = other
        .node
        .as_ref()
        .is_some_and(|node| node.meta().consistent && node.is_linked());
    answered && in_step && followed
}

fn describe(world: &World) -> String {
    let mut text = String::new();
    for (index, site) in world.sites.iter().enumerate() {
        let meta = site.meta();
        text += &format!(
            "\n  site {index}: running {}, {:?} of generation {}, consistent {}, failed {:?}, ceding {:?}, peer {:?}",
            site.node.is_some(),
            meta.role,
            meta.generation,
            meta.consistent,
            meta.failed,
            meta.ceding,
            meta.peer
        );
        if let Some(node) = &site.node {
            text += &format!(
                ", linked {}, {:?}, dirty {}, remaining {}, holding {}, under way {}, reason {:?}",
                node.is_linked(),
                node.sync_state(),
                node.dirty().count(),
                node.remaining_bytes(),
                node.is_holding(),
                node.requests_under_way(),
                node.link_reason()
            );
        }
    }
    for client in &world.clients {
        text += &format!(
            "\n  client at {}: {} unanswered, connected {}",
            client.site,
            client.requests.len(),
            client.connected
        );
        for request in client.requests.values().take(2) {
            let mut one = format!("{:?}", request.command);
            one.truncate(60);
            text += &format!("\n    {one}");
        }
    }
    text
}

#[test]
fn promises_hold_for_every_seed() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("YUNDU_SEED") {
        let totals = run(seed, Planted::default());
        println!("seed {seed}: {totals:?}");
        return;
    }
    let first = number("YUNDU_FIRST_SEED").unwrap_or(1);
    let seeds = number("YUNDU_SEEDS").unwrap_or(300);
    let started = std::time::Instant::now();
    let mut all = Totals::default();
    let mut broken = Vec::new();
    for seed in first..first + seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed, Planted::default()))) {
            Ok(totals) => {
                all.operations += totals.operations;
                all.faults += totals.faults;
                all.cuts += totals.cuts;
                all.resyncs += totals.resyncs;
                all.power_losses += totals.power_losses;
                all.promotions += totals.promotions;
                all.found += totals.found;
            }
            Err(_) => {
                println!("broken seed: replay with YUNDU_SEED={seed} YUNDU_TRACE=1");
                broken.push(seed);
                if broken.len() > 20 {
                    break;
                }
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{seeds} seeds in {seconds:.1} s: {all:?}");
    assert!(broken.is_empty(), "broken seeds: {broken:?}");
    if seeds >= 100 {
        assert!(
            all.cuts > 0
                && all.resyncs > 0
                && all.power_losses > 0
                && all.found > 0
                && all.promotions > 0
        );
    }
}

/// The simulator is worth something only if it finds mistakes.
#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_found() {
    use yundu_replicate_core::node::Bug;
    const SEEDS: u64 = 300;
    // Hundreds of expected failures would bury the report.
    std::panic::set_hook(Box::new(|_| {}));
    let found: Vec<(Bug, Option<u64>)> = Bug::ALL
        .into_iter()
        .map(|bug| {
            let breaks =
                |seed: &u64| catch_unwind(AssertUnwindSafe(|| run(*seed, Some(bug)))).is_err();
            (bug, (1..=SEEDS).find(breaks))
        })
        .collect();
    let _ours = std::panic::take_hook();
    for (bug, seed) in &found {
        println!("{bug:?}: first broken seed {seed:?}");
    }
    let missed: Vec<Bug> = found
        .iter()
        .filter(|(_, seed)| seed.is_none())
        .map(|(bug, _)| *bug)
        .collect();
    assert!(
        missed.is_empty(),
        "not found within {SEEDS} seeds: {missed:?}"
    );
}
