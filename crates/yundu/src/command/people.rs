//! `yundu people`: who decides, and with which key.

use crate::context::{Classify, Context, Failure, Outcome};
use crate::workspace::{Workspace, now_us};
use anyhow::{Context as _, anyhow};
use serde_json::json;
use std::path::{Path, PathBuf};
use yundu_estate::text::Text;
use yundu_evidence::Record;
use yundu_people::{Person, PersonKey, PublicKey, Role};
use yundu_store::PersonRow;

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  yundu people add li.wei --name-zh 李伟 --name-en 'Li Wei' --role security-officer --key-out ~/li.wei.key
  yundu people add zhang.min --role business-owner --public-key 7Nzv…=
  yundu people list

Roles: migration-architect, operations-engineer, security-officer, business-owner, auditor.
With --key-out a new key is written there, readable by you alone; the workspace keeps its public half.
With --public-key nothing secret ever comes here: the person made the key elsewhere.
With neither, the key is kept in the workspace under keys/people/: fit for a trial, not for four eyes.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Register a person
    Add(AddArgs),
    /// Show everybody
    List,
}

#[derive(clap::Args, Debug)]
struct AddArgs {
    /// Name in commands and records, such as li.wei
    id: String,
    /// Name in Chinese [default: the id]
    #[arg(long)]
    name_zh: Option<String>,
    /// Name in English [default: the id]
    #[arg(long)]
    name_en: Option<String>,
    /// What the person may stand for; may be given several times
    #[arg(long = "role", required = true)]
    roles: Vec<Role>,
    /// Their public key, base64
    #[arg(long, conflicts_with = "key_out")]
    public_key: Option<PublicKey>,
    /// Make a key and write its private half to this new file
    #[arg(long)]
    key_out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Outcome {
    let workspace = Workspace::open(context)?;
    match args.command {
        Command::Add(args) => add(context, &workspace, args),
        Command::List => list(context, &workspace),
    }
}

fn add(context: &Context, workspace: &Workspace, args: AddArgs) -> Outcome {
    let name = Text::new(
        args.name_zh.unwrap_or_else(|| args.id.clone()),
        args.name_en.unwrap_or_else(|| args.id.clone()),
    );
    let (public_key, made) = match args.public_key {
        Some(public_key) => (public_key, None),
        None => {
            let key = PersonKey::generate().environment()?;
            let path = args
                .key_out
                .unwrap_or_else(|| workspace.person_key_file(&args.id));
            (key.public_key(), Some((key, path)))
        }
    };
    let person = Person::try_new(&args.id, name, args.roles, public_key).bad_input()?;
    if workspace
        .people()?
        .iter()
        .any(|known| known.id == person.id)
    {
        return Err(taken(&person.id));
    }
    if let Some((key, path)) = &made {
        key.save(path).environment()?;
    }
    if let Err(failure) = register(workspace, &person) {
        if let Some((_, path)) = &made {
            std::fs::remove_file(path)
                .with_context(|| format!("left behind: {}", path.display()))
                .environment()?;
        }
        return Err(failure);
    }
    let key_file = made.as_ref().map(|(_, path)| path.as_path());
    let value = json!({ "person": person, "key_file": key_file });
    context.print(&value, || added(context, &person, key_file))
}

/// Writes the person and the evidence of it together.
pub fn register(workspace: &Workspace, person: &Person) -> Outcome {
    let at_us = now_us();
    let document = serde_json::to_value(person).environment()?;
    let row = PersonRow {
        id: person.id.clone(),
        document: document.clone(),
        at_us,
    };
    let record = Record {
        id: format!("person.added-{}", person.id),
        kind: "person.added".into(),
        subject: format!("person/{}", person.id),
        actor: "yundu people add".into(),
        at_us,
        body: document,
        artefacts: vec![],
    };
    let added = workspace
        .block_on(async {
            let mut change = workspace.store().begin().await?;
            let added = change.add_person(&row).await?;
            if added {
                change.record(&record).await?;
                change.commit().await?;
            }
            Ok::<bool, yundu_store::StoreError>(added)
        })
        .environment()?;
    if added {
        workspace.settle()
    } else {
        Err(taken(&person.id))
    }
}

fn taken(id: &str) -> Failure {
    Failure::BadInput(anyhow!("{id} is registered already: nothing was changed"))
}

fn added(context: &Context, person: &Person, key_file: Option<&Path>) -> String {
    let name = person.name.get(context.lang);
    let line = match key_file {
        Some(path) => format!(
            "{}{}",
            context.tr("私钥：", "private key: "),
            path.display()
        ),
        None => format!(
            "{}{}",
            context.tr("公钥：", "public key: "),
            person.public_key
        ),
    };
    format!(
        "{} {} ({name})\n{line}",
        context.tr("已登记", "Registered"),
        person.id
    )
}

fn list(context: &Context, workspace: &Workspace) -> Outcome {
    let people = workspace.people()?;
    context.print(&people, || {
        let line = |person: &Person| {
            let roles: Vec<String> = person
                .roles
                .iter()
                .map(|role| role.text().get(context.lang).to_owned())
                .collect();
            format!(
                "{:<20} {}  [{}]",
                person.id,
                person.name.get(context.lang),
                roles.join(", ")
            )
        };
        if people.is_empty() {
            return context
                .tr("还没有登记任何人", "nobody is registered")
                .to_owned();
        }
        people.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}
