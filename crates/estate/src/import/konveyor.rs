//! Konveyor's application-import CSV: record type 1 is an application, 2 a dependency.
//!
//! | column | becomes |
//! |---|---|
//! | Application Name | the application; its identifier is the name in lower case with hyphens; `listed_as` |
//! | Description, Comments, Contributors | `description`, `comments` |
//! | Business Service | `business_service` |
//! | Owner | `owner`, without the e-mail address |
//! | Repository URL (Branch, Path) | `repository` |
//! | Binary Group, Artifact, Version, Packaging | the tag `Binary: group:artifact:version:packaging` |
//! | Tag Category N, Tag N | the tag `category: value`; the categories below become attributes too |
//! | Dependency, Dependency Direction | southbound: the application needs the other; northbound: the other needs it |
//!
//! Categories that become attributes: `Tier` or `重要性`, `Data Grade` or `数据分级`, `Peak TPS` or
//! `峰值TPS`, `RTO seconds`, `RPO seconds`, `Site` or `站点`, `Team` or `团队`.

use crate::document::Kind;
use crate::error::{Collector, nothing, quoted, verbatim};
use crate::import::Found;
use crate::import::csv::{self, Record};
use crate::names::identifier;
use crate::text::Text;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Columns of the format besides the tag columns.
const COLUMNS: [&str; 17] = [
    "record type",
    "application name",
    "description",
    "comments",
    "business service",
    "dependency",
    "dependency direction",
    "binary group",
    "binary artifact",
    "binary version",
    "binary packaging",
    "repository type",
    "repository url",
    "repository branch",
    "repository path",
    "owner",
    "contributors",
];

/// Columns without which nothing can be read.
const REQUIRED: [&str; 2] = ["record type", "application name"];

/// One row with its columns by name.
struct Row<'a> {
    header: &'a Record,
    record: &'a Record,
    columns: &'a BTreeMap<String, usize>,
}

/// Reads the whole file.
pub(crate) fn read(text: &str, found: &mut Found, errors: &mut Collector) {
    let records = csv::records(text, errors);
    let Some((header, rows)) = records.split_first() else {
        let expected = Text::new(
            "表头 `Record Type,Application Name,…`",
            "the header `Record Type,Application Name,…`",
        );
        errors.push(0, 0, expected, Text::new("空文件", "an empty file"));
        return;
    };
    let Some(columns) = read_header(header, found, errors) else {
        return;
    };
    for record in rows {
        let row = Row {
            header,
            record,
            columns: &columns,
        };
        if let Some(extra) = record
            .fields
            .get(header.fields.len()..)
            .and_then(|rest| rest.iter().find(|it| !it.text.is_empty()))
        {
            let expected = Text::new(
                format!(
                    "最多 {} 列（与表头相同；含逗号的内容请加引号）",
                    header.fields.len()
                ),
                format!(
                    "at most {} columns, as in the header (put text with commas in quotes)",
                    header.fields.len()
                ),
            );
            let extra_count = record.fields.len() - header.fields.len();
            let shown = quoted(&extra.text);
            errors.push(
                extra.line,
                0,
                expected,
                Text::new(
                    format!("多出 {extra_count} 列：{shown}"),
                    format!("{extra_count} more: {shown}"),
                ),
            );
            continue;
        }
        match row.text("record type") {
            "1" => read_application(&row, found, errors),
            "2" => read_dependency(&row, found, errors),
            other => row.wrong(
                "record type",
                Text::new("1（应用）或 2（依赖）", "1 (application) or 2 (dependency)"),
                other,
                errors,
            ),
        }
    }
}

