//! Units with their prefixes.

use std::borrow::Cow;

use assay_protocol::Unit;

use super::digits::exponent;

/// A unit with a prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// How many of the unit it is.
    pub factor: f64,
    /// Its name: `ms`, `KiB`.
    pub name: Cow<'static, str>,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            factor: 1.0,
            name: "".into(),
        }
    }
}

/// The prefixes of a unit, smallest first.
pub fn of(unit: &Unit) -> Vec<Scale> {
    let table: &[(f64, &'static str)] = match unit {
        Unit::Nanoseconds => &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")],
        Unit::Bytes => &[
            (1.0, "B"),
            (1024.0, "KiB"),
            (1_048_576.0, "MiB"),
            (1_073_741_824.0, "GiB"),
            (1_099_511_627_776.0, "TiB"),
        ],
        Unit::BytesPerSecond => &[
            (1.0, "B/s"),
            (1e3, "kB/s"),
            (1e6, "MB/s"),
            (1e9, "GB/s"),
            (1e12, "TB/s"),
            (1e15, "PB/s"),
        ],
        Unit::FlopsPerSecond => &[
            (1.0, "FLOP/s"),
            (1e3, "kFLOP/s"),
            (1e6, "MFLOP/s"),
            (1e9, "GFLOP/s"),
            (1e12, "TFLOP/s"),
            (1e15, "PFLOP/s"),
        ],
        Unit::ItemsPerSecond => &[
            (1.0, "items/s"),
            (1e3, "k items/s"),
            (1e6, "M items/s"),
            (1e9, "G items/s"),
            (1e12, "T items/s"),
        ],
        Unit::Joules => &[
            (1e-6, "µJ"),
            (1e-3, "mJ"),
            (1.0, "J"),
            (1e3, "kJ"),
            (1e6, "MJ"),
        ],
        Unit::Watts => &[
            (1e-6, "µW"),
            (1e-3, "mW"),
            (1.0, "W"),
            (1e3, "kW"),
            (1e6, "MW"),
        ],
        Unit::One => &[(1.0, "")],
        Unit::Other(name) => {
            return vec![Scale {
                factor: 1.0,
                name: name.clone().into(),
            }];
        }
    };
    let scale = |&(factor, name): &(f64, &'static str)| Scale {
        factor,
        name: name.into(),
    };
    table.iter().map(scale).collect()
}

/// The scales to try for a number, best first: from the one it falls into upwards, as rounding may
/// lift it into the next; a power of ten where no prefix reaches it.
pub fn around(value: f64, half: f64, unit: &Unit) -> Vec<Scale> {
    let mut scales = of(unit);
    let half = if half.is_finite() { half } else { 0.0 };
    let size = value.abs().max(half);
    let last = scales.len() - 1;
    let plain = scales.iter().position(|scale| scale.factor >= 1.0);
    let fitting = scales.iter().rposition(|scale| size >= scale.factor);
    let (plain, fitting) = (plain.unwrap_or(last), fitting.unwrap_or(0));
    match size / scales[fitting].factor {
        0.0 => scales.split_off(plain),
        ..1e-3 => vec![power_of_ten(size, &scales[plain])],
        1e7.. => vec![power_of_ten(size, &scales[last])],
        _ => scales.split_off(fitting),
    }
}

fn power_of_ten(size: f64, base: &Scale) -> Scale {
    let exponent = exponent(size / base.factor);
    let digits: String = exponent.to_string().chars().map(superscript).collect();
    Scale {
        factor: base.factor * 10_f64.powi(exponent),
        name: format!("×10{digits} {}", base.name)
            .trim_end()
            .to_owned()
            .into(),
    }
}

fn superscript(digit: char) -> char {
    match digit {
        '0' => '⁰',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁻',
    }
}
