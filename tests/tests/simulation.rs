//! The whole system by seed: everything that can go wrong, then healing, then the books against each other.

use tests::sim::plan::PURGES_FROM;
use tests::sim::world::{Stats, World};

/// Seeds that once failed; each is run first.
const KNOWN: &str = include_str!("../seeds.txt");
/// Seeds of a plain run.
const SEEDS: u64 = 250;
/// Seeds of a plain run that know operators who purge routes.
const WITH_PURGES: u64 = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64, loud: bool) -> Stats {
    let mut world = World::of(seed);
    world.loud = loud;
    if let Err(failure) = world.run() {
        panic!("\n{failure}\n");
    }
    world.stats
}

/// Every seed keeps every invariant of design.md, "How it is shown to be right". SEKISHO_SEED runs one seed and shows
/// what happens, SEKISHO_SEEDS says how many, SEKISHO_FIRST where they begin.
#[test]
fn every_seed_keeps_the_invariants() {
    if let Some(seed) = number("SEKISHO_SEED") {
        println!("{:#?}", run(seed, true));
        return;
    }
    let known = KNOWN
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok());
    let first = number("SEKISHO_FIRST").unwrap_or(1);
    let fresh = first..first + number("SEKISHO_SEEDS").unwrap_or(SEEDS);
    let with_purges = match number("SEKISHO_SEEDS") {
        Some(_) => 0..0,
        None => PURGES_FROM..PURGES_FROM + WITH_PURGES,
    };
    let mut total = Stats::default();
    for seed in known.chain(fresh).chain(with_purges) {
        total.add(&run(seed, false));
    }
    println!("{total:#?}");
}
