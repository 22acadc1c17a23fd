//! A person, and what they may stand for.

use crate::key::PublicKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use yundu_estate::text::Text;

/// What a person stands for when they decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// 迁移架构师: owns the plan.
    MigrationArchitect,
    /// 运维工程师: carries it out.
    OperationsEngineer,
    /// 安全官: signs gates.
    SecurityOfficer,
    /// 业务负责人: owns the application and its figures.
    BusinessOwner,
    /// 审计员: reads everything, decides nothing.
    Auditor,
}

/// Somebody who decides or acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Name, unique in the institution, such as `li.wei`.
    pub id: String,
    /// Name as people write it.
    pub name: Text,
    /// What they may stand for.
    pub roles: BTreeSet<Role>,
    /// The key with which their decisions are checked.
    pub public_key: PublicKey,
}

/// Why a person cannot be registered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PersonError {
    /// The id would be ambiguous in files and commands.
    #[error(
        "`{id}` cannot be a person's id: use 1 to 64 of a-z, 0-9, `.`, `-`, `_`, beginning with a letter"
    )]
    Id {
        /// What was given.
        id: String,
    },
    /// Somebody without a role can decide nothing.
    #[error("{id} has no role: give at least one of {}", Role::names().join(", "))]
    NoRole {
        /// Who.
        id: String,
    },
    /// No such role.
    #[error("`{name}` is not a role: use {}", Role::names().join(", "))]
    Role {
        /// What was given.
        name: String,
    },
}

// === impl Role ===

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [
        Role::MigrationArchitect,
        Role::OperationsEngineer,
        Role::SecurityOfficer,
        Role::BusinessOwner,
        Role::Auditor,
    ];

    /// The name in files and commands.
    pub fn name(self) -> &'static str {
        match self {
            Role::MigrationArchitect => "migration-architect",
            Role::OperationsEngineer => "operations-engineer",
            Role::SecurityOfficer => "security-officer",
            Role::BusinessOwner => "business-owner",
            Role::Auditor => "auditor",
        }
    }

    /// In both languages.
    pub fn text(self) -> Text {
        match self {
            Role::MigrationArchitect => Text::new("迁移架构师", "migration architect"),
            Role::OperationsEngineer => Text::new("运维工程师", "operations engineer"),
            Role::SecurityOfficer => Text::new("安全官", "security officer"),
            Role::BusinessOwner => Text::new("业务负责人", "business owner"),
            Role::Auditor => Text::new("审计员", "auditor"),
        }
    }

    fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|role| role.name()).collect()
    }
}

impl std::str::FromStr for Role {
    type Err = PersonError;
    fn from_str(name: &str) -> Result<Self, PersonError> {
        let found = Self::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| PersonError::Role {
            name: name.to_owned(),
        })
    }
}

// === impl Person ===

impl Person {
    /// A person, checked.
    ///
    /// # Errors
    /// [`PersonError`] says what cannot be.
    pub fn try_new(
        id: &str,
        name: Text,
        roles: impl IntoIterator<Item = Role>,
        public_key: PublicKey,
    ) -> Result<Self, PersonError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        let begins = id
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase());
        if !begins || id.len() > 64 || !id.bytes().all(allowed) {
            return Err(PersonError::Id { id: id.to_owned() });
        }
        let roles: BTreeSet<Role> = roles.into_iter().collect();
        if roles.is_empty() {
            return Err(PersonError::NoRole { id: id.to_owned() });
        }
        Ok(Self {
            id: id.to_owned(),
            name,
            roles,
            public_key,
        })
    }
}
