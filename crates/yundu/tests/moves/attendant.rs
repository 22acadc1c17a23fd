//! Takes one move to its end while volume processes and the controller are killed under it, and
//! does for it what people would: sign, verify again, restart what died.

use crate::house::{House, MOVE, REFUSED, SLOTS};
use crate::ledger::{Dice, Writer};
use crate::pair::Side;
use crate::proof;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use yundu_replicate::control::{Link, Role};

/// Kills under one move; then a new one is begun, so that every stage is met again and again.
const KILLS_PER_MOVE: u64 = 8;

/// Longest pause between the begin of a step and a kill, as a power of two in µs: about half a
/// second, and as often under a millisecond.
const PAUSE_POWERS: u64 = 20;

/// A run of the controller that takes longer hangs.
const RUN_MAX: Duration = Duration::from_secs(150);

/// Runs of the controller under one move: each kill costs one, and so does each person's step.
const RUNS_MAX: u32 = 120;

pub struct Attendant {
    house: House,
    dice: Dice,
    seed: u64,
    /// Steps of the move, in order.
    steps: Vec<String>,
    /// A checkpoint from the middle of the move.
    kept: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Source,
    Target,
    Controller,
}

/// A running `yundu move run`, and the steps that it says it begins.
struct Run {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

// === impl Run ===

impl Run {
    fn start(house: &House, words: &[&str]) -> Self {
        let mut command = house.command(words);
        let errors = house.path("run.err");
        let errors = std::fs::File::create(errors).unwrap();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// Waits until a step of `steps` begins; `false`: the controller ended before.
    fn reaches(&mut self, steps: &[String]) -> bool {
        let since = Instant::now();
        loop {
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    let begun = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                    let hit = begun.is_some_and(|(step, _)| steps.iter().any(|it| it == step));
                    self.said.push(line);
                    if hit {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {
                    assert!(
                        since.elapsed() < RUN_MAX,
                        "the controller hangs: {:?}",
                        self.said
                    );
                }
            }
        }
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end; the exit code, or `None` when it was killed.
    fn end(&mut self) -> Option<i32> {
        while self.reaches(&[]) {}
        self.child.wait().unwrap().code()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Attendant ===

impl Attendant {
    pub fn new(seed: u64) -> Self {
        let house = House::new(seed);
        let status = house.status();
        let steps = status["steps"].as_array().unwrap().iter();
        let steps = steps.map(|step| step["id"].as_str().unwrap().to_owned());
        Self {
            steps: steps.collect(),
            house,
            dice: Dice(seed),
            seed,
            kept: None,
        }
    }

    /// Takes the move to its end with at most `kills_max` kills on the way, and proves that
    /// nothing was lost; the kills that happened.
    pub fn carry_through(&mut self, kills_max: u64) -> u64 {
        let writer = self.writer();
        let aims = self.aims(kills_max.min(KILLS_PER_MOVE));
        let killed = self.go_on(aims, None);
        let versions = writer.stop();
        proof::assert_moved(&self.house, &versions);
        proof::assert_ledger(&self.house, &self.kept());
        killed
    }

    /// Goes to the target, back to the source with `kills` kills on the way back, and there again.
    pub fn there_and_back(&mut self, kills: u64) {
        let writer = self.writer();
        self.go_on(Vec::new(), Some("figures-after"));
        writer.let_write(50);
        self.way_back("in-step", kills);
        let pair = &self.house.pair;
        let source = pair.wait_in_step(Side::Source);
        assert_eq!(source.role, Role::Primary);
        assert_eq!(pair.status(Side::Target).role, Role::Secondary);
        assert_eq!(proof::switches(&self.house), ["target", "source"]);
        assert_eq!(self.house.status()["next"], "first-look");
        writer.let_write(50);
        self.go_on(Vec::new(), None);
        let versions = writer.stop();
        proof::assert_moved(&self.house, &versions);
        assert_eq!(proof::switches(&self.house), ["target", "source", "target"]);
        let records = proof::assert_ledger_verifies(&self.house, &self.kept());
        let count = |kind: &str| records.iter().filter(|it| it["kind"] == kind).count();
        assert_eq!((count("cutover.done"), count("rollback.done")), (2, 1));
        assert_eq!((count("drill.rehearsed"), count("move.done")), (2, 1));
        // From figures-after, which waited, to first-look.
        assert_eq!(count("step.rolled-back"), 8);
    }

    fn writer(&self) -> Writer {
        let writer = Writer::start(&self.house.pair, Side::Source, SLOTS, self.seed);
        writer.let_write(20);
        writer
    }

    fn kept(&self) -> PathBuf {
        self.kept.clone().expect("the move passed its middle")
    }

    /// Steps at which somebody is to be killed, the first one last.
    fn aims(&mut self, count: u64) -> Vec<usize> {
        // Where the world changes most, it is killed most.
        let mut aimed_at: Vec<usize> = (0..self.steps.len()).collect();
        for often in ["copy", "rehearse", "cut-over", "compare", "switch"] {
            let position = self.steps.iter().position(|step| step == often).unwrap();
            aimed_at.extend([position; 2]);
        }
        let mut aims: Vec<usize> = (0..count)
            .map(|_| aimed_at[self.dice.roll(aimed_at.len() as u64) as usize])
            .collect();
        aims.sort_unstable_by(|one, other| other.cmp(one));
        aims
    }

    /// Runs the move, with kills at the steps of `aims`, until the step `until` waits for a person
    /// or to its end; the kills that happened.
    fn go_on(&mut self, mut aims: Vec<usize>, until: Option<&str>) -> u64 {
        let mut killed = 0;
        for _ in 0..RUNS_MAX {
            let mut run = Run::start(&self.house, &["move", "run", MOVE]);
            let aim = aims.last().copied().unwrap_or(self.steps.len());
            if run.reaches(&self.steps[aim..]) {
                killed += u64::from(self.kill_during(&mut run));
                // Steps that end at once may be over before any kill: they are not aimed at again.
                aims.pop();
            }
            let code = self.end(&mut run);
            let status = self.house.status();
            let Some(next) = status["next"].as_str() else {
                // Only a run that ended by itself has wound up.
                if code.is_some() {
                    return killed;
                }
                continue;
            };
            let position = self.steps.iter().position(|step| step == next).unwrap();
            if self.kept.is_none() && position >= self.steps.len() / 2 {
                self.kept = Some(proof::keep_checkpoint(&self.house));
            }
            if until == Some(next) && status["steps"][position]["state"] == "waiting" {
                return killed;
            }
            if code.is_some() {
                self.attend(&status["steps"][position]);
            }
        }
        panic!("the move does not end: {}", self.house.status());
    }

    /// Rolls back to the step `to`, with kills on the way.
    fn way_back(&mut self, to: &str, kills: u64) {
        let mut killed = 0;
        for _ in 0..RUNS_MAX {
            let mut run = Run::start(&self.house, &["move", "rollback", MOVE, "--to", to]);
            // Most steps have nothing to undo: the two that have are aimed at.
            let aim = ["switch", "cut-over"][self.dice.roll(2) as usize];
            if killed < kills && run.reaches(&[aim.to_owned()]) {
                killed += u64::from(self.kill_during(&mut run));
            }
            if self.end(&mut run) == Some(0) {
                return;
            }
        }
        panic!("the way back does not end: {}", self.house.status());
    }

    /// Waits for the end of a controller; its exit code, or `None` when it was killed. Whoever was
    /// killed runs again then.
    fn end(&self, run: &mut Run) -> Option<i32> {
        let code = run.end();
        let errors = self.house.path("run.err");
        let errors = std::fs::read_to_string(errors).unwrap_or_default();
        let said = &run.said;
        assert!(
            matches!(code, None | Some(0 | REFUSED)),
            "exit code {code:?}: {said:?} {errors}"
        );
        self.one_is_primary();
        code
    }

    /// Kills somebody a random moment from now; `false`: the controller had ended before.
    fn kill_during(&mut self, run: &mut Run) -> bool {
        let step = run.said.last().cloned().unwrap_or_default();
        let power = self.dice.roll(PAUSE_POWERS);
        let pause_us = self.dice.roll(1 << power);
        let (dead_ms, victim) = (self.dice.roll(300), self.dice.roll(3));
        std::thread::sleep(Duration::from_micros(pause_us));
        let counted = run.is_running();
        let victim = match victim {
            0 => Victim::Source,
            1 => Victim::Target,
            _ => Victim::Controller,
        };
        eprintln!(
            "kill -9 {victim:?} {pause_us} µs into {step}{}",
            if counted { "" } else { " (over)" }
        );
        let side = match victim {
            Victim::Source => Side::Source,
            Victim::Target => Side::Target,
            Victim::Controller => {
                let _ = run.child.kill();
                return counted;
            }
        };
        self.house.pair.kill(side);
        std::thread::sleep(Duration::from_millis(dead_ms));
        self.house.pair.start(side);
        counted
    }

    fn one_is_primary(&self) {
        let pair = &self.house.pair;
        let source = pair.status(Side::Source);
        if source.peer.is_none() {
            return;
        }
        // After a kill the two tell each other who is what.
        let source = pair.wait_for(Side::Source, "the link", |it| it.link == Link::Up);
        let target = pair.wait_for(Side::Target, "the link", |it| it.link == Link::Up);
        assert!(
            source.role != target.role,
            "exactly one primary: {source:?} {target:?}"
        );
    }

    /// Does what the move asks people for.
    fn attend(&self, step: &Value) {
        let id = step["id"].as_str().unwrap();
        match (step["state"].as_str().unwrap(), step["gate"].as_str()) {
            ("waiting", _) => {
                let person = if id == "accept" {
                    "li.wei"
                } else {
                    "zhang.min"
                };
                let said = self.house.confirm(id, person);
                assert_eq!(said.code, Some(0), "{said:?}");
            }
            ("pending" | "failed" | "rolled-back", Some(gate)) => {
                for control in self.house.missing(gate) {
                    self.obtain(&control);
                }
            }
            // Interrupted, or failed where no gate stands: it is run again.
            _ => {}
        }
    }

    /// Obtains what a gate misses.
    fn obtain(&self, control: &str) {
        let pair = &self.house.pair;
        match control {
            "approved" => {
                self.house.approve("li.wei");
                self.house.approve("zhang.min");
            }
            // A kill cut the copies off after their comparison.
            "verified" => {
                let output = pair.volume(Side::Source, &["verify"]);
                assert!(output.status.success(), "{output:?}");
            }
            "in-step" | "rollback-possible" => {
                std::thread::sleep(Duration::from_millis(100));
            }
            other => panic!("nothing that a kill may do closes a gate by {other}"),
        }
    }
}
