//! What `yundu move` promises: a volume that is written to all the while is taken across by
//! ordinary commands, whoever is killed meanwhile, and the ledger proves it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "moves/attendant.rs"]
mod attendant;
#[path = "moves/house.rs"]
mod house;
#[allow(
    dead_code,
    reason = "shared with the test of volumes, which needs more of it"
)]
#[path = "volumes/ledger.rs"]
mod ledger;
#[allow(
    dead_code,
    reason = "shared with the test of volumes, which needs more of it"
)]
#[path = "volumes/pair.rs"]
mod pair;
#[path = "moves/proof.rs"]
mod proof;

use attendant::Attendant;
use house::{House, MAKER, MOVE, SLOTS, closed_by};
use ledger::{Dice, Writer};
use pair::Side;
use serde_json::Value;
use yundu_replicate::control::Role;

fn from_environment(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |text| text.parse().expect(name))
}

/// `move run` in JSON, which must be stopped by a gate for these reasons.
fn assert_gate_closed_for(house: &House, gate: &str, expected: &[&str]) {
    let said = house.refused(&["move", "run", MOVE, "--json"]);
    let outcome = said.json();
    assert_eq!(outcome["outcome"], "refused", "{said:?}");
    assert_eq!(outcome["verdict"]["gate"], gate, "{said:?}");
    assert_eq!(closed_by(&outcome["verdict"]), expected, "{said:?}");
    // People read the same, with what to do about it.
    let said = house.refused(&["move", "run", MOVE]);
    assert!(said.err.contains("is closed"), "{said:?}");
    assert_eq!(said.err.matches("→ ").count(), expected.len(), "{said:?}");
}

fn assert_waits_for_person(house: &House, step: &str) {
    let outcome = house.done(&["move", "run", MOVE, "--json"]).json();
    assert_eq!(outcome["outcome"], "needs-person", "{outcome}");
    assert_eq!(outcome["step"], step, "{outcome}");
    let what = outcome["what"]["en"].as_str().unwrap();
    assert!(
        what.contains(&format!("yundu move confirm {MOVE} {step}")),
        "{what}"
    );
}

fn assert_nothing_lost_by_going_back(house: &House) -> Value {
    let rollback = house.status()["rollback"].clone();
    assert_eq!(rollback["possible"], true, "{rollback}");
    assert_eq!(rollback["lost_writes"], 0, "{rollback}");
    assert_eq!(rollback["lost_bytes"], 0, "{rollback}");
    rollback
}

