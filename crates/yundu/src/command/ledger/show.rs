//! `yundu ledger show`.

use super::{open, read_failure};
use crate::context::{Context, Failure, Outcome};
use serde::Serialize;
use yundu_estate::text::Lang;
use yundu_evidence::{DirectoryStore, Reader, Record};

/// Records read at a time.
const CHUNK: u64 = 256;

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// First entry to show, counted from 0 (default: the newest entries)
    #[arg(long)]
    from: Option<u64>,
    /// Most records to show
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    limit: u64,
    /// Only records of this kind, such as gate.verdict; a trailing `*` stands for any ending
    #[arg(long)]
    kind: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    index: u64,
    record: Record,
}

#[derive(Serialize)]
struct Page {
    origin: String,
    size: u64,
    records: Vec<Shown>,
}

/// Runs the command.
pub(super) fn run(context: &Context, args: Args) -> Outcome {
    let reader = open(context)?;
    let records = select(&reader, &args)?;
    let origin = reader.checkpoint().origin.clone();
    let page = Page {
        origin,
        size: reader.size(),
        records,
    };
    context.print(&page, || {
        let mut lines: Vec<String> = page
            .records
            .iter()
            .map(|shown| line(context.lang, shown))
            .collect();
        let (count, size) = (page.records.len(), page.size);
        lines.push(match context.lang {
            Lang::Zh => format!("账本 {}：共 {size} 条，显示 {count} 条", page.origin),
            Lang::En => format!("ledger {}: {size} entries, {count} shown", page.origin),
        });
        lines.join("\n")
    })
}

fn select(reader: &Reader<DirectoryStore>, args: &Args) -> Result<Vec<Shown>, Failure> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut selected = Vec::new();
    match args.from {
        Some(from) => {
            let mut first = from;
            while first < reader.size() && selected.len() < limit {
                selected.extend(chunk(reader, first, args)?);
                first = first.saturating_add(CHUNK);
            }
            selected.truncate(limit);
        }
        None => {
            let mut end = reader.size();
            while end > 0 && selected.len() < limit {
                let first = end.saturating_sub(CHUNK);
                let found = chunk(reader, first, args)?;
                selected.extend(found.into_iter().rev().filter(|shown| shown.index < end));
                end = first;
            }
            selected.truncate(limit);
            selected.reverse();
        }
    }
    Ok(selected)
}

fn chunk(reader: &Reader<DirectoryStore>, first: u64, args: &Args) -> Result<Vec<Shown>, Failure> {
    let records = reader
        .records(first..first.saturating_add(CHUNK))
        .map_err(read_failure)?;
    let wanted = |record: &Record| match args.kind.as_deref() {
        None => true,
        Some(kind) => match kind.strip_suffix('*') {
            Some(beginning) => record.kind.starts_with(beginning),
            None => record.kind == kind,
        },
    };
    let numbered = (first..).zip(records).filter(|(_, record)| wanted(record));
    Ok(numbered
        .map(|(index, record)| Shown { index, record })
        .collect())
}

fn line(lang: Lang, shown: &Shown) -> String {
    let Record {
        id,
        kind,
        subject,
        actor,
        at_us,
        artefacts,
        ..
    } = &shown.record;
    let by = if lang == Lang::Zh { "执行者" } else { "by" };
    let mut line = format!(
        "{:>6}  {}  {kind}  {subject}  {by} {actor}  [{id}]",
        shown.index,
        time(*at_us)
    );
    for artefact in artefacts {
        line += &format!(
            "\n        {}  sha256 {}  {} B",
            artefact.name, artefact.sha256, artefact.size_bytes
        );
    }
    line
}

/// Microseconds since the epoch as RFC 3339, UTC.
pub(super) fn time(at_us: i64) -> String {
    jiff::Timestamp::from_microsecond(at_us)
        .map_or_else(|_| format!("{at_us} us"), |at| at.to_string())
}