fn read_header(
    header: &Record,
    found: &mut Found,
    errors: &mut Collector,
) -> Option<BTreeMap<String, usize>> {
    let mut columns = BTreeMap::new();
    for (index, field) in header.fields.iter().enumerate() {
        let name = field.text.trim().to_lowercase();
        let is_tag = name.starts_with("tag ");
        if !name.is_empty() && !is_tag && !COLUMNS.contains(&name.as_str()) {
            let shown = quoted(&field.text);
            found.note(
                field.line,
                Text::new(
                    format!("未使用的列 {shown}"),
                    format!("the column {shown} is not used"),
                ),
            );
        }
        columns.entry(name).or_insert(index);
    }
    let mut is_complete = true;
    for required in REQUIRED {
        if !columns.contains_key(required) {
            is_complete = false;
            let expected = Text::new(
                format!("表头中的列 `{required}`"),
                format!("the column `{required}` in the header"),
            );
            errors.push(
                header.line,
                0,
                expected,
                Text::new(
                    format!("其他 {} 列", header.fields.len()),
                    format!("{} other column(s)", header.fields.len()),
                ),
            );
        }
    }
    is_complete.then_some(columns)
}

fn read_application(row: &Row<'_>, found: &mut Found, errors: &mut Collector) {
    let name = row.text("application name");
    let id = identifier(name);
    if id.is_empty() {
        row.wrong(
            "application name",
            Text::new("应用系统名称", "the name of an application"),
            name,
            errors,
        );
        return;
    }
    let line = row.record.line;
    found.exists(Kind::Application, &id, line);
    let mut say = |attribute: &str, value: Json, column: &str| {
        found.say(Kind::Application, &id, attribute, value, row.line(column))
    };
    // How this source calls it, not a translation: it does not compete with the name in our YAML.
    say("listed_as", json!(name), "application name");
    let filled = |column: &str| Some(row.text(column)).filter(|text| !text.is_empty());
    if let Some(text) = filled("description") {
        say("description", json!(Text::new(text, text)), "description");
    }
    if let Some(text) = filled("comments") {
        say("comments", json!(text), "comments");
    }
    if let Some(text) = filled("contributors") {
        say(
            "comments",
            json!(format!("Contributors: {text}")),
            "contributors",
        );
    }
    if let Some(text) = filled("business service") {
        say("business_service", json!(text), "business service");
    }
    if let Some(owner) = filled("owner").map(without_mail) {
        say("owner", json!(owner), "owner");
    }
    if let Some(address) = filled("repository url") {
        let branch = filled("repository branch")
            .map(|it| format!("#{it}"))
            .unwrap_or_default();
        let path = filled("repository path")
            .map(|it| format!(":{it}"))
            .unwrap_or_default();
        say(
            "repository",
            json!(format!("{address}{branch}{path}")),
            "repository url",
        );
    }
    let binary = [
        "binary group",
        "binary artifact",
        "binary version",
        "binary packaging",
    ]
    .map(|column| row.text(column));
    if binary.iter().any(|part| !part.is_empty()) {
        say(
            "tags",
            json!(format!("Binary: {}", binary.join(":"))),
            "binary artifact",
        );
    }
    for (column, _) in row
        .columns
        .iter()
        .filter(|(name, _)| name.starts_with("tag category "))
    {
        let value_column = column.replacen("tag category ", "tag ", 1);
        let (category, value) = (row.text(column), row.text(&value_column));
        if category.is_empty() && value.is_empty() {
            continue;
        }
        if category.is_empty() {
            row.wrong(
                column,
                Text::new("标签类别", "the category of the tag"),
                category,
                errors,
            );
            continue;
        }
        say("tags", json!(format!("{category}: {value}")), &value_column);
        match attribute_of(category, value) {
            Some(Ok((attribute, value))) => say(attribute, value, &value_column),
            Some(Err(expected)) => row.wrong(&value_column, expected, value, errors),
            None => {}
        }
    }
}

fn without_mail(owner: &str) -> &str {
    owner
        .split('<')
        .next()
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .unwrap_or(owner)
}

