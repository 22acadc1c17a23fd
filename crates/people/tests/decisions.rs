//! What counts as somebody's decision.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use proptest::prelude::*;
use yundu_estate::text::Text;
use yundu_people::{
    Approval, Decision, KeyError, Person, PersonError, PersonKey, Refusal, Role, check,
};

fn key(seed: u8) -> PersonKey {
    PersonKey::from_seed(&[seed; 32])
}

fn person(id: &str, seed: u8, role: Role) -> Person {
    Person::try_new(id, Text::new("李", "Li"), [role], key(seed).public_key()).unwrap()
}

fn approval(person: &str) -> Approval {
    Approval {
        id: "a-1".into(),
        about: "core-ledger".into(),
        subject_kind: "move".into(),
        subject_digest: "00ff".into(),
        decision: Decision::Approve,
        reason: String::new(),
        person: person.into(),
        at_us: 7,
        signature: String::new(),
    }
}

#[test]
fn a_signed_decision_of_another_person_with_the_role_counts() {
    let li = person("li", 1, Role::SecurityOfficer);
    let signed = approval("li").sign(&key(1)).unwrap();
    assert_eq!(
        check(&signed, Some(&li), "wang", &[Role::SecurityOfficer]),
        Ok(())
    );
}

#[test]
fn maker_is_never_checker() {
    let li = person("li", 1, Role::SecurityOfficer);
    let signed = approval("li").sign(&key(1)).unwrap();
    let refusal = check(&signed, Some(&li), "li", &[]).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::MakerIsChecker {
            person: "li".into()
        }
    );
    assert!(refusal.text().zh.contains("不能审批自己"));
}

#[test]
fn a_role_that_is_missing_is_named() {
    let li = person("li", 1, Role::Auditor);
    let signed = approval("li").sign(&key(1)).unwrap();
    let refusal = check(&signed, Some(&li), "wang", &[Role::BusinessOwner]).unwrap_err();
    assert!(refusal.to_string().contains("business-owner"));
}

#[test]
fn nobody_signs_for_another() {
    let (li, zhao) = (
        person("li", 1, Role::Auditor),
        person("zhao", 2, Role::Auditor),
    );
    let forged = approval("li").sign(&key(2)).unwrap();
    let wrong = Err(Refusal::Signature {
        person: "li".into(),
    });
    assert_eq!(check(&forged, Some(&li), "wang", &[]), wrong);
    let unknown = Err(Refusal::UnknownPerson {
        person: "li".into(),
    });
    assert_eq!(check(&forged, Some(&zhao), "wang", &[]), unknown);
    assert_eq!(check(&forged, None, "wang", &[]), unknown);
}

proptest! {
    #[test]
    fn a_change_of_any_field_voids_the_signature(field in 0_usize..8, salt in 1_i64..1000) {
        let li = person("li", 1, Role::Auditor);
        let mut altered = approval("li").sign(&key(1)).unwrap();
        let other = format!("x{salt}");
        match field {
            0 => altered.id = other,
            1 => altered.about = other,
            2 => altered.subject_kind = other,
            3 => altered.subject_digest = other,
            4 => altered.decision = Decision::Object,
            5 => altered.reason = other,
            6 => altered.at_us += salt,
            _ => altered.signature = altered.signature.replacen(|c: char| c.is_ascii_lowercase(), "A", 1),
        }
        let outcome = check(&altered, Some(&li), "wang", &[]);
        prop_assert_eq!(outcome, Err(Refusal::Signature { person: "li".into() }));
    }
}

#[test]
fn a_key_file_is_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("li.key");
    key(1).save(&path).unwrap();
    assert_eq!(
        PersonKey::load(&path).unwrap().public_key(),
        key(1).public_key()
    );
    assert!(matches!(key(2).save(&path), Err(KeyError::File { .. })));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        PersonKey::load(&path),
        Err(KeyError::Exposed { mode: 0o640, .. })
    ));
}

#[test]
fn nonsense_is_refused_with_what_to_do() {
    let public = key(1).public_key();
    let made = |id: &str, roles: &[Role]| {
        Person::try_new(id, Text::default(), roles.iter().copied(), public.clone())
    };
    assert!(matches!(
        made("Li Wei", &[Role::Auditor]),
        Err(PersonError::Id { .. })
    ));
    assert!(matches!(
        made("../li", &[Role::Auditor]),
        Err(PersonError::Id { .. })
    ));
    assert!(
        made("li", &[])
            .unwrap_err()
            .to_string()
            .contains("migration-architect")
    );
    assert!(
        "boss"
            .parse::<Role>()
            .unwrap_err()
            .to_string()
            .contains("auditor")
    );
    // The neutral point signs everything for everybody.
    let weak = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(matches!(
        weak.parse::<yundu_people::PublicKey>(),
        Err(KeyError::Public { .. })
    ));
}
