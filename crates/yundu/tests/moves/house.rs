//! An institution with a workspace, four people, two volume processes and one move, driven by the
//! ordinary commands alone.

use crate::ledger::Dice;
use crate::pair::{Pair, Side, yundu};
use serde_json::Value;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const MOVE: &str = "core-ledger";
pub const MAKER: &str = "chen.jing";
pub const REFUSED: i32 = 3;

/// Slots of the writer: the first bytes of the volume.
pub const SLOTS: u64 = 500;
const MIB: u64 = 1 << 20;
const SIZE_BYTES: u64 = 64 * MIB;

const RUNBOOK: &str = include_str!("runbook.yaml");
const BOOKS: &str = include_str!("books.sh");

/// The institution's limit of the stall, relaxed: machines that run tests are slow and shared, and
/// a killed process stalls its clients for as long as it is dead.
const REHEARSED: &str = include_str!("../../../../catalog/controls/rehearsed.yaml");
const STALL_US_MAX: &str = "stall_us_max: 100000";
const STALL_US_MAX_OF_TESTS: &str = "stall_us_max: 60000000";

const PEOPLE: [(&str, &str); 4] = [
    (MAKER, "migration-architect"),
    ("wang.fang", "operations-engineer"),
    ("li.wei", "security-officer"),
    ("zhang.min", "business-owner"),
];

/// A house and its move.
pub struct House {
    pub pair: Pair,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Exit code; `None`: killed.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

// === impl Said ===

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

// === impl House ===

impl House {
    /// A workspace with estate, people and plan; both volume processes run; the move is made.
    pub fn new(seed: u64) -> Self {
        let mut pair = Pair::new(SIZE_BYTES);
        fill(&pair.image(Side::Source), seed);
        pair.start(Side::Target);
        pair.start(Side::Source);
        let house = Self { pair };
        house.found();
        let runbook = house.write_runbook("runbook.yaml", "", "");
        let words = house.creation(&runbook);
        house.done(&words.iter().map(String::as_str).collect::<Vec<_>>());
        house
    }

    fn found(&self) {
        let workspace = self.path("workspace");
        self.done(&["init", workspace.to_str().unwrap()]);
        let bank = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/harbour-bank");
        let files = [
            ("estate.yaml", "cmdb"),
            ("k8s", "kubernetes"),
            ("inventory.csv", "konveyor"),
        ];
        for (name, source) in files {
            let file = bank.join(name);
            self.done(&[
                "estate",
                "import",
                file.to_str().unwrap(),
                "--source",
                source,
            ]);
        }
        for (person, role) in PEOPLE {
            let key = self.key(person);
            self.done(&["people", "add", person, "--role", role, "--key-out", &key]);
        }
        self.done(&["plan", "--save"]);
        assert!(REHEARSED.contains(STALL_US_MAX));
        let controls = workspace.join("catalog/controls");
        std::fs::create_dir_all(&controls).unwrap();
        let relaxed = REHEARSED.replace(STALL_US_MAX, STALL_US_MAX_OF_TESTS);
        std::fs::write(controls.join("rehearsed.yaml"), relaxed).unwrap();
        std::fs::write(self.path("books.sh"), BOOKS).unwrap();
    }

    fn creation(&self, runbook: &str) -> Vec<String> {
        let directory = self.pair.directory.path().display();
        let socket = |side| self.pair.control_socket(side).to_str().unwrap().to_owned();
        let mut words: Vec<String> = ["move", "create", MOVE, "--application", "core-ledger"]
            .map(str::to_owned)
            .to_vec();
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("--runbook", runbook.to_owned());
        option("--maker", MAKER.to_owned());
        option("--source-control", socket(Side::Source));
        option("--target-control", socket(Side::Target));
        option("--set", format!("receive={}", self.pair.peer()));
        option("--set", format!("dir={directory}"));
        words
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.pair.directory.path().join(name)
    }

    /// The runbook with one change, in a file of this name.
    pub fn write_runbook(&self, name: &str, from: &str, to: &str) -> String {
        assert!(RUNBOOK.contains(from));
        let path = self.path(name);
        std::fs::write(&path, RUNBOOK.replacen(from, to, 1)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn key(&self, person: &str) -> String {
        let path = self.path(&format!("{person}.key"));
        path.to_str().unwrap().to_owned()
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = yundu();
        command
            .args(words)
            .env("YUNDU_WORKSPACE", self.path("workspace"))
            .env("YUNDU_LANG", "en")
            .env("YUNDU_RUNTIME_DIR", self.path("run"))
            .stdin(Stdio::null());
        command
    }

    pub fn say(&self, words: &[&str]) -> Said {
        let output = self.command(words).output().unwrap();
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A command that must succeed.
    pub fn done(&self, words: &[&str]) -> Said {
        let said = self.say(words);
        assert_eq!(said.code, Some(0), "yundu {words:?}: {said:?}");
        said
    }

    /// A command that must be refused.
    pub fn refused(&self, words: &[&str]) -> Said {
        let said = self.say(words);
        assert_eq!(said.code, Some(REFUSED), "yundu {words:?}: {said:?}");
        said
    }

    pub fn approve(&self, person: &str) {
        let key = self.key(person);
        self.done(&["move", "approve", MOVE, "--as", person, "--key", &key]);
    }

    pub fn confirm(&self, step: &str, person: &str) -> Said {
        let key = self.key(person);
        self.say(&["move", "confirm", MOVE, step, "--as", person, "--key", &key])
    }

    pub fn status(&self) -> Value {
        self.done(&["move", "status", MOVE, "--json"]).json()
    }

    /// Controls that keep `gate` closed now.
    pub fn missing(&self, gate: &str) -> Vec<String> {
        let said = self.say(&["gate", "check", MOVE, gate, "--json"]);
        closed_by(&said.json()["verdict"])
    }
}

/// Controls of a verdict that do not hold.
pub fn closed_by(verdict: &Value) -> Vec<String> {
    let controls = verdict["controls"].as_array().unwrap();
    controls
        .iter()
        .filter(|it| it["status"] != "pass" && it["status"] != "not-applicable")
        .map(|it| it["control"].as_str().unwrap().to_owned())
        .collect()
}

/// Books behind the writer's slots that nobody writes to: what reconciliation compares.
fn fill(image: &Path, seed: u64) {
    let image = File::options().write(true).open(image).unwrap();
    let mut dice = Dice(seed);
    let data: Vec<u8> = (0..8 * MIB).map(|_| dice.roll(256) as u8).collect();
    image.write_all_at(&data, 20 * MIB).unwrap();
}
