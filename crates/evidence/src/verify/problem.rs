//! What verification found, each with the place.

use serde::Serialize;

/// One thing that is not as the log's key signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
pub enum Problem {
    /// The checkpoint is not a note that the log's key signed.
    CheckpointAltered {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The checkpoint is signed, but entries and tiles agree on another root.
    RootMismatch {
        /// The file of the checkpoint.
        file: String,
    },
    /// The public key beside the log is not the one that was given.
    PublicKeyDiffers {
        /// The file.
        file: String,
    },
    /// An entry is not what was signed.
    EntryAltered {
        /// Place in the log, counted from 0.
        index: u64,
        /// The bundle that holds it.
        file: String,
        /// The id in the altered entry, when it can still be read.
        record_id: Option<String>,
    },
    /// A tile does not have the hashes that were signed.
    TileAltered {
        /// The file.
        file: String,
    },
    /// Entries and their tile agree with each other, but not with the signed tree above.
    RangeRewritten {
        /// The tile.
        file: String,
        /// First entry below it.
        first: u64,
        /// Last entry below it.
        last: u64,
    },
    /// A file that the checkpoint covers is missing.
    FileMissing {
        /// The file.
        file: String,
    },
    /// A file cannot be split into entries or hashes.
    FileMalformed {
        /// The file.
        file: String,
    },
    /// A file that the checkpoint does not cover.
    FileUnexpected {
        /// The file.
        file: String,
        /// It is a tile beyond the checkpoint, or one not yet in place: left by an append that
        /// was cut short, or made by one that is going on.
        unfinished_append: bool,
    },
    /// The kept checkpoint is not one that the log's key signed.
    KeptCheckpointUnusable {
        /// What is wrong.
        reason: String,
    },
    /// The log is shorter than when the kept checkpoint was signed.
    Shortened {
        /// Entries then.
        kept_size: u64,
        /// Entries now.
        size: u64,
    },
    /// The log does not begin with what the kept checkpoint covered: history was rewritten,
    /// with the real key if the present checkpoint is in order.
    Rewritten {
        /// Entries that the kept checkpoint covered; at least one of them was altered.
        kept_size: u64,
        /// Root hash then, base64.
        kept_root: String,
        /// Root hash of as many entries now, base64.
        root: String,
    },
    /// A file beside the log does not have the digest in the record that names it.
    ArtefactAltered {
        /// The artefact.
        name: String,
        /// The last entry that names it.
        index: u64,
    },
}

// === impl Problem ===

impl Problem {
    /// The statement in Chinese; [`Display`](std::fmt::Display) gives it in English.
    pub fn zh(&self) -> String {
        match self {
            Problem::CheckpointAltered { file, reason } => {
                format!("检查点文件 {file} 不是账本密钥签署的原文：{reason}")
            }
            Problem::RootMismatch { file } => {
                format!("检查点 {file} 的签名有效，但所有条目与哈希块一致地给出另一个根哈希")
            }
            Problem::PublicKeyDiffers { file } => format!("{file} 与给定的公钥不同"),
            Problem::EntryAltered {
                index,
                file,
                record_id,
            } => {
                let id = record_id
                    .as_ref()
                    .map(|id| format!("，记录 {id}"))
                    .unwrap_or_default();
                format!("条目 {index}（{file}{id}）被篡改")
            }
            Problem::TileAltered { file } => format!("哈希块 {file} 被篡改"),
            Problem::RangeRewritten { file, first, last } => {
                format!("条目 {first} 至 {last} 与 {file} 一起被改写，与上层签名的哈希树不符")
            }
            Problem::FileMissing { file } => format!("缺少文件 {file}"),
            Problem::FileMalformed { file } => format!("文件 {file} 无法解析（长度不对）"),
            Problem::FileUnexpected {
                file,
                unfinished_append: true,
            } => {
                format!("文件 {file} 超出检查点：追加被中断或正在进行")
            }
            Problem::FileUnexpected {
                file,
                unfinished_append: false,
            } => {
                format!("文件 {file} 不属于账本")
            }
            Problem::KeptCheckpointUnusable { reason } => {
                format!("留存的检查点不是该账本密钥签署的：{reason}")
            }
            Problem::Shortened { kept_size, size } => {
                format!("账本被截短：留存检查点时有 {kept_size} 条，现在只有 {size} 条")
            }
            Problem::Rewritten {
                kept_size,
                kept_root,
                root,
            } => format!("历史被改写：前 {kept_size} 条的根哈希当时是 {kept_root}，现在是 {root}"),
            Problem::ArtefactAltered { name, index } => {
                format!("附件 {name} 的内容与条目 {index} 记录的摘要不符")
            }
        }
    }

    /// Whether an append that goes on while the log is verified can look like this.
    pub fn may_be_a_running_append(&self) -> bool {
        matches!(self, Problem::FileMissing { .. })
            || matches!(
                self,
                Problem::FileUnexpected {
                    unfinished_append: true,
                    ..
                }
            )
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::CheckpointAltered { file, reason } => {
                write!(formatter, "{file} altered: {reason}")
            }
            Problem::RootMismatch { file } => write!(
                formatter,
                "{file} is signed, but entries and tiles agree on another root hash"
            ),
            Problem::PublicKeyDiffers { file } => {
                write!(formatter, "{file} is not the public key that was given")
            }
            Problem::EntryAltered {
                index,
                file,
                record_id,
            } => {
                write!(formatter, "entry {index} altered ({file}")?;
                if let Some(id) = record_id {
                    write!(formatter, ", record {id}")?;
                }
                formatter.write_str(")")
            }
            Problem::TileAltered { file } => write!(formatter, "tile {file} altered"),
            Problem::RangeRewritten { file, first, last } => write!(
                formatter,
                "entries {first} to {last} rewritten together with {file}: they do not fit the signed tree"
            ),
            Problem::FileMissing { file } => write!(formatter, "{file} missing"),
            Problem::FileMalformed { file } => {
                write!(formatter, "{file} malformed: its lengths do not fit")
            }
            Problem::FileUnexpected {
                file,
                unfinished_append: true,
            } => write!(
                formatter,
                "{file} is beyond the checkpoint: an append was cut short, or is going on"
            ),
            Problem::FileUnexpected {
                file,
                unfinished_append: false,
            } => {
                write!(formatter, "{file} does not belong to the ledger")
            }
            Problem::KeptCheckpointUnusable { reason } => {
                write!(
                    formatter,
                    "the kept checkpoint is not one of this ledger: {reason}"
                )
            }
            Problem::Shortened { kept_size, size } => write!(
                formatter,
                "the ledger was shortened: {kept_size} entries when the kept checkpoint was signed, {size} now"
            ),
            Problem::Rewritten {
                kept_size,
                kept_root,
                root,
            } => write!(
                formatter,
                "history was rewritten: the first {kept_size} entries had the root {kept_root} when the kept checkpoint was signed, and have {root} now"
            ),
            Problem::ArtefactAltered { name, index } => {
                write!(
                    formatter,
                    "artefact {name} does not have the digest in entry {index}"
                )
            }
        }
    }
}
