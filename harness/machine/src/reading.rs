//! What came of reading one property, and the small parsers that the probes share.
//!
//! A reading is a value or a [`Gap`], which keeps apart the three ways in which a value can be
//! missing. Sensors that answer nonsense are caught here, by range.

use std::fmt::Display;
use std::io;
use std::ops::RangeInclusive;

use assay_record::{Field, Scalar};

/// Why a value is missing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Gap {
    /// This machine has no such thing.
    #[error("not offered by this machine")]
    Unsupported,
    /// This user may not read it.
    #[error("not permitted to read")]
    Denied,
    /// Reading it went wrong.
    #[error("{0}")]
    Error(String),
}

/// A value, or why there is none.
pub(crate) type Reading<T> = Result<T, Gap>;

impl From<io::Error> for Gap {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::Unsupported => {
                Self::Unsupported
            }
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => match Errno::from_io_error(&error) {
                // What sysfs answers for a file whose device lacks the function.
                Some(Errno::NODEV | Errno::NXIO | Errno::OPNOTSUPP) => Self::Unsupported,
                _ => Self::Error(error.to_string()),
            },
        }
    }
}

impl From<Gap> for Field {
    fn from(gap: Gap) -> Self {
        match gap {
            Gap::Unsupported => Self::Unsupported,
            Gap::Denied => Self::Denied,
            Gap::Error(error) => Self::Error(printable(&error)),
        }
    }
}

/// What can become a field's value.
pub(crate) trait IntoField {
    fn into_field(self) -> Field;
}

impl IntoField for String {
    fn into_field(self) -> Field {
        Field::text(printable(&self))
    }
}

impl IntoField for &str {
    fn into_field(self) -> Field {
        Field::text(printable(self))
    }
}

impl IntoField for bool {
    fn into_field(self) -> Field {
        Field::bool(self)
    }
}

impl IntoField for f64 {
    fn into_field(self) -> Field {
        Field::float(self)
    }
}

impl IntoField for Scalar {
    fn into_field(self) -> Field {
        Field::Value(self)
    }
}

macro_rules! integers_into_field {
    ($($integer:ty),*) => {$(
        impl IntoField for $integer {
            fn into_field(self) -> Field {
                Field::int(self)
            }
        }
    )*};
}
integers_into_field!(i64, u64, u32, usize);

impl<T: IntoField> IntoField for Reading<T> {
    fn into_field(self) -> Field {
        self.map_or_else(Field::from, IntoField::into_field)
    }
}

/// Text as it may be stored: control characters replaced, at most 1000 characters.
fn printable(text: &str) -> String {
    text.chars()
        .take(1000)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The first 40 characters, for messages.
pub(crate) fn excerpt(text: &str) -> String {
    printable(text).chars().take(40).collect()
}

/// An integer in decimal.
pub(crate) fn number(text: &str) -> Reading<i64> {
    text.trim()
        .parse()
        .map_err(|_| Gap::Error(format!("`{}` is not a number", excerpt(text))))
}

/// A number with a fraction.
pub(crate) fn decimal(text: &str) -> Reading<f64> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(Gap::Error(format!("`{}` is not a number", excerpt(text)))),
    }
}

/// A sensor's value, if it can be true.
pub(crate) fn within<T: PartialOrd + Display>(
    value: T,
    range: &RangeInclusive<T>,
    unit: &str,
) -> Reading<T> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(Gap::Error(format!(
            "the sensor says {value} {unit}, which is outside {} to {}",
            range.start(),
            range.end()
        )))
    }
}

/// Celsius that silicon can have.
pub(crate) const CELSIUS: RangeInclusive<f64> = -40.0..=150.0;
/// Clocks of any part of a CPU or GPU, in MHz.
pub(crate) const MEGAHERTZ: RangeInclusive<f64> = 0.0..=20_000.0;

/// The value after `key` and a colon, as in `/proc/cpuinfo`, `/proc/meminfo`, `/proc/self/status`.
pub(crate) fn after_key<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key && !value.trim().is_empty()).then(|| value.trim())
    })
}