#[test]
fn a_move_goes_by_ordinary_commands_from_a_closed_gate_to_a_verified_ledger() {
    let mut house = House::new(1);
    let writer = Writer::start(&house.pair, Side::Source, SLOTS, 1);
    writer.let_write(50);
    assert_eq!(house.missing("seed"), ["preflight-passed"]);
    let rollback = assert_nothing_lost_by_going_back(&house);
    assert_eq!(
        rollback["duration_us"],
        Value::Null,
        "nothing was rehearsed yet"
    );

    house.done(&["move", "run", MOVE, "--until", "first-look"]);
    let missing = house.missing("cutover");
    assert!(missing.contains(&"rehearsed".to_owned()), "{missing:?}");
    assert!(!missing.contains(&"verified".to_owned()), "{missing:?}");
    house.done(&["move", "run", MOVE, "--until", "rehearse"]);
    let missing = house.missing("cutover");
    assert!(!missing.contains(&"rehearsed".to_owned()), "{missing:?}");
    assert!(
        missing.contains(&"verified".to_owned()),
        "a cut-over since the comparison makes it stale: {missing:?}"
    );
    let rollback = assert_nothing_lost_by_going_back(&house);
    assert!(rollback["duration_us"].as_i64().unwrap() > 0, "{rollback}");

    assert_waits_for_person(&house, "figures-before");
    let by_another = house.confirm("figures-before", "li.wei");
    assert_eq!(by_another.code, Some(house::REFUSED), "{by_another:?}");
    assert_waits_for_person(&house, "figures-before");
    assert_eq!(house.confirm("figures-before", "zhang.min").code, Some(0));

    approvals(&house);
    let kept = proof::keep_checkpoint(&house);

    writer.let_write(50);
    assert_eq!(house.pair.status(Side::Source).role, Role::Primary);
    assert_waits_for_person(&house, "figures-after");
    assert_eq!(house.pair.status(Side::Target).role, Role::Primary);
    assert_nothing_lost_by_going_back(&house);
    house.pair.kill(Side::Source);
    let rollback = house.status()["rollback"].clone();
    assert_eq!(
        rollback["possible"], false,
        "the source is dead: {rollback}"
    );
    assert_eq!(rollback["lost_writes"], Value::Null, "{rollback}");
    house.pair.start(Side::Source);
    house.pair.wait_in_step(Side::Target);
    assert_nothing_lost_by_going_back(&house);

    assert_eq!(house.confirm("figures-after", "zhang.min").code, Some(0));
    assert_waits_for_person(&house, "accept");
    assert_eq!(
        house.confirm("accept", "zhang.min").code,
        Some(house::REFUSED)
    );
    assert_eq!(house.confirm("accept", "li.wei").code, Some(0));
    let outcome = house.done(&["move", "run", MOVE, "--json"]).json();
    assert_eq!(outcome["outcome"], "finished", "{outcome}");
    let records = proof::records(&house).len();
    house.done(&["move", "run", MOVE]);
    assert_eq!(
        proof::records(&house).len(),
        records,
        "a finished move does nothing more"
    );

    let versions = writer.stop();
    proof::assert_moved(&house, &versions);
    proof::assert_ledger(&house, &kept);
    assert_eq!(proof::switches(&house), ["target"]);
}

/// Maker refused; an amended runbook voids approvals; two others open the gate.
fn approvals(house: &House) {
    assert_gate_closed_for(house, "cutover", &["approved"]);
    house.approve(MAKER);
    assert_gate_closed_for(house, "cutover", &["approved", "maker-never-checker"]);
    house.approve("li.wei");
    house.approve("zhang.min");
    let counted = |house: &House| {
        let status = house.status();
        let approvals = status["approvals"].as_array().unwrap().clone();
        let counts = |it: &&Value| it["subject_kind"] == "move" && it["refusal"].is_null();
        approvals.iter().filter(counts).count()
    };
    assert_eq!(counted(house), 2);
    let (from, to) = ("rto_us: 60000000", "rto_us: 90000000");
    let changed = house.write_runbook("changed.yaml", from, to);
    house.done(&["move", "amend", MOVE, "--runbook", &changed]);
    assert_eq!(counted(house), 0);
    assert_gate_closed_for(
        house,
        "cutover",
        &["approved", "maker-never-checker", "plan-unchanged"],
    );
    house.approve("li.wei");
    house.approve("zhang.min");
    assert_eq!(counted(house), 2);
}

#[test]
fn kills_of_source_target_and_controller_at_random_moments_lose_nothing() {
    let seed = from_environment("YUNDU_SEED", 7);
    let kills = from_environment("YUNDU_KILLS", 4);
    eprintln!("YUNDU_SEED={seed} YUNDU_KILLS={kills}");
    let mut dice = Dice(seed);
    let mut done = 0;
    while done < kills {
        let mut attendant = Attendant::new(dice.roll(1 << 30));
        done += attendant.carry_through(kills - done);
        eprintln!("{done} of {kills} kills");
    }
}

#[test]
fn kills_on_the_way_back_neither_lose_what_was_written_at_the_target_nor_bar_a_second_try() {
    let seed = from_environment("YUNDU_SEED", 7);
    let kills = from_environment("YUNDU_KILLS", 4).min(8);
    eprintln!("YUNDU_SEED={seed}");
    Attendant::new(seed).there_and_back(kills);
}
