//! A small world that counts what is done to it: two copies of a volume, an application, people.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use yundu_comply::Catalog;
use yundu_estate::text::Text;
use yundu_evidence::{DirectoryStore, Ledger, LogKey, Record};
use yundu_migrate::runbook::Runbook;
use yundu_migrate::{
    CatalogKeeper, Clock, CommandError, CommandOutput, Commands, DataPlane, Engine, Move,
    PlaneError, Point, Side, SiteFacts, Surroundings, Watch, Wiring,
};
use yundu_people::{Person, PersonKey, Role as PersonRole};
use yundu_replicate::control::{
    CutDigest, Event, Handover, Link, Mode, Policy, Request, Response, Role, Status, SyncState,
    Verification,
};
use yundu_store::{LedgerHome, PersonRow, Store};

pub const MOVE: &str = "core-ledger";

/// What was done to the world, and how it stands.
#[derive(Debug)]
pub struct State {
    pub counts: BTreeMap<String, u32>,
    pub primary: Side,
    pub peer: Option<String>,
    pub link_up: bool,
    pub handover: Option<Handover>,
    pub verification: Option<Verification>,
    /// Leaves of the target that differ.
    pub corrupt: u64,
    pub events: Vec<Event>,
    pub application_at: char,
    pub facts: Value,
    pub retired: bool,
    /// The volume processes were restarted before their digests as of the cut were known.
    pub cut_digest_lost: bool,
    pub rehearsal_check_fails: bool,
    pub now_us: i64,
}

#[derive(Clone)]
pub struct World(pub Arc<Mutex<State>>);

impl World {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            counts: BTreeMap::new(),
            primary: Side::Source,
            peer: None,
            link_up: true,
            handover: None,
            verification: None,
            corrupt: 0,
            events: vec![],
            application_at: 'a',
            facts: json!({"accounts": 100, "sum": 0}),
            retired: false,
            cut_digest_lost: false,
            rehearsal_check_fails: false,
            now_us: 1_000_000_000,
        })))
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    pub fn count(&self, what: &str) -> u32 {
        self.with(|state| state.counts.get(what).copied().unwrap_or(0))
    }
}

