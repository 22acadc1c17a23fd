//! Keys of the log, in the text form of signed notes (<https://c2sp.org/signed-note>).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::SigningKey;
use signed_note::{StandardSigner, StandardVerifier, Verifier as _};
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// First byte of an Ed25519 key in a signed note.
const ALGORITHM_ED25519: u8 = 1;

/// The key that signs checkpoints. Its text is secret.
pub struct LogKey {
    signer_text: String,
    signer: StandardSigner,
    verifier_key: VerifierKey,
}

/// The public key with which anyone checks a log: `origin+id+base64`.
#[derive(Clone)]
pub struct VerifierKey {
    text: String,
    origin: String,
    verifier: StandardVerifier,
}

/// Why a key cannot be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The origin has spaces or `+`, or is empty.
    #[error(
        "`{origin}` cannot name a log: use a name such as `harbour-bank.example/ledger`, without spaces or `+`"
    )]
    Origin {
        /// The name given.
        origin: String,
    },
    /// The text is not a key that signs.
    #[error(
        "the log's signing key is not readable: {reason} (expected PRIVATE+KEY+name+id+base64)"
    )]
    Signer {
        /// What is wrong.
        reason: String,
    },
    /// The text is not a public key.
    #[error("`{text}` is not a log's public key: {reason} (expected name+id+base64)")]
    Verifier {
        /// The text given.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// A key file cannot be read or written.
    #[error("key file {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read the secret key.
    #[error(
        "key file {path} can be read by others (mode {mode:o}): run `chmod 600 {path}`, and replace the key if others had access",
        path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

// === impl LogKey ===

impl LogKey {
    /// Makes a new key for the log named `origin`, such as `harbour-bank.example/ledger`.
    ///
    /// # Errors
    ///
    /// A name with spaces or `+`, or no random bytes.
    pub fn generate(origin: &str) -> Result<Self, KeyError> {
        let mut seed = [0_u8; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Random)?;
        Self::from_seed(origin, &seed)
    }

    /// The key of `origin` that belongs to a secret seed of 32 random bytes.
    ///
    /// # Errors
    ///
    /// A name with spaces or `+`.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        if !signed_note::is_key_name_valid(origin) || origin.chars().any(char::is_control) {
            return Err(KeyError::Origin {
                origin: origin.to_owned(),
            });
        }
        let public = SigningKey::from_bytes(seed).verifying_key().to_bytes();
        let id = signed_note::key_id(origin, &with_algorithm(&public));
        let secret = BASE64_STANDARD.encode(with_algorithm(seed));
        Self::parse(&format!("PRIVATE+KEY+{origin}+{id:08x}+{secret}"))
    }

    /// Reads the text of a signing key.
    ///
    /// # Errors
    ///
    /// Anything but `PRIVATE+KEY+name+id+base64`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_end();
        let malformed = |reason: &str| KeyError::Signer {
            reason: reason.to_owned(),
        };
        let signer = StandardSigner::new(text).map_err(|e| malformed(&e.to_string()))?;
        let mut parts = text.splitn(5, '+').skip(2);
        let (Some(origin), Some(_), Some(secret)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("malformed"));
        };
        let secret = BASE64_STANDARD
            .decode(secret)
            .map_err(|e| malformed(&e.to_string()))?;
        let seed: &[u8; 32] = secret
            .get(1..)
            .and_then(|seed| seed.try_into().ok())
            .ok_or_else(|| malformed("wrong length"))?;
        let public = SigningKey::from_bytes(seed).verifying_key();
        let verifier_key =
            VerifierKey::parse(&signed_note::new_ed25519_verifier_key(origin, &public))?;
        Ok(Self {
            signer_text: text.to_owned(),
            signer,
            verifier_key,
        })
    }

    /// Reads the key from a file that only its owner can read.
    ///
    /// # Errors
    ///
    /// No such file, not a key, or readable by others.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let file_error = |source| KeyError::File {
            path: path.to_owned(),
            source,
        };
        let mode = std::fs::metadata(path)
            .map_err(file_error)?
            .permissions()
            .mode()
            & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        Self::parse(&std::fs::read_to_string(path).map_err(file_error)?)
    }

    /// Writes the key to a new file that only its owner can read (0600), durably.
    ///
    /// # Errors
    ///
    /// The file exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let file_error = |source| KeyError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(file_error)?;
        writeln!(file, "{}", self.signer_text).map_err(file_error)?;
        file.sync_all().map_err(file_error)?;
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            let directory = std::fs::File::open(parent).map_err(file_error)?;
            directory.sync_all().map_err(file_error)?;
        }
        Ok(())
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        self.verifier_key.origin()
    }

    /// The public half.
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    /// The secret text `PRIVATE+KEY+…`; keep it out of logs and output.
    pub fn secret_text(&self) -> &str {
        &self.signer_text
    }

    pub(crate) fn signer(&self) -> &StandardSigner {
        &self.signer
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "LogKey({}, secret withheld)",
            self.verifier_key.text
        )
    }
}

// === impl VerifierKey ===

impl VerifierKey {
    /// Reads `origin+id+base64`.
    ///
    /// # Errors
    ///
    /// Anything else, or an id that does not belong to the key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_end();
        let malformed = |reason: &str| KeyError::Verifier {
            text: text.chars().take(128).collect(),
            reason: reason.to_owned(),
        };
        let verifier = StandardVerifier::new(text).map_err(|e| malformed(&e.to_string()))?;
        let (origin, rest) = text.split_once('+').ok_or_else(|| malformed("malformed"))?;
        // One key, one text: the id is also accepted in capitals by the library.
        if !rest.starts_with(&format!("{:08x}+", verifier.key_id())) {
            return Err(malformed("its id is not in lower-case hex"));
        }
        Ok(Self {
            text: text.to_owned(),
            origin: origin.to_owned(),
            verifier,
        })
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// `origin+id+base64`, one line without its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn verifier(&self) -> &StandardVerifier {
        &self.verifier
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VerifierKey({})", self.text)
    }
}

impl PartialEq for VerifierKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn with_algorithm(key: &[u8; 32]) -> Vec<u8> {
    let mut bytes = vec![ALGORITHM_ED25519];
    bytes.extend_from_slice(key);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_key_is_private_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.key");
        let key = LogKey::generate("bank.example/ledger").unwrap();
        key.save(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            LogKey::load(&path).unwrap().verifier_key(),
            key.verifier_key()
        );
        assert!(
            matches!(key.save(&path), Err(KeyError::File { .. })),
            "never overwritten"
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            LogKey::load(&path),
            Err(KeyError::Exposed { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_key_belongs_to_its_name() {
        let key = LogKey::from_seed("bank.example/ledger", &[7; 32]).unwrap();
        let other = key.verifier_key().text().replace("bank", "bonk");
        assert!(matches!(
            VerifierKey::parse(&other),
            Err(KeyError::Verifier { .. })
        ));
        assert!(matches!(
            LogKey::from_seed("a b", &[7; 32]),
            Err(KeyError::Origin { .. })
        ));
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }
}
