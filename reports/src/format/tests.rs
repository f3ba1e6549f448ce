use assay_protocol::Unit;
use assay_stats::Interval;

use super::{axis_number, axis_scale, count, duration, interval, scientific, value};

fn shown(estimate: f64, half: f64, unit: &Unit) -> String {
    let (low, high) = (estimate - half, estimate + half);
    interval(
        &Interval {
            estimate,
            low,
            high,
            confidence: 0.95,
        },
        unit,
    )
    .to_string()
}

const NS: &Unit = &Unit::Nanoseconds;

#[test]
fn the_uncertainty_says_how_many_digits() {
    assert_eq!(shown(1_234_321.0, 5_000.0, NS), "1.234 ± 0.005 ms");
    assert_eq!(shown(1_234_321.0, 1_200.0, NS), "1.2343 ± 0.0012 ms");
    assert_eq!(shown(1_234_321.0, 3_540.0, NS), "1.2343 ± 0.0035 ms");
    assert_eq!(shown(1_234_321.0, 3_560.0, NS), "1.234 ± 0.004 ms");
    assert_eq!(shown(1_234_321.0, 9_600.0, NS), "1.234 ± 0.010 ms");
    assert_eq!(shown(12_345e9, 234e9, NS), "12350 ± 230 s");
    assert_eq!(shown(5e6, 20e6, NS), "5.0 ± 20 ms");
    assert_eq!(shown(2.7e6, 15.43e9, NS), "2.7 ± 15000 ms");
}

#[test]
fn rounding_up_takes_the_next_prefix() {
    assert_eq!(shown(999_960.0, 400.0, NS), "1.0000 ± 0.0004 ms");
    assert_eq!(shown(999_400.0, 400.0, NS), "999.4 ± 0.4 µs");
    assert_eq!(shown(999.6, 1.0, &Unit::BytesPerSecond), "999.6 ± 1.0 B/s");
    assert_eq!(
        shown(999.96, 1.0, &Unit::BytesPerSecond),
        "1.0000 ± 0.0010 kB/s"
    );
    assert_eq!(value(1023.99, &Unit::Bytes).to_string(), "1.0000 KiB");
    assert_eq!(value(1024.0, &Unit::Bytes).to_string(), "1 KiB");
}

#[test]
fn zero_tiny_and_huge() {
    assert_eq!(value(0.0, NS).to_string(), "0 ns");
    assert_eq!(shown(0.0, 0.0, NS), "0 ± 0 ns");
    assert_eq!(shown(0.0, 0.5, NS), "0.0 ± 0.5 ns");
    assert_eq!(value(0.0, &Unit::Joules).to_string(), "0 J");
    assert_eq!(value(2.5e-12, &Unit::Joules).to_string(), "2.500 ×10⁻¹² J");
    assert_eq!(shown(3.2e17, 1e16, NS), "3.20 ± 0.10 ×10⁸ s");
    assert_eq!(value(f64::NAN, NS).to_string(), "not a number");
    assert_eq!(value(f64::INFINITY, NS).to_string(), "not a number");
    assert_eq!(shown(-1_500_000.0, 20_000.0, NS), "-1.500 ± 0.020 ms");
    assert_eq!(shown(-0.001, 0.5, NS), "0.0 ± 0.5 ns");
}

/// Six equal rounds are something else than a single one.
#[test]
fn equal_rounds_have_an_interval_and_a_single_one_has_none() {
    assert_eq!(shown(1536.0, 0.0, &Unit::Bytes), "1.500 ± 0 KiB");
    assert_eq!(shown(0.1 + 0.2, 1e-17, &Unit::One), "0.3000 ± 0");
    let single = Interval {
        estimate: 1536.0,
        low: 1536.0,
        high: 1536.0,
        confidence: 0.0,
    };
    assert_eq!(interval(&single, &Unit::Bytes).to_string(), "1.500 KiB");
    assert_eq!(shown(2.0, f64::INFINITY, NS), "2 ns");
}

