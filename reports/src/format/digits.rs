//! How many decimals a number deserves, and the number rounded to them.

/// Most significant digits of a value, however narrow its interval.
const MOST_DIGITS: i32 = 6;

/// Significant digits of a value whose uncertainty is not known.
const PLAIN_DIGITS: i32 = 4;

/// A number rounded to a decimal place, and its text.
pub struct Rounded {
    /// The rounded number.
    pub value: f64,
    /// As it is written.
    pub text: String,
}

impl Rounded {
    /// Rounds to `decimals`; negative ones round to tens, hundreds and so on.
    pub fn new(value: f64, decimals: i32) -> Self {
        let value = if decimals < 0 {
            let step = 10_f64.powi(-decimals);
            (value / step).round() * step
        } else {
            value
        };
        let text = format!("{value:.*}", usize::try_from(decimals).unwrap_or(0));
        let text = if is_zero(&text) {
            text.trim_start_matches('-').to_owned()
        } else {
            text
        };
        Self {
            value: text.parse().unwrap_or(value),
            text,
        }
    }

    /// An uncertainty; one that is too small for the last decimal is said to be below it.
    pub fn uncertainty(half: f64, decimals: i32) -> Self {
        let rounded = Self::new(half, decimals);
        if !is_zero(&rounded.text) {
            return rounded;
        }
        let last = Self::new(10_f64.powi(-decimals), decimals);
        Self {
            value: last.value,
            text: format!("<{}", last.text),
        }
    }
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0' | b'.' | b'-'))
}

/// Decimals by the rule of the Particle Data Group: leading digits 100-354 of the uncertainty are
/// rounded to two, 355-949 to one, 950-999 to 1000 with two digits kept.
pub fn from_uncertainty(half: f64) -> i32 {
    let exponent = exponent(half);
    let leading = half / 10_f64.powi(exponent);
    if leading < 3.545 {
        1 - exponent
    } else {
        -exponent
    }
}

/// Decimals that leave a value, which is not zero, two significant digits.
pub fn of_two(value: f64) -> i32 {
    1 - exponent(value)
}

/// The finest decimal place of a value that anybody reads: six significant digits of the larger number.
pub fn finest(value: f64, half: f64) -> i32 {
    MOST_DIGITS - 1 - exponent(value.abs().max(half))
}

/// Decimals for a value without uncertainty: none for an integer, `None` for zero.
pub fn from_value(value: f64) -> Option<i32> {
    if value == 0.0 {
        return None;
    }
    let is_integer = value.fract() == 0.0;
    Some(if is_integer {
        0
    } else {
        PLAIN_DIGITS - 1 - exponent(value)
    })
}

/// Exponent of ten of the leading digit.
pub fn exponent(value: f64) -> i32 {
    let exponent = value.abs().log10().floor() as i32;
    // The logarithm of, say, 1000 may come out just below 3.
    let next = 10_f64.powi(exponent + 1);
    if value.abs() >= next {
        exponent + 1
    } else {
        exponent
    }
}
