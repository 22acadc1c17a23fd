//! Whether a decision counts.

use crate::approval::Approval;
use crate::person::{Person, Role};
use yundu_estate::text::Text;

/// Why a decision does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody is registered under this id.
    #[error("{person} is not known: register them with `yundu people add {person}`")]
    UnknownPerson {
        /// Who.
        person: String,
    },
    /// The signature is not that person's over these fields.
    #[error(
        "the signature is not {person}'s over this decision: sign again with the key registered for {person}"
    )]
    Signature {
        /// Who.
        person: String,
    },
    /// Who asks never decides.
    #[error("{person} made this request and cannot decide on it: ask somebody else")]
    MakerIsChecker {
        /// Who.
        person: String,
    },
    /// None of the roles that may decide.
    #[error(
        "{person} has none of the roles that decide here ({}): ask somebody who has",
        roles_text(roles)
    )]
    MissingRole {
        /// Who.
        person: String,
        /// Roles that would do.
        roles: Vec<Role>,
    },
}

/// Whether the signature is the person's, whoever they are.
///
/// # Errors
/// [`Refusal::UnknownPerson`] or [`Refusal::Signature`].
pub fn verify_signature(approval: &Approval, person: Option<&Person>) -> Result<(), Refusal> {
    let Some(person) = person.filter(|person| person.id == approval.person) else {
        return Err(Refusal::UnknownPerson {
            person: approval.person.clone(),
        });
    };
    let signed = approval
        .message()
        .is_ok_and(|message| person.public_key.verifies(&message, &approval.signature));
    if signed {
        Ok(())
    } else {
        Err(Refusal::Signature {
            person: person.id.clone(),
        })
    }
}

/// Whether the decision counts: a known person, their signature, not the maker, one of `roles` (any
/// role will do when empty).
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn check(
    approval: &Approval,
    person: Option<&Person>,
    maker: &str,
    roles: &[Role],
) -> Result<(), Refusal> {
    verify_signature(approval, person)?;
    if approval.person == maker {
        return Err(Refusal::MakerIsChecker {
            person: approval.person.clone(),
        });
    }
    let has_one = |person: &Person| roles.iter().any(|role| person.roles.contains(role));
    if !roles.is_empty() && !person.is_some_and(has_one) {
        return Err(Refusal::MissingRole {
            person: approval.person.clone(),
            roles: roles.to_vec(),
        });
    }
    Ok(())
}

// === impl Refusal ===

impl Refusal {
    /// For people.
    pub fn text(&self) -> Text {
        let zh = match self {
            Refusal::UnknownPerson { person } => {
                format!("没有登记 {person}：用 yundu people add {person} 登记")
            }
            Refusal::Signature { person } => {
                format!("签名不是 {person} 对此决定的签名：请用为 {person} 登记的密钥重新签名")
            }
            Refusal::MakerIsChecker { person } => {
                format!("{person} 是申请人，不能审批自己的申请：请他人审批")
            }
            Refusal::MissingRole { person, roles } => {
                let names: Vec<String> = roles.iter().map(|role| role.text().zh).collect();
                format!(
                    "{person} 没有可在此决定的角色（{}）：请具备角色的人员决定",
                    names.join("、")
                )
            }
        };
        Text::new(zh, self.to_string())
    }
}

fn roles_text(roles: &[Role]) -> String {
    roles
        .iter()
        .map(|role| role.name())
        .collect::<Vec<_>>()
        .join(", ")
}