/// A list of CPUs or nodes such as `0-3,8`. `None` if it is no such list.
pub(crate) fn cpu_list(text: &str) -> Option<Vec<u32>> {
    const MOST: u32 = 1 << 16;
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// The word in brackets of `always [madvise] never`, or the whole text if there is none.
pub(crate) fn chosen(text: &str) -> &str {
    text.split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or(text, |(word, _)| word)
}

/// Distinct values with how often each occurs: `performance`, or `performance (4), powersave (2)`.
pub(crate) fn tally(values: &[String]) -> Reading<String> {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    match counts.len() {
        0 => Err(Gap::Unsupported),
        1 => Ok(values[0].clone()),
        _ => Ok(counts
            .iter()
            .map(|(value, count)| format!("{value} ({count})"))
            .collect::<Vec<_>>()
            .join(", ")),
    }
}

/// MiB of a memory size in KiB that stays the same over boots and kernels.
///
/// Kernels keep about a sixtieth of the memory to themselves, and the exact part varies by tens of
/// MiB. So the size is rounded up to 4 significant bits, to the next 2 GiB between 16 and 32, which
/// also comes out at the size that was installed.
pub(crate) fn stable_mib(kib: u64) -> u64 {
    let mib = (kib + 512) / 1024;
    let step = 1_u64 << (mib.max(8).ilog2() - 3);
    mib.div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Gap, after_key, chosen, cpu_list, decimal, number, stable_mib, tally, within};

    #[test]
    fn reasons_for_a_missing_value_are_kept_apart() {
        let gap = |kind: io::ErrorKind| Gap::from(io::Error::from(kind));
        assert_eq!(gap(io::ErrorKind::NotFound), Gap::Unsupported);
        assert_eq!(gap(io::ErrorKind::PermissionDenied), Gap::Denied);
        assert!(matches!(gap(io::ErrorKind::InvalidData), Gap::Error(_)));
        assert_eq!(
            Gap::from(io::Error::from_raw_os_error(19)),
            Gap::Unsupported
        ); // ENODEV
    }

    #[test]
    fn cpu_lists() {
        assert_eq!(cpu_list("0-2,8\n"), Some(vec![0, 1, 2, 8]));
        assert_eq!(cpu_list(""), Some(vec![]));
        for bad in ["3-1", "a", "0-", "0-4000000000", "-1"] {
            assert_eq!(cpu_list(bad), None, "{bad}");
        }
    }

    #[test]
    fn nonsense_is_an_error_not_a_value() {
        assert!(matches!(number("12 apples"), Err(Gap::Error(_))));
        assert!(matches!(decimal("inf"), Err(Gap::Error(_))));
        assert!(within(65535.0, &super::CELSIUS, "°C").is_err());
        assert_eq!(within(50, &(0..=100), "%"), Ok(50));
    }

    #[test]
    fn memory_is_stable_under_small_reservations() {
        assert_eq!(stable_mib(16_384 << 10), 16_384);
        assert_eq!(stable_mib((16_384 - 200) << 10), 16_384);
        assert_eq!(stable_mib(131_890_124), 131_072);
        assert_eq!(stable_mib((24_106 << 10) + 700), 24_576);
        assert_eq!((stable_mib(0), stable_mib(40 << 10)), (0, 40));
        assert!(stable_mib(u64::MAX / 2) > 0);
    }

    #[test]
    fn words() {
        assert_eq!(
            after_key("a: 1\nmodel name\t: X: Y\n", "model name"),
            Some("X: Y")
        );
        assert_eq!(chosen("always [madvise] never"), "madvise");
        let many = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        assert_eq!(tally(&many(&["a", "a"])).unwrap(), "a");
        assert_eq!(tally(&many(&["b", "a", "b"])).unwrap(), "a (1), b (2)");
        assert_eq!(tally(&[]), Err(Gap::Unsupported));
    }
}