impl State {
    fn did(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    fn tick(&mut self) -> i64 {
        self.now_us += 1_000;
        self.now_us
    }

    fn event(&mut self, kind: &str, body: Value) {
        let at_us = self.tick();
        let sequence = self.events.len() as u64 + 1;
        self.events.push(Event {
            sequence,
            node: "node-a".into(),
            set: "set".into(),
            at_us,
            kind: kind.into(),
            body,
        });
    }

    fn status(&self, side: Side) -> Status {
        let replicating = self.peer.is_some();
        Status {
            volume: "vol".into(),
            image: "/images/vol".into(),
            set: "set".into(),
            role: if self.primary == side {
                Role::Primary
            } else {
                Role::Secondary
            },
            generation: 1,
            size_bytes: 1 << 20,
            link: if !replicating {
                Link::None
            } else if self.link_up {
                Link::Up
            } else {
                Link::Down
            },
            sync: if !replicating {
                SyncState::Alone
            } else if self.link_up {
                SyncState::InStep
            } else {
                SyncState::Degraded
            },
            mode: replicating.then_some(Mode::Sync),
            policy: replicating.then_some(Policy::Available),
            peer: if side == Side::Source {
                self.peer.clone()
            } else {
                None
            },
            link_reason: None,
            remaining_bytes: if self.link_up { 0 } else { 4096 },
            copy_bytes: 4096,
            resync_bytes: 0,
            dirtied_bytes: 0,
            mirrored_bytes: 0,
            rate_bytes_per_s: 0,
            client_requests: 1,
            client_errors: 0,
            wait_us_max: 900,
            rpo_us: if self.link_up { Some(0) } else { None },
            verification: self.verification.clone(),
            cut_digest: self
                .handover
                .as_ref()
                .filter(|_| !self.cut_digest_lost)
                .map(|it| CutDigest {
                    id: it.id.clone(),
                    root: "ab".into(),
                    hashed_bytes: 1,
                }),
            handover: self.handover.clone(),
            exports: vec![],
            event_sequence: self.events.len() as u64,
        }
    }
}

impl DataPlane for World {
    fn ask(&self, _volume: &str, side: Side, request: &Request) -> Result<Response, PlaneError> {
        self.with(|state| match request {
            Request::Status => Ok(Response::Status(Box::new(state.status(side)))),
            Request::Replicate { to, .. } => {
                state.did("replicate");
                state.peer = Some(to.clone());
                state.event("volume.copy-started", json!({}));
                state.event("volume.in-step", json!({}));
                Ok(Response::Done)
            }
            Request::Detach => {
                state.did("detach");
                state.peer = None;
                Ok(Response::Done)
            }
            Request::Cutover { id, to_me } => {
                let to = if *to_me { side } else { side.other() };
                if state.handover.as_ref().is_some_and(|done| done.id == *id) {
                    return Ok(Response::Handover(state.handover.clone().unwrap()));
                }
                if state.primary == to {
                    return Err(PlaneError::Refused {
                        reason: format!("{to:?} is primary already"),
                    });
                }
                state.did(&format!("cut to {to:?}"));
                state.primary = to;
                let handover = Handover {
                    id: id.clone(),
                    generation: 2,
                    hold_us: 1_500,
                    total_us: 4_000,
                };
                state.handover = Some(handover.clone());
                state.event(
                    "volume.handover",
                    json!({"id": id, "hold_us": 1_500, "total_us": 4_000}),
                );
                Ok(Response::Handover(handover))
            }
            Request::Verify { repair } => {
                state.did("verify");
                let differing = state.corrupt;
                if *repair {
                    state.corrupt = 0;
                }
                state.verification = Some(Verification {
                    running: false,
                    compared_bytes: 1 << 20,
                    differing_offsets: (0..differing).map(|leaf| leaf * 65_536).collect(),
                    differing_leaves: differing,
                    leaf_bytes: 65_536,
                    repaired_leaves: if *repair { differing } else { 0 },
                    aborted: None,
                });
                Ok(Response::Done)
            }
            Request::Events { since } => {
                let wanted = |event: &&Event| side == Side::Source && event.sequence > *since;
                Ok(Response::Events {
                    events: state.events.iter().filter(wanted).cloned().collect(),
                })
            }
            Request::ResetMeters => Ok(Response::Done),
            other => Err(PlaneError::Refused {
                reason: format!("{other:?}"),
            }),
        })
    }
}

impl Commands for World {
    fn run<'a>(
        &'a self,
        argv: &'a [String],
        _timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<CommandOutput, CommandError>> + Send + 'a>> {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let answer = |succeeded: bool, stdout: String| CommandOutput {
            code: Some(i32::from(!succeeded)),
            stdout,
            stderr: if succeeded {
                String::new()
            } else {
                "it is not so".into()
            },
        };
        let output = self.with(|state| match words.as_slice() {
            ["switch", to] => {
                state.did(&format!("switch to {to}"));
                state.application_at = to.chars().next().unwrap();
                answer(true, r#"{"interruption_us": 700000}"#.into())
            }
            ["is-at", place] => answer(place.starts_with(state.application_at), String::new()),
            ["figures"] => answer(true, state.facts.to_string()),
            ["alive"] => answer(!state.rehearsal_check_fails, r#"{"lost_writes": 0}"#.into()),
            ["destroy"] => {
                state.did("destroy");
                state.retired = true;
                answer(true, String::new())
            }
            ["is-destroyed"] => answer(state.retired, String::new()),
            other => panic!("unknown command {other:?}"),
        });
        Box::pin(async move { Ok(output) })
    }
}

impl Clock for World {
    fn now_us(&self) -> i64 {
        self.with(State::tick)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.with(|state| state.now_us += i64::try_from(duration.as_micros()).unwrap());
        Box::pin(async {})
    }
}

/// Dies at the n-th point, if any.
#[derive(Default)]
pub struct Death {
    pub at: Option<usize>,
    pub passed: Mutex<Vec<Point>>,
}

impl Watch for Death {
    fn pass(&self, point: &Point) -> bool {
        let mut passed = self.passed.lock().unwrap();
        passed.push(point.clone());
        self.at != Some(passed.len() - 1)
    }
}

/// The runbook of `docs/runbook.md` itself, with a short observation.
pub fn runbook() -> Runbook {
    let document = include_str!("../../../../docs/runbook.md");
    let text = document
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let text = text
        .replace("${scripts}/switch", "switch")
        .replace("${scripts}/is-at", "is-at")
        .replace("\"${scripts}/reconcile\", \"${source_db}\"", "figures")
        .replace("\"${scripts}/reconcile\", \"${target_db}\"", "figures")
        .replace("${scripts}/alive", "alive")
        .replace("${scripts}/retire", "destroy")
        .replace("${scripts}/is-retired", "is-destroyed")
        .replace("name: core-ledger ", "name: vol ")
        .replace("observation_us: 86400000000", "observation_us: 1000");
    Runbook::parse("docs/runbook.md", &text, &variables()).unwrap()
}

pub fn variables() -> BTreeMap<String, String> {
    [("receive".to_owned(), "10.0.2.2:11000".to_owned())].into()
}

pub fn a_move() -> Move {
    let wiring = Wiring {
        source_control: "/a.sock".into(),
        target_control: "/b.sock".into(),
    };
    Move {
        id: MOVE.into(),
        application: "core-ledger".into(),
        requester: "wang.fang".into(),
        runbook: runbook(),
        variables: variables(),
        wiring: [("vol".to_owned(), wiring)].into(),
        created_us: 1,
    }
}

pub fn surroundings() -> Surroundings {
    let facts = SiteFacts {
        data_store: "ledger-db".into(),
        architecture: Some("x86-64".into()),
        page_size: Some("4096".into()),
        engine_version: Some("15".into()),
        collation: Some("C".into()),
    };
    Surroundings {
        estate: json!({"digest": "e", "applications": [{"id": "core-ledger", "owner": "zhang.min"}], "contradictions": []}),
        source: vec![facts.clone()],
        target: vec![facts],
        plan_digest: Some("p".into()),
        placement: json!({"wave": 3}),
        wave: Some(3),
    }
}

const PEOPLE: [(&str, PersonRole); 4] = [
    ("wang.fang", PersonRole::OperationsEngineer),
    ("li.wei", PersonRole::SecurityOfficer),
    ("zhang.min", PersonRole::BusinessOwner),
    ("chen.jie", PersonRole::OperationsEngineer),
];

pub fn key_of(person: &str) -> PersonKey {
    let position = PEOPLE.iter().position(|(id, _)| *id == person).unwrap();
    PersonKey::from_seed(&[u8::try_from(position).unwrap() + 1; 32])
}

/// Makes the workspace: people and the move.
pub async fn prepare(directory: &Path) {
    let key = LogKey::from_seed("test.example/ledger", &[3; 32]).unwrap();
    key.save(&directory.join("log.key")).unwrap();
    Ledger::create(DirectoryStore::open(directory.join("ledger")).unwrap(), key).unwrap();
    let store = Store::open_file(&directory.join("yundu.db")).await.unwrap();
    let mut change = store.begin().await.unwrap();
    for (id, role) in PEOPLE {
        let person =
            Person::try_new(id, Text::new(id, id), [role], key_of(id).public_key()).unwrap();
        let row = PersonRow {
            id: id.into(),
            document: serde_json::to_value(person).unwrap(),
            at_us: 1,
        };
        change.add_person(&row).await.unwrap();
    }
    change.commit().await.unwrap();
    Engine::create(&store, &a_move(), &surroundings())
        .await
        .unwrap();
    store.close().await;
}

/// A new process on the same database.
pub async fn engine(directory: &Path, world: &World, watch: Arc<dyn Watch>) -> Engine {
    Engine {
        store: Store::open_file(&directory.join("yundu.db")).await.unwrap(),
        ledger: LedgerHome::new(directory.join("ledger"), directory.join("log.key")),
        plane: Arc::new(world.clone()),
        commands: Arc::new(world.clone()),
        gates: Arc::new(CatalogKeeper(Catalog::load(None).unwrap())),
        clock: Arc::new(world.clone()),
        watch,
    }
}

/// The ledger's records about the move.
pub async fn records(engine: &Engine) -> Vec<Record> {
    engine
        .ledger
        .records_about(&engine.store, MOVE)
        .await
        .unwrap()
}
