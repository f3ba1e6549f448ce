//! Numbers of the standard normal distribution, by inversion, with the same bits on every machine: nothing here calls the system's
//! mathematical library, whose last bits differ between versions.

use assay_protocol::Philox;

/// Words of a row: more than any row draws.
const WORDS_PER_ROW: u32 = 22;

/// Number `place` of row `row` in a stream, made of two of its words: uniform on odd multiples of 2^-54, then inverted.
pub fn of_row(random: Philox, row: u64, place: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    let first = (row << WORDS_PER_ROW).wrapping_add(2 * place);
    let [low, high] = [0, 1].map(|word| u64::from(random.word(first.wrapping_add(word))));
    quantile((((low | high << 32) >> 11) as f64 + 0.5) * STEP)
}

/// The value that a standard normal variable stays below with probability `p`, to about 1 part in 10^16.
///
/// `p` of 0 and 1 give the infinities, anything outside not a number. Source: M. J. Wichura, "Algorithm AS 241:
/// The percentage points of the normal distribution", Applied Statistics 37(3), 1988, routine PPND16.
#[allow(clippy::excessive_precision, clippy::unreadable_literal)] // as published
pub fn quantile(p: f64) -> f64 {
    const CENTRE: [[f64; 8]; 2] = [
        [
            3.3871328727963666080e0,
            1.3314166789178437745e+2,
            1.9715909503065514427e+3,
            1.3731693765509461125e+4,
            4.5921953931549871457e+4,
            6.7265770927008700853e+4,
            3.3430575583588128105e+4,
            2.5090809287301226727e+3,
        ],
        [
            1.0,
            4.2313330701600911252e+1,
            6.8718700749205790830e+2,
            5.3941960214247511077e+3,
            2.1213794301586595867e+4,
            3.9307895800092710610e+4,
            2.8729085735721942674e+4,
            5.2264952788528545610e+3,
        ],
    ];
    const NEAR: [[f64; 8]; 2] = [
        [
            1.42343711074968357734e0,
            4.63033784615654529590e0,
            5.76949722146069140550e0,
            3.64784832476320460504e0,
            1.27045825245236838258e0,
            2.41780725177450611770e-1,
            2.27238449892691845833e-2,
            7.74545014278341407640e-4,
        ],
        [
            1.0,
            2.05319162663775882187e0,
            1.67638483018380384940e0,
            6.89767334985100004550e-1,
            1.48103976427480074590e-1,
            1.51986665636164571966e-2,
            5.47593808499534494600e-4,
            1.05075007164441684324e-9,
        ],
    ];
    const FAR: [[f64; 8]; 2] = [
        [
            6.65790464350110377720e0,
            5.46378491116411436990e0,
            1.78482653991729133580e0,
            2.96560571828504891230e-1,
            2.65321895265761230930e-2,
            1.24266094738807843860e-3,
            2.71155556874348757815e-5,
            2.01033439929228813265e-7,
        ],
        [
            1.0,
            5.99832206555887937690e-1,
            1.36929880922735805310e-1,
            1.48753612908506148525e-2,
            7.86869131145613259100e-4,
            1.84631831751005468180e-5,
            1.42151175831644588870e-7,
            2.04426310338993978564e-15,
        ],
    ];
    if p.is_nan() || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * rational(CENTRE, 0.180625 - q * q);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = (-libm::log(tail)).sqrt();
    let magnitude = if r <= 5.0 {
        rational(NEAR, r - 1.6)
    } else {
        rational(FAR, r - 5.0)
    };
    magnitude.copysign(q)
}

/// A quotient of polynomials, coefficients of low powers first.
fn rational([above, below]: [[f64; 8]; 2], x: f64) -> f64 {
    let value = |coefficients: [f64; 8]| coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c);
    value(above) / value(below)
}

#[cfg(test)]
mod tests {
    use super::{of_row, quantile};
    use assay_protocol::Philox;

    #[test]
    fn quantiles_are_symmetric_and_end_in_infinities() {
        // R 4.3, qnorm(0.975) and qnorm(1e-9), to all digits.
        assert!((quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-15);
        assert!((quantile(1e-9) + 5.997_807_015_007_686).abs() < 1e-14);
        assert!((quantile(0.3) + quantile(0.7)).abs() < 1e-15);
        assert!(quantile(0.0).is_infinite() && quantile(1.5).is_nan());
    }

    #[test]
    fn numbers_of_rows_have_the_moments() {
        let random = Philox::new(1, 2);
        let all: Vec<f64> = (0..100)
            .flat_map(|row| (0..1000).map(move |place| of_row(random, row, place)))
            .collect();
        let mean = all.iter().sum::<f64>() / 1e5;
        let variance = all.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(
            mean.abs() < 0.015 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
    }
}