#[test]
fn no_more_than_six_digits() {
    assert_eq!(shown(1_234_567.891, 0.000_1, NS), "1.23457 ± <0.00001 ms");
}

#[test]
fn the_longer_side_of_the_interval_counts() {
    let skewed = Interval {
        estimate: 100.0,
        low: 99.0,
        high: 104.0,
        confidence: 0.95,
    };
    assert_eq!(interval(&skewed, NS).to_string(), "100 ± 4 ns");
}

/// `930 ± 3400 µs` would say that it may have taken less than no time.
#[test]
fn ends_that_are_not_equally_far_are_shown() {
    let words = |low: f64, estimate: f64, high: f64| {
        let skewed = Interval {
            estimate,
            low,
            high,
            confidence: 0.95,
        };
        interval(&skewed, NS).to_string()
    };
    assert_eq!(words(210e3, 930e3, 4_330e3), "930 (210 to 4330) µs");
    assert_eq!(words(99.0, 100.0, 180.0), "100.0 (99.0 to 180.0) ns");
    assert_eq!(words(7.0, 7.0, 20.0), "7.0 (7.0 to 20.0) ns");
    assert_eq!(words(0.0, 0.0, 40.0), "0 (0 to 40) ns");
    assert_eq!(words(0.04, 8.7, 179_898_242.1), "8.7 (0.0 to 1.8e8) ns");
    assert_eq!(words(60.0, 100.0, 160.0), "100 ± 60 ns");
}

#[test]
fn every_unit_has_its_prefixes() {
    let cases = [
        (Unit::Bytes, 3.0 * 1_073_741_824.0, "3 GiB"),
        (Unit::BytesPerSecond, 12.34e9, "12.34 GB/s"),
        (Unit::FlopsPerSecond, 1.5e12, "1.500 TFLOP/s"),
        (Unit::ItemsPerSecond, 2.5e6, "2.500 M items/s"),
        (Unit::Watts, 0.25, "250 mW"),
        (Unit::One, 0.125, "0.1250"),
        (Unit::Other("tokens".into()), 2048.0, "2048 tokens"),
    ];
    for (unit, number, words) in cases {
        assert_eq!(value(number, &unit).to_string(), words);
    }
}

#[test]
fn counts_durations_and_errors() {
    assert_eq!(count(0), "0");
    assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    assert_eq!(duration(850_000_000), "850 ms");
    assert_eq!(duration(999_600_000), "1.0 s");
    assert_eq!(duration(12_340_000_000), "12.3 s");
    assert_eq!(duration(133_000_000_000), "2 min 13 s");
    assert_eq!(duration(3_840_000_000_000), "1 h 04 min");
    assert_eq!(scientific(1.192e-7), "1.19e-7");
    assert_eq!(scientific(0.0), "0");
    assert_eq!(scientific(0.25), "0.25");
}

#[test]
fn axes_take_the_prefix_of_their_largest_number() {
    assert_eq!(axis_scale(1_500.0, NS), (1e3, "µs".into()));
    assert_eq!(axis_scale(0.1, NS), (1.0, "ns".into()));
    assert_eq!(axis_scale(2.5e6, &Unit::ItemsPerSecond).1, "M items/s");
    let long = Unit::Other("requests per joule".into());
    assert_eq!(axis_scale(1.0, &long).1, "requests…");
}

#[test]
fn numbers_at_an_axis_have_no_sign_without_a_number() {
    assert_eq!(axis_number(-1e-12, 2), "0.00");
    assert_eq!(axis_number(-0.04, 1), "0.0");
    assert_eq!(axis_number(-0.06, 1), "-0.1");
    assert_eq!(axis_number(12.0, 0), "12");
}

/// No prefix reaches it, and decimals alone would make an axis of zeros.
#[test]
fn an_axis_of_tiny_numbers_is_in_powers_of_ten() {
    assert_eq!(axis_scale(2e-15, &Unit::One).1, "×10⁻¹⁵");
    assert_eq!(axis_scale(0.0, &Unit::Joules), (1.0, "J".into()));
}
