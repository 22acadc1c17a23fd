//! Chapters 1 and 2: the institution's estate from three formats; ranking and waves.

use super::shell::Lines;
use super::{REQUESTER, Story, bank_dir};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};

/// The sample institution's files, inside the program so that it needs nothing beside itself.
const FILES: [(&str, &str); 6] = [
    (
        "estate.yaml",
        include_str!("../../../../../examples/harbour-bank/estate.yaml"),
    ),
    (
        "inventory.csv",
        include_str!("../../../../../examples/harbour-bank/inventory.csv"),
    ),
    (
        "k8s/api-gateway.yaml",
        include_str!("../../../../../examples/harbour-bank/k8s/api-gateway.yaml"),
    ),
    (
        "k8s/fraud-detection.yaml",
        include_str!("../../../../../examples/harbour-bank/k8s/fraud-detection.yaml"),
    ),
    (
        "k8s/meeting-rooms.yaml",
        include_str!("../../../../../examples/harbour-bank/k8s/meeting-rooms.yaml"),
    ),
    (
        "runbook-core-ledger.yaml",
        include_str!("../../../../../examples/harbour-bank/runbook-core-ledger.yaml"),
    ),
];

/// People of the move: id, Chinese name, English name, role.
const PEOPLE: [(&str, &str, &str, &str); 4] = [
    (REQUESTER, "陈静", "Chen Jing", "migration-architect"),
    ("wang.fang", "王芳", "Wang Fang", "operations-engineer"),
    ("li.wei", "李伟", "Li Wei", "security-officer"),
    ("zhang.min", "张敏", "Zhang Min", "business-owner"),
];

/// A demonstration bank's manifests as their authors wrote them, where a checkout has them.
fn foreign_manifests() -> Option<PathBuf> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/k8s/bank-of-anthos");
    path.is_dir().then_some(path)
}

/// The key file of a person: their own, outside the workspace.
pub(super) fn key_file(story: &Story, person: &str) -> String {
    story
        .stage
        .dir
        .join("keys")
        .join(format!("{person}.key"))
        .to_string_lossy()
        .into_owned()
}

/// Chapter 1.
pub(super) fn estate(story: &mut Story) -> Result<()> {
    let bank = bank_dir(&story.stage);
    for (name, content) in FILES {
        let path = bank.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, content)?;
    }
    std::fs::create_dir_all(story.stage.dir.join("keys"))?;
    let workspace = story.shell.workspace().to_string_lossy().into_owned();
    let (shell, teller) = (&story.shell, &mut story.teller);
    shell.done(
        teller,
        &[
            "init",
            &workspace,
            "--origin",
            "harbour-bank.example/ledger",
        ],
        Lines::First(4),
    )?;
    teller.say(
        "四个人，各有自己的密钥；密钥不在工作区里。",
        "Four people, each with a key of their own, kept outside the workspace.",
    );
    for (id, zh, en, role) in PEOPLE {
        let key = story.stage.dir.join("keys").join(format!("{id}.key"));
        let key = key.to_string_lossy();
        let words = [
            "people",
            "add",
            id,
            "--name-zh",
            zh,
            "--name-en",
            en,
            "--role",
            role,
            "--key-out",
            &key,
        ];
        shell.done(teller, &words, Lines::None)?;
    }
    teller.say(
        "三种格式的资料：自有 YAML、Kubernetes 清单、Konveyor 清册。每个事实都记着来源。",
        "Three formats: our YAML, Kubernetes manifests, a Konveyor inventory. Every fact keeps its source.",
    );
    let path = |name: &str| format!("harbour-bank/{name}");
    let sources = [
        ("estate.yaml", "cmdb"),
        ("k8s", "kubernetes"),
        ("inventory.csv", "konveyor"),
    ];
    for (name, source) in sources {
        shell.done(
            teller,
            &["estate", "import", &path(name), "--source", source],
            Lines::First(6),
        )?;
    }
    if let Some(foreign) = foreign_manifests() {
        teller.say(
            "别人写的清单也原样导入：",
            "Manifests that others wrote are imported as they are:",
        );
        let foreign = foreign.canonicalize()?.to_string_lossy().into_owned();
        shell.done(
            teller,
            &["estate", "import", &foreign, "--source", "bank-of-anthos"],
            Lines::First(4),
        )?;
    }
    teller.say(
        "再导入一次，什么都不变：",
        "Importing again changes nothing:",
    );
    shell.done(
        teller,
        &["estate", "import", &path("estate.yaml"), "--source", "cmdb"],
        Lines::First(4),
    )?;
    teller.say(
        "来源之间的矛盾并列显示，不覆盖：",
        "Contradictions between sources are shown side by side, never overwritten:",
    );
    shell.done(teller, &["estate", "show"], Lines::Last(8))?;
    Ok(())
}

/// Chapter 2.
pub(super) fn plan(story: &mut Story) -> Result<()> {
    let (shell, teller) = (&story.shell, &mut story.teller);
    shell.done(teller, &["assess"], Lines::First(12))?;
    shell.done(teller, &["plan", "--save"], Lines::First(12))?;
    let (code, plan) = shell.ask(&["plan"])?;
    let wave = plan
        .get("placements")
        .and_then(|list| list.as_array())
        .and_then(|list| {
            list.iter()
                .find(|p| p.get("application").and_then(|a| a.as_str()) == Some("core-ledger"))
        })
        .and_then(|placement| placement.get("wave"))
        .context("the core ledger has no place in the plan")?;
    if code != 0 {
        bail!("the plan cannot be made again");
    }
    let (zh, en) = (
        format!("核心账务在第 {wave} 批：非核心先行，再以一个核心系统试点。"),
        format!(
            "The core ledger is in wave {wave}: non-core first, then one core system as a pilot."
        ),
    );
    teller.good(&zh, &en);
    Ok(())
}
