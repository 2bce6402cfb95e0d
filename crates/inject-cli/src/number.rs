//! Numbers for people.

/// A count with a comma between thousands: `4,498,500`.
pub(crate) fn count(value: impl TryInto<u128>) -> String {
    let digits = value.try_into().map_or_else(|_| "?".to_owned(), |value| value.to_string());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and its noun: `1 tap`, `3 taps`.
pub(crate) fn counted(value: usize, noun: &str) -> String {
    let ending = if value == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(value))
}

/// A measured number with three significant digits: `0.741`, `12.3`, `4,500`. Those too small or too large for that are in
/// scientific notation, and a number that is not finite is a dash.
pub(crate) fn measured(value: f64) -> String {
    let size = value.abs();
    // Numbers that rounding brings up to the next power of ten keep one digit more.
    match size {
        0.0 => "0".to_owned(),
        _ if !value.is_finite() => "-".to_owned(),
        _ if !(0.001..1e7).contains(&size) => format!("{value:.2e}"),
        _ if size < 0.01 => format!("{value:.5}"),
        _ if size < 0.1 => format!("{value:.4}"),
        _ if size < 1.0 => format!("{value:.3}"),
        _ if size < 10.0 => format!("{value:.2}"),
        _ if size < 100.0 => format!("{value:.1}"),
        _ => {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("{sign}{}", count(size.round() as u64))
        }
    }
}

/// A share in per cent: `99.5 %`.
pub(crate) fn share(value: f64) -> String {
    if value.is_finite() { format!("{:.1} %", 100.0 * value) } else { "-".to_owned() }
}

/// A time: `43.1 ms`, `1.25 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "-".to_owned(),
        0.0 => "0 s".to_owned(),
        _ if value < 0.1 => format!("{} ms", measured(1000.0 * value)),
        _ if value < 10.0 => format!("{} s", measured(value)),
        _ if value < 59.5 => format!("{value:.0} s"),
        _ if value < 3600.0 => {
            let whole = value.round() as u64;
            format!("{} min {} s", whole / 60, whole % 60)
        }
        _ => {
            let minutes = (value / 60.0).round() as u64;
            format!("{} h {} min", count(minutes / 60), minutes % 60)
        }
    }
}

/// An amount of data: `0 B`, `48 kB`, `2.5 MB`.
pub(crate) fn bytes(value: u64) -> String {
    scaled(value as f64, &["B", "kB", "MB", "GB", "TB"])
}

/// Floating-point operations: `6.6 GFLOP`.
pub(crate) fn operations(value: f64) -> String {
    scaled(value, &["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"])
}

/// A value in the largest of some units, a thousand apart, that leaves something before the point.
fn scaled(mut value: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let whole = unit == 0 || value >= 99.95;
    let digits = if whole { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{} {}", digits.strip_suffix(".0").unwrap_or(&digits), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 999, 1000, 4_498_500].map(|value: u64| count(value)),
            ["0", "999", "1,000", "4,498,500"]
        );
        assert_eq!([counted(1, "tap"), counted(3, "tap")], ["1 tap", "3 taps"]);
    }

    #[test]
    fn measured_numbers_have_three_digits_and_no_exponent_where_it_can_be_helped() {
        let told = [0.0, 0.74127, 1.0, -2.345, 14.24, 0.0042, 4500.2, 1.2e-5, 7.4e9, f64::NAN].map(measured);
        assert_eq!(
            told,
            ["0", "0.741", "1.00", "-2.35", "14.2", "0.00420", "4,500", "1.20e-5", "7.40e9", "-"]
        );
    }

    #[test]
    fn units_leave_something_before_the_point() {
        assert_eq!(
            [0, 48_000, 2_520_000, 123_000_000, 999_999].map(bytes),
            ["0 B", "48 kB", "2.5 MB", "123 MB", "1 MB"]
        );
        assert_eq!(
            [6.6e9, 4.2e7, 9.99e11, 2.36e14].map(operations),
            ["6.6 GFLOP", "42 MFLOP", "999 GFLOP", "236 TFLOP"]
        );
        assert_eq!(
            [0.0, 0.0431, 1.25, 12.0, 200.0, 7500.0].map(seconds),
            ["0 s", "43.1 ms", "1.25 s", "12 s", "3 min 20 s", "2 h 5 min"]
        );
    }
}
