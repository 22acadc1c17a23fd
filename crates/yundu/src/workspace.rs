//! The directory made by `yundu init`: database, ledger, keys.

use crate::context::{Classify, Context, Failure};
use anyhow::{Context as _, anyhow};
use std::future::Future;
use std::path::{Path, PathBuf};
use yundu_comply::Catalog;
use yundu_estate::{Estate, SourceDocument};
use yundu_evidence::{DirectoryStore, Ledger, LogKey, Record};
use yundu_people::Person;
use yundu_store::{LedgerHome, Store};

/// An open workspace.
pub struct Workspace {
    root: PathBuf,
    runtime: tokio::runtime::Runtime,
    store: Store,
    ledger: LedgerHome,
}

/// What makes a directory a workspace.
const DATABASE: &str = "yundu.db";
const LEDGER: &str = "ledger";
const LOG_KEY: &str = "keys/log.key";
const PEOPLE_KEYS: &str = "keys/people";
const REPORTS: &str = "reports";

/// Now, microseconds since the Unix epoch.
pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

// === impl Workspace ===

impl Workspace {
    /// Makes a workspace in a directory that is absent or empty; `origin` names its ledger. What
    /// an interrupted attempt left behind is completed.
    pub fn create(root: &Path, origin: &str) -> Result<Self, Failure> {
        let database = root.join(DATABASE);
        if database.exists() {
            let shown = root.display();
            return Err(Failure::BadInput(anyhow!(
                "{shown} is a workspace already: nothing was changed"
            )));
        }
        let foreign = |name: &std::ffi::OsStr| {
            name != "ledger" && name != "keys" && name != "reports" && name != "catalog"
        };
        if let Ok(entries) = std::fs::read_dir(root) {
            let found = entries
                .filter_map(Result::ok)
                .map(|entry| entry.file_name())
                .find(|name| foreign(name));
            if let Some(name) = found {
                return Err(Failure::BadInput(anyhow!(
                    "{} holds {name:?}: a workspace needs an empty directory",
                    root.display()
                )));
            }
        }
        for directory in [PEOPLE_KEYS, REPORTS] {
            let path = root.join(directory);
            std::fs::create_dir_all(&path)
                .with_context(|| format!("cannot make {}", path.display()))
                .environment()?;
        }
        restrict(&root.join("keys"))?;
        let key_file = root.join(LOG_KEY);
        if !key_file.exists() {
            LogKey::generate(origin)
                .bad_input()?
                .save(&key_file)
                .environment()?;
        }
        let key = LogKey::load(&key_file).environment()?;
        if !root.join(LEDGER).join("checkpoint").exists() {
            let directory = DirectoryStore::open(root.join(LEDGER)).environment()?;
            Ledger::create(directory, key).environment()?;
        }
        // The database comes last: where it is, everything is.
        Self::assemble(root)
    }

    /// Opens the workspace that `--workspace` names.
    pub fn open(context: &Context) -> Result<Self, Failure> {
        let root = &context.workspace;
        if !root.join(DATABASE).is_file() {
            let text = context.tr(
                "这里不是工作区，请先运行",
                "this is not a workspace; first run",
            );
            return Err(Failure::Environment(anyhow!(
                "{text} `yundu init {}`",
                root.display()
            )));
        }
        Self::assemble(root)
    }

    fn assemble(root: &Path) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .environment()?;
        let store = runtime
            .block_on(Store::open_file(&root.join(DATABASE)))
            .environment()?;
        let ledger = LedgerHome::new(root.join(LEDGER), root.join(LOG_KEY));
        Ok(Self {
            root: root.to_owned(),
            runtime,
            store,
            ledger,
        })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Everything mutable.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The ledger, opened only while it is fed.
    pub fn ledger(&self) -> &LedgerHome {
        &self.ledger
    }

    /// Where `yundu people add` keeps a person's key unless told otherwise.
    pub fn person_key_file(&self, id: &str) -> PathBuf {
        self.root.join(PEOPLE_KEYS).join(format!("{id}.key"))
    }

    /// Keeps others from running a move while the file that is returned is open.
    pub fn lock_move(&self, context: &Context, id: &str) -> Result<std::fs::File, Failure> {
        let shown: String = id
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
            .collect();
        let path = self.root.join(format!(".move-{shown}.lock"));
        let file = std::fs::File::create(&path)
            .with_context(|| format!("lock {}", path.display()))
            .environment()?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(_) => {
                let text = context.tr(
                    "另一个进程正在运行这个迁移单",
                    "another process is running this move",
                );
                Err(Failure::Refused(anyhow!("{id}: {text}")))
            }
        }
    }

    /// Waits for `work` on this thread.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Moves pending evidence into the ledger.
    pub fn settle(&self) -> Result<(), Failure> {
        self.block_on(self.ledger.settle(&self.store))
            .environment()
            .map(|_| ())
    }

    /// Writes evidence and moves it into the ledger.
    pub fn record(&self, record: &Record) -> Result<(), Failure> {
        self.block_on(async {
            let mut change = self.store.begin().await?;
            change.record(record).await?;
            change.commit().await
        })
        .environment()?;
        self.settle()
    }

    /// Everybody registered.
    pub fn people(&self) -> Result<Vec<Person>, Failure> {
        let rows = self
            .block_on(async { self.store.read().await?.people().await })
            .environment()?;
        rows.into_iter()
            .map(|row| serde_json::from_value(row.document).environment())
            .collect()
    }

    /// The estate as all imported documents describe it.
    pub fn estate(&self) -> Result<Estate, Failure> {
        let rows = self
            .block_on(async { self.store.read().await?.sources().await })
            .environment()?;
        let documents: Vec<SourceDocument> = rows
            .into_iter()
            .map(|row| serde_json::from_value(row.document).environment())
            .collect::<Result<_, _>>()?;
        Ok(Estate::from_documents(&documents))
    }

    /// The embedded catalog with the workspace's own on top.
    pub fn catalog(&self) -> Result<Catalog, Failure> {
        Catalog::load(Some(&self.root.join("catalog"))).bad_input()
    }
}

/// Only the owner enters a directory of keys.
fn restrict(directory: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot protect {}", directory.display()))
        .environment()
}
