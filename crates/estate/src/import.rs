//! From the bytes of one file to a [`SourceDocument`], or to every error in it.

mod address;
mod csv;
pub mod estate_file;
mod konveyor;
mod kubernetes;
mod quantity;
mod yaml;

use crate::canonical::sha256_hex;
use crate::document::{Assertion, Format, Kind, Note, SourceDocument};
use crate::error::{Collector, ImportErrors};
use crate::text::Text;
use crate::yaml::tree;
use serde_json::Value as Json;

/// Largest file that is read, in bytes.
pub const FILE_SIZE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What an importer is given.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Name of the source; `None` takes the format's name.
    pub source: Option<&'a str>,
    /// Path of the file, for messages and provenance.
    pub path: &'a str,
    /// `None` recognises the format by the file's name and beginning.
    pub format: Option<Format>,
    /// The file was found in a directory and not named: when it is plainly something else, that is
    /// a note and no error.
    pub is_from_directory: bool,
    /// The file.
    pub bytes: &'a [u8],
    /// The time of the import, in microseconds since the Unix epoch.
    pub at_us: i64,
}

/// What an importer has found so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub assertions: Vec<Assertion>,
    pub notes: Vec<Note>,
}

/// Reads one file.
///
/// # Errors
/// Every place that is not as it should be, with file, line, column, what was expected and what
/// was found. Then nothing of the file is used.
pub fn import(input: Input<'_>) -> Result<SourceDocument, ImportErrors> {
    let mut errors = Collector::new(input.path);
    let mut found = Found::default();
    let format = read(input, &mut found, &mut errors);
    match format {
        Some(format) if errors.is_empty() => Ok(SourceDocument {
            source: input.source.unwrap_or(format.name()).to_owned(),
            path: input.path.to_owned(),
            format,
            sha256: sha256_hex(input.bytes),
            size_bytes: input.bytes.len() as u64,
            at_us: input.at_us,
            assertions: found.assertions,
            notes: found.notes,
        }),
        _ => Err(errors.into_errors()),
    }
}

fn read(input: Input<'_>, found: &mut Found, errors: &mut Collector) -> Option<Format> {
    if input.bytes.len() > FILE_SIZE_BYTES_MAX {
        let limit = FILE_SIZE_BYTES_MAX;
        let expected = Text::new(
            format!("不超过 {limit} 字节的文件"),
            format!("a file of at most {limit} bytes"),
        );
        errors.push(
            0,
            0,
            expected,
            Text::new(
                format!("{} 字节", input.bytes.len()),
                format!("{} bytes", input.bytes.len()),
            ),
        );
        return None;
    }
    let text = match std::str::from_utf8(input.bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let before = input.bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let expected = Text::new(
                "UTF-8 文本（表格软件请另存为“CSV UTF-8”）",
                "UTF-8 text (in a spreadsheet, save as \"CSV UTF-8\")",
            );
            errors.push(
                u32::try_from(line).unwrap_or(u32::MAX),
                0,
                expected,
                Text::new("其他字节", "other bytes"),
            );
            return None;
        }
    };
    let is_csv = input.path.to_lowercase().ends_with(".csv");
    let format = match input.format {
        Some(format) => format,
        None if is_csv => Format::Konveyor,
        None => Format::Yaml,
    };
    if format == Format::Konveyor {
        konveyor::read(text, found, errors);
        return Some(Format::Konveyor);
    }
    let documents = tree::parse(text, errors);
    let is_known = |it: &tree::Node| it.get("apiVersion").is_some() || it.get("kind").is_some();
    let is_other = input.is_from_directory && input.format.is_none();
    if is_other && errors.is_empty() && !documents.iter().any(is_known) {
        let text = Text::new(
            "未导入：既不是 `kind: estate`，也不是 Kubernetes 清单",
            "not imported: neither `kind: estate` nor a Kubernetes manifest",
        );
        found.note(0, text);
        return Some(Format::Yaml);
    }
    let format = input.format.unwrap_or_else(|| {
        let ours = documents
            .iter()
            .any(|it| it.get("kind").and_then(tree::Node::text) == Some("estate"));
        let theirs = documents.iter().any(|it| it.get("apiVersion").is_some());
        if theirs && !ours {
            Format::Kubernetes
        } else {
            Format::Yaml
        }
    });
    match format {
        Format::Kubernetes => kubernetes::read(&documents, found, errors),
        _ => yaml::read(&documents, input.format.is_none(), found, errors),
    }
    Some(format)
}

// === impl Found ===

impl Found {
    /// States that a thing exists.
    pub(crate) fn exists(&mut self, kind: Kind, id: &str, line: u32) {
        self.say(kind, id, "", Json::Null, line);
    }

    /// States that an attribute has a value.
    pub(crate) fn say(
        &mut self,
        kind: Kind,
        id: &str,
        attribute: &str,
        value: impl Into<Json>,
        line: u32,
    ) {
        self.assertions.push(Assertion {
            kind,
            id: id.to_owned(),
            attribute: attribute.to_owned(),
            value: value.into(),
            line,
        });
    }

    /// Leaves a note for a person.
    pub(crate) fn note(&mut self, line: u32, text: Text) {
        self.notes.push(Note { line, text });
    }
}
