//! A binary logarithm without floats.

/// The binary logarithm of `value` in thousandths, linear between powers of two; 0 for 0.
pub fn log2_milli(value: u64) -> u64 {
    let Some(exponent) = value.checked_ilog2() else {
        return 0;
    };
    // value = 2^exponent + rest, and rest / 2^exponent is the part between the powers.
    let rest = u128::from(value) - (1_u128 << exponent);
    let between = (rest * 1000) >> exponent;
    u64::from(exponent) * 1000 + u64::try_from(between).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::log2_milli;

    #[test]
    fn powers_of_two_are_exact_and_the_rest_lies_between() {
        assert_eq!(log2_milli(0), 0);
        assert_eq!(log2_milli(1), 0);
        assert_eq!(log2_milli(1024), 10_000);
        assert_eq!(log2_milli(1536), 10_500);
        assert_eq!(log2_milli(u64::MAX), 63_999);
    }
}
