//! A person's Ed25519 key (RFC 8032): the private half in a file of theirs, the public half with us.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// First words of a private key file, so that nobody takes it for something else.
const PRIVATE_PREFIX: &str = "yundu-person-private-key:";

/// With this a person signs. It is never shown.
pub struct PersonKey(SigningKey);

/// With this anybody checks what a person signed: 32 bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

/// Why a key cannot be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// Not a public key.
    #[error(
        "`{text}` is not a public key: expected the base64 of 32 bytes, as `yundu people add` prints it"
    )]
    Public {
        /// What was given.
        text: String,
    },
    /// Not a private key file.
    #[error("{} is not a private key of a person: expected one line `{PRIVATE_PREFIX}BASE64`", path.display())]
    Private {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("key file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("key file {path} can be read by others (mode {mode:o}): run `chmod 600 {path}`, and register a new key if others had access", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
}

// === impl PersonKey ===

impl PersonKey {
    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0_u8; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Random)?;
        Ok(Self::from_seed(&seed))
    }

    /// The key that grows from 32 secret bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Writes the key to a new file that only its owner can read.
    ///
    /// # Errors
    /// [`KeyError::File`], also when the file exists: a key is never overwritten.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let failed = |source| KeyError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        let text = format!(
            "{PRIVATE_PREFIX}{}\n",
            BASE64_STANDARD.encode(self.0.to_bytes())
        );
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError::File`], [`KeyError::Exposed`], [`KeyError::Private`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File {
            path: path.to_owned(),
            source,
        };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        text.trim_end()
            .strip_prefix(PRIVATE_PREFIX)
            .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok())
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(|seed| Self::from_seed(&seed))
            .ok_or_else(|| KeyError::Private {
                path: path.to_owned(),
            })
    }

    pub(crate) fn sign(&self, message: &[u8]) -> String {
        BASE64_STANDARD.encode(self.0.sign(message).to_bytes())
    }
}

impl std::fmt::Debug for PersonKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PersonKey({})", self.public_key())
    }
}

// === impl PublicKey ===

impl PublicKey {
    /// Whether `signature` (base64) is this key's over `message`. Strict: a signature that could
    /// be one of several keys does not count.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        BASE64_STANDARD
            .decode(signature)
            .ok()
            .and_then(|bytes| Signature::from_slice(&bytes).ok())
            .is_some_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&BASE64_STANDARD.encode(self.0.to_bytes()))
    }
}

impl std::str::FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        BASE64_STANDARD
            .decode(text.trim())
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
            .filter(|key| !key.is_weak())
            .map(Self)
            .ok_or_else(|| KeyError::Public {
                text: text.chars().take(96).collect(),
            })
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}
