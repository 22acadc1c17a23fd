//! Controls, gates and policies: those embedded in the binary, and what an institution's own
//! `catalog/` folder replaces or adds.

use crate::bundle::{Bundle, BundleError};
use crate::control::Control;
use crate::embedded::EMBEDDED;
use crate::gate::Gate;
use crate::policy::{POLICY_BYTES_MAX, POLICY_TIME_MAX};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most files that are read from a `catalog/` folder.
pub const FILES_MAX: usize = 2_000;

/// One thing wrong with a catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}; {remedy}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct CatalogFault {
    /// Path of the file.
    pub file: String,
    /// 1-based line, where known.
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Why a catalog was refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Everything wrong with its files, at once.
    #[error("the catalog has {} faults:\n{}", faults.len(), faults.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n"))]
    Faults {
        /// In order of file.
        faults: Vec<CatalogFault>,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}; check that it exists and may be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// No such gate.
    #[error("there is no gate `{id}`; the catalog has {}", known.join(", "))]
    NoGate {
        /// The id asked for.
        id: String,
        /// The ids that exist.
        known: Vec<String>,
    },
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Controls, gates and policy texts by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    controls: BTreeMap<String, Control>,
    gates: BTreeMap<String, Gate>,
    policies: BTreeMap<String, String>,
}

impl Catalog {
    /// The embedded catalog, with the files of `folder` (a workspace's `catalog/`) on top of it
    /// if that folder exists: the same path replaces, another path adds.
    ///
    /// # Errors
    /// [`CatalogError::Faults`] with everything wrong at once; [`CatalogError::Read`].
    pub fn load(folder: Option<&Path>) -> Result<Self, CatalogError> {
        let mut files: BTreeMap<String, (String, String)> = EMBEDDED
            .iter()
            .map(|(path, text)| {
                (
                    (*path).to_owned(),
                    (format!("catalog/{path}"), (*text).to_owned()),
                )
            })
            .collect();
        if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
            read_folder(folder, &mut files)?;
        }
        let named = files
            .iter()
            .map(|(path, (shown, text))| (&**path, &**shown, &**text));
        Self::from_files(named)
    }

    /// From `(path in the catalog, path to show, text)`; paths start with `controls/`, `gates/`
    /// or `policies/`.
    ///
    /// # Errors
    /// [`CatalogError::Faults`] with everything wrong at once.
    pub fn from_files<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
    ) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        let mut faults = Vec::new();
        let mut gates = Vec::new();
        for (path, shown, text) in files {
            if let Some(name) = path.strip_prefix("policies/") {
                catalog.policies.insert(name.to_owned(), text.to_owned());
            } else if path.starts_with("controls/") {
                let Some(control) = parse::<Control>(shown, text, &mut faults) else {
                    continue;
                };
                check_name(path, shown, "controls/", &control.id, &mut faults);
                catalog.controls.insert(control.id.clone(), control);
            } else if path.starts_with("gates/") {
                let Some(gate) = parse::<Gate>(shown, text, &mut faults) else {
                    continue;
                };
                check_name(path, shown, "gates/", &gate.id, &mut faults);
                gates.push((shown, text, gate));
            }
        }
        for (shown, text, gate) in gates {
            for (index, id) in gate.controls.iter().enumerate() {
                let twice = gate.controls.iter().take(index).any(|other| other == id);
                if twice || !catalog.controls.contains_key(id) {
                    faults.push(CatalogFault {
                        file: shown.to_owned(),
                        line: line_of(text, id),
                        message: match twice {
                            true => format!("control `{id}` stands twice"),
                            false => format!("there is no control `{id}`"),
                        },
                        remedy: match twice {
                            true => "name it once".to_owned(),
                            false => format!("add catalog/controls/{id}.yaml or take it out"),
                        },
                    });
                }
            }
            catalog.gates.insert(gate.id.clone(), gate);
        }
        if faults.is_empty() {
            Ok(catalog)
        } else {
            Err(CatalogError::Faults { faults })
        }
    }

    /// All gates, by id.
    pub fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.values()
    }

    /// All controls, by id.
    pub fn controls(&self) -> impl Iterator<Item = &Control> {
        self.controls.values()
    }

    /// Text of a policy file.
    pub fn policy(&self, file: &str) -> Option<&str> {
        self.policies.get(file).map(String::as_str)
    }

    /// The gate `id` with its controls and compiled policies.
    ///
    /// # Errors
    /// [`CatalogError::NoGate`] names the gates that exist.
    pub fn bundle(&self, id: &str) -> Result<Bundle, CatalogError> {
        self.bundle_within(id, POLICY_TIME_MAX)
    }

    /// As [`Catalog::bundle`], with another limit on the evaluation of one policy.
    ///
    /// # Errors
    /// As [`Catalog::bundle`].
    pub fn bundle_within(&self, id: &str, time_max: Duration) -> Result<Bundle, CatalogError> {
        let gate = self.gates.get(id).ok_or_else(|| CatalogError::NoGate {
            id: id.to_owned(),
            known: self.gates.keys().cloned().collect(),
        })?;
        let controls: Vec<Control> = gate
            .controls
            .iter()
            .filter_map(|id| self.controls.get(id).cloned())
            .collect();
        let files = controls
            .iter()
            .map(|control| control.policy.as_str())
            .chain(["lib.rego"]);
        let policies = files
            .filter_map(|file| Some((file.to_owned(), self.policies.get(file)?.clone())))
            .collect();
        Ok(Bundle::new(gate.clone(), controls, policies, time_max)?)
    }
}