/// The attribute that a tag states, where its category is one that we know.
fn attribute_of(category: &str, value: &str) -> Option<Result<(&'static str, Json), Text>> {
    let whole = |attribute: &'static str, most: u64| {
        let number = value
            .replace([' ', '_'], "")
            .parse::<u64>()
            .ok()
            .filter(|number| *number <= most);
        number
            .map(|number| (attribute, json!(number)))
            .ok_or_else(|| {
                Text::new(
                    format!("0 到 {most} 的整数"),
                    format!("a whole number from 0 to {most}"),
                )
            })
    };
    const LARGEST: u64 = 1_000_000_000_000;
    Some(match category.to_lowercase().as_str() {
        "tier" | "重要性" => tier(value),
        "data grade" | "数据分级" => match value.trim() {
            "1" | "2" | "3" | "4" | "5" => whole("data_grade", 5),
            _ => Err(Text::new("1 到 5 的整数", "a whole number from 1 to 5")),
        },
        "peak tps" | "峰值tps" => whole("peak_transactions_per_second", LARGEST),
        "rto seconds" => whole("rto_s", LARGEST),
        "rpo seconds" => whole("rpo_s", LARGEST),
        "site" | "站点" => Ok(("site", json!(value))),
        "team" | "团队" => Ok(("team", json!(value))),
        _ => return None,
    })
}

fn tier(value: &str) -> Result<(&'static str, Json), Text> {
    let name = match value.to_lowercase().as_str() {
        "core" | "核心" => "core",
        "important" | "重要" => "important",
        "general" | "一般" => "general",
        "office" | "办公" => "office",
        _ => {
            return Err(Text::new(
                "核心、重要、一般或办公",
                "core, important, general or office",
            ));
        }
    };
    Ok(("tier", json!(name)))
}

fn read_dependency(row: &Row<'_>, found: &mut Found, errors: &mut Collector) {
    let (application, other) = (
        identifier(row.text("application name")),
        identifier(row.text("dependency")),
    );
    let mut is_complete = true;
    for (column, id) in [("application name", &application), ("dependency", &other)] {
        if id.is_empty() {
            is_complete = false;
            row.wrong(
                column,
                Text::new("应用系统名称", "the name of an application"),
                row.text(column),
                errors,
            );
        }
    }
    let direction = row.text("dependency direction");
    let (from, to) = match direction.to_lowercase().as_str() {
        "southbound" => (application, other),
        "northbound" => (other, application),
        _ => {
            let expected = Text::new(
                "southbound（需要对方）或 northbound（被对方需要）",
                "southbound (needs the other) or northbound (is needed by the other)",
            );
            row.wrong("dependency direction", expected, direction, errors);
            return;
        }
    };
    if is_complete {
        let id = format!("{from} -> {to}");
        let line = row.record.line;
        found.exists(Kind::Dependency, &id, line);
        found.say(Kind::Dependency, &id, "from", from, line);
        found.say(Kind::Dependency, &id, "to", to, line);
        let comment = row.text("comments");
        if !comment.is_empty() {
            found.say(
                Kind::Dependency,
                &id,
                "reason",
                json!(Text::new(comment, comment)),
                line,
            );
        }
    }
}

// === impl Row ===

impl Row<'_> {
    fn text(&self, column: &str) -> &str {
        let index = self.columns.get(column);
        index
            .and_then(|index| self.record.fields.get(*index))
            .map_or("", |field| field.text.trim())
    }

    fn line(&self, column: &str) -> u32 {
        let index = self.columns.get(column);
        index
            .and_then(|index| self.record.fields.get(*index))
            .map_or(self.record.line, |field| field.line)
    }

    /// Says that the field in `column` is wrong; the place is the line and the column's number.
    fn wrong(&self, column: &str, expected: Text, found: &str, errors: &mut Collector) {
        let number = self
            .columns
            .get(column)
            .map_or(0, |index| u32::try_from(index + 1).unwrap_or(u32::MAX));
        // The header as it was written, which is what people see in their spreadsheet.
        let index = self.columns.get(column);
        let title = index
            .and_then(|index| self.header.fields.get(*index))
            .map_or(column, |it| it.text.as_str());
        let expected = Text::new(
            format!("“{title}”列填写{}", expected.zh),
            format!("{} in the column `{title}`", expected.en),
        );
        let found = if found.is_empty() {
            nothing()
        } else {
            verbatim(quoted(found))
        };
        errors.push(self.line(column), number, expected, found);
    }
}
