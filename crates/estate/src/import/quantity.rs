//! Kubernetes quantities, such as `10Gi`, in whole bytes.

/// Suffixes and their factors: binary (1024) and decimal (1000).
/// Source: Kubernetes API conventions, `resource.Quantity`.
const SUFFIXES: [(&str, u128); 13] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("", 1),
];

/// The number of bytes, rounded up as Kubernetes does; `None` when it is not a quantity.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    const FRACTION_DIGITS_MAX: usize = 12;
    let end = text
        .find(|it: char| !it.is_ascii_digit() && it != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let factor = SUFFIXES
        .iter()
        .find(|(known, _)| *known == suffix)
        .map(|(_, factor)| *factor)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(factor)?;
    u64::try_from(scaled.div_ceil(scale)).ok()
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn quantities_become_whole_bytes() {
        assert_eq!(bytes("10Gi"), Some(10 * 1024 * 1024 * 1024));
        assert_eq!(bytes("1.5Gi"), Some(1_610_612_736));
        assert_eq!(bytes("500M"), Some(500_000_000));
        assert_eq!(bytes("128974848"), Some(128_974_848));
        assert_eq!(bytes("0.1"), Some(1));
        for wrong in [
            "",
            "Gi",
            "ten",
            "1.2.3",
            "-1",
            "1Zi",
            "99999999999999999999E",
        ] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
