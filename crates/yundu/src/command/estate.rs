//! `yundu estate`: import, show and graph what the institution runs.

pub mod documents;
mod show;

use crate::context::{Classify, Context, Failure, Outcome};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;
use yundu_estate::graph::Graph;
use yundu_estate::table::Table;
use yundu_estate::{Change, Estate, Format, Note, files, import};

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  yundu estate import examples/harbour-bank
  yundu estate import inventory.csv --source cmdb
  yundu estate show core-ledger
  yundu estate graph --format dot | dot -Tsvg > estate.svg
  yundu estate schema > estate.schema.json")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Import files, and every YAML, JSON and CSV file in directories; all or nothing
    Import(ImportArgs),
    /// Show all applications, or everything about one, with sources and contradictions
    Show {
        /// Identifier of an application
        application: Option<String>,
    },
    /// Write the dependencies between applications as a graph
    Graph {
        /// What to write
        #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
        format: GraphFormat,
    },
    /// Print the JSON Schema of estate files
    Schema,
}

/// Arguments of `yundu estate import`.
#[derive(clap::Args, Debug)]
pub struct ImportArgs {
    /// Files and directories
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Format of the files
    #[arg(long, value_enum, default_value_t = ImportFormat::Auto)]
    pub format: ImportFormat,
    /// Name of the source, such as `cmdb` [default: the format's name]
    #[arg(long)]
    pub source: Option<String>,
}

/// The formats that can be named.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ImportFormat {
    /// By the file's name and beginning
    Auto,
    /// Our own YAML, `kind: estate`
    Yaml,
    /// Kubernetes manifests
    Kubernetes,
    /// Konveyor's application-import CSV
    Konveyor,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GraphFormat {
    /// Mermaid's flowchart
    Mermaid,
    /// Graphviz
    Dot,
    /// Nodes and edges
    Json,
}

/// What an import did.
#[derive(Debug, Serialize)]
pub struct ImportReport {
    /// Each file.
    pub documents: Vec<ImportedDocument>,
    /// How many applications there are now.
    pub applications: usize,
    /// How many contradictions there are now.
    pub contradictions: usize,
    /// How many other problems there are now.
    pub problems: usize,
}

/// What an import did with one file.
#[derive(Debug, Serialize)]
pub struct ImportedDocument {
    /// The file.
    pub path: String,
    /// Name of the source.
    pub source: String,
    /// Its format.
    pub format: Format,
    /// Whether it was new.
    pub change: Change,
    /// How many statements it makes.
    pub assertions: usize,
    /// Its digest.
    pub sha256: String,
    /// What the importer noticed.
    pub notes: Vec<Note>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Outcome {
    match args.command {
        Command::Import(args) => {
            let report = import_paths(context, &args)?;
            context.print(&report, || import_text(context, &report))
        }
        Command::Show { application } => {
            let estate = documents::estate(context)?;
            show::run(context, &estate, application.as_deref())
        }
        Command::Graph { format } => {
            let graph = Graph::of(&documents::estate(context)?);
            match (context.json, format) {
                (false, GraphFormat::Mermaid) => print!("{}", graph.mermaid(context.lang)),
                (false, GraphFormat::Dot) => print!("{}", graph.dot(context.lang)),
                _ => {
                    let json = serde_json::to_string_pretty(&graph).environment()?;
                    println!("{json}");
                }
            }
            Ok(())
        }
        Command::Schema => {
            let json =
                serde_json::to_string_pretty(&import::estate_file::schema()).environment()?;
            println!("{json}");
            Ok(())
        }
    }
}

/// Imports all files or none, and keeps them.
pub fn import_paths(context: &Context, args: &ImportArgs) -> Result<ImportReport, Failure> {
    let format = match args.format {
        ImportFormat::Auto => None,
        ImportFormat::Yaml => Some(Format::Yaml),
        ImportFormat::Kubernetes => Some(Format::Kubernetes),
        ImportFormat::Konveyor => Some(Format::Konveyor),
    };
    let at_us = jiff::Timestamp::now().as_microsecond();
    let imported = files::import_paths(&args.paths, format, args.source.as_deref(), at_us)
        .map_err(|errors| Failure::BadInput(anyhow::anyhow!("{}", errors.render(context.lang))))?;
    let read: Vec<_> = imported.clone();
    let (documents, changes) = documents::keep(context, imported)?;
    let estate = Estate::from_documents(&documents);
    let each = read
        .into_iter()
        .zip(changes)
        .map(|(document, change)| ImportedDocument {
            path: document.path,
            source: document.source,
            format: document.format,
            change,
            assertions: document.assertions.len(),
            sha256: document.sha256,
            notes: document.notes,
        });
    Ok(ImportReport {
        documents: each.collect(),
        applications: estate.applications.len(),
        contradictions: estate.contradictions.len(),
        problems: estate.problems.len(),
    })
}

fn import_text(context: &Context, report: &ImportReport) -> String {
    let mut table = Table::new([
        context.tr("文件", "file"),
        context.tr("来源", "source"),
        context.tr("结果", "result"),
        context.tr("陈述数", "statements"),
    ])
    .right([3]);
    for document in &report.documents {
        let change = match document.change {
            Change::Added => context.tr("新增", "added"),
            Change::Replaced => context.tr("替换", "replaced"),
            Change::Unchanged => context.tr("无变化", "unchanged"),
        };
        table.row([
            document.path.clone(),
            document.source.clone(),
            change.to_owned(),
            document.assertions.to_string(),
        ]);
    }
    let mut lines = vec![table.render()];
    for document in &report.documents {
        for note in &document.notes {
            let label = context.tr("注意", "note");
            lines.push(format!(
                "{label}: {}:{}: {}",
                document.path,
                note.line,
                note.text.get(context.lang)
            ));
        }
    }
    lines.push(format!(
        "{}: {}  {}: {}  {}: {}",
        context.tr("应用系统", "applications"),
        report.applications,
        context.tr("矛盾", "contradictions"),
        report.contradictions,
        context.tr("待查", "problems"),
        report.problems
    ));
    lines.join("\n")
}