fn parse<T: DeserializeOwned>(file: &str, text: &str, faults: &mut Vec<CatalogFault>) -> Option<T> {
    match serde_saphyr::from_str::<T>(text) {
        Ok(value) => Some(value),
        Err(error) => {
            let message = error.without_snippet().to_string();
            faults.push(CatalogFault {
                file: file.to_owned(),
                line: error.location().map(|location| location.line()),
                message: message.split_whitespace().collect::<Vec<_>>().join(" "),
                remedy: "compare with the embedded file of the same kind (`yundu gate show`)"
                    .into(),
            });
            None
        }
    }
}

fn check_name(path: &str, shown: &str, folder: &str, id: &str, faults: &mut Vec<CatalogFault>) {
    let expected = format!("{folder}{id}.yaml");
    if path != expected {
        faults.push(CatalogFault {
            file: shown.to_owned(),
            line: Some(1),
            message: format!("its id is `{id}`"),
            remedy: format!("name the file {expected}"),
        });
    }
}

/// The line of a list item `id`, for the eye of who corrects it.
fn line_of(text: &str, id: &str) -> Option<u64> {
    let at = text
        .lines()
        .position(|line| line.trim().trim_start_matches("- ").trim() == id)?;
    u64::try_from(at + 1).ok()
}

/// Reads `*.yaml` of `controls/` and `gates/` and `*.rego` of `policies/`.
fn read_folder(
    folder: &Path,
    files: &mut BTreeMap<String, (String, String)>,
) -> Result<(), CatalogError> {
    let mut count = 0;
    for (kind, ending) in [
        ("controls", "yaml"),
        ("gates", "yaml"),
        ("policies", "rego"),
    ] {
        let inner = folder.join(kind);
        if !inner.is_dir() {
            continue;
        }
        let read = |path: &Path, source| CatalogError::Read {
            path: path.to_owned(),
            source,
        };
        for entry in std::fs::read_dir(&inner).map_err(|e| read(&inner, e))? {
            let path = entry.map_err(|e| read(&inner, e))?.path();
            if path.extension().is_none_or(|found| found != ending) {
                continue;
            }
            count += 1;
            let size_bytes = std::fs::metadata(&path).map_err(|e| read(&path, e))?.len();
            if count > FILES_MAX || size_bytes > POLICY_BYTES_MAX as u64 {
                let message = match count > FILES_MAX {
                    true => format!("the folder holds more than {FILES_MAX} files"),
                    false => {
                        format!("it has {size_bytes} bytes, at most {POLICY_BYTES_MAX} are read")
                    }
                };
                let remedy = "keep the institution's catalog small".to_owned();
                let file = path.display().to_string();
                let fault = CatalogFault {
                    file,
                    line: None,
                    message,
                    remedy,
                };
                return Err(CatalogError::Faults {
                    faults: vec![fault],
                });
            }
            let text = std::fs::read_to_string(&path).map_err(|e| read(&path, e))?;
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            files.insert(format!("{kind}/{name}"), (path.display().to_string(), text));
        }
    }
    Ok(())
}
