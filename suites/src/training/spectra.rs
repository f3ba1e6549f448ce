//! Spectra as an autoencoder takes them: numbers of about 1, each with the inverse of the variance of its noise.
//!
//! They are those of the [synthetic data suite](crate::synthetic::generators::spectra), averaged over groups of pixels by their inverse
//! variances, which puts lines narrower than a group where they belong. Of a flux `f` the number is `asinh f - asinh 1`: near 0 on
//! a continuum near 1, and the logarithm of strong lines. Its variance is that of `f` over `1 + f^2`, and no less than `FLOOR^2`, so that a
//! few pixels of strong lines are not all that counts. A group that is masked has number and weight 0. Such spectra, of any origin, may
//! come from [files](stored) as well.

mod stored;

use assay_protocol::Digest;
use rayon::prelude::*;

use super::leaks;
use crate::synthetic::generators::spectra::{Maker, Spectra as Recipe};
use crate::synthetic::items::{Items, read_f32};

/// Pixels of a group.
const GROUP: usize = 16;
/// Deviation of a number at least, as far as its weight goes.
const FLOOR: f32 = 0.1;
/// Spectra that are held out, by their numbers: those from here on.
const HELD_OUT: u64 = 1 << 32;
/// Points of a spectrum.
pub const POINTS: std::ops::RangeInclusive<usize> = 16..=65_536;

/// Numbers and weights, spectrum by spectrum.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    /// So many a spectrum.
    pub x: Vec<f32>,
    /// As many.
    pub w: Vec<f32>,
}

/// Spectra in two parts.
#[derive(Clone, Debug)]
pub struct Spectra {
    /// What is trained on.
    pub train: Weighted,
    /// What a model is judged by.
    pub held_out: Weighted,
    /// Digest of all.
    pub digest: Digest,
    /// The share of held-out spectra that the model is trained on as well.
    pub leaked: f64,
}

impl Spectra {
    /// So many spectra of so many points, up to a redshift, and a fifth of that held out.
    ///
    /// # Errors
    /// If there are no such spectra.
    pub fn new(seed: u64, count: usize, points: usize, most_redshift: f64) -> Result<Self, String> {
        let recipe = Recipe {
            points: GROUP * points,
            most_redshift,
            ..Recipe::default()
        };
        let maker = recipe.build()?;
        let part = |first: u64, count: usize| part(&maker, seed, first, count);
        let parts = [part(0, count), part(HELD_OUT, count.div_ceil(5))];
        Ok(Self::of_parts(parts, points))
    }

    fn of_parts([train, held_out]: [Weighted; 2], points: usize) -> Self {
        let bytes = |part: &Weighted| {
            let all = part.x.iter().chain(&part.w);
            all.flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()
        };
        let names = [&train, &held_out].map(|part| {
            let spectra = part.x.par_chunks_exact(points);
            let spectra = spectra.zip(part.w.par_chunks_exact(points));
            spectra.map(|(x, w)| leaks::name(&[x, w], None))
        });
        let [known, others] = names;
        Self {
            digest: Digest::of_parts([&bytes(&train)[..], &bytes(&held_out)]),
            leaked: leaks::share(known, others),
            train,
            held_out,
        }
    }
}

fn part(maker: &Maker, seed: u64, first: u64, count: usize) -> Weighted {
    let items = first..first + count as u64;
    let made: Vec<_> = items
        .into_par_iter()
        .map(|item| one(maker, seed, item))
        .collect();
    together(made)
}

/// Spectra one behind the other.
fn together(made: Vec<(Vec<f32>, Vec<f32>)>) -> Weighted {
    let mut part = Weighted {
        x: vec![],
        w: vec![],
    };
    for (x, w) in made {
        part.x.extend(x);
        part.w.extend(w);
    }
    part
}

fn one(maker: &Maker, seed: u64, item: u64) -> (Vec<f32>, Vec<f32>) {
    let mut bytes = vec![];
    maker.append(seed, item, &mut bytes);
    let numbers = read_f32(&bytes);
    let (flux, weights) = numbers.split_at(numbers.len() / 2);
    grouped(flux, weights)
}

/// A spectrum by groups of its pixels.
fn grouped(flux: &[f32], weights: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let groups = flux.chunks_exact(GROUP).zip(weights.chunks_exact(GROUP));
    groups.map(|(flux, weights)| group(flux, weights)).unzip()
}

/// A number of `f32`, as spectra always had it; that of `f64`, where it would be too large.
fn within_f32(number: f32, or: impl FnOnce() -> f64) -> f64 {
    if number.is_finite() {
        number.into()
    } else {
        or()
    }
}

/// The number of a group of pixels, and its weight.
fn group(flux: &[f32], weights: &[f32]) -> (f32, f32) {
    let sum = within_f32(weights.iter().sum(), || {
        weights.iter().map(|w| f64::from(*w)).sum()
    });
    if sum <= 0.0 {
        return (0.0, 0.0);
    }
    let pairs = flux.iter().zip(weights);
    let product =
        |(flux, w): (&f32, &f32)| within_f32(flux * w, || f64::from(*flux) * f64::from(*w));
    let mean = pairs.map(product).sum::<f64>() / sum;
    let variance = 1.0 / (sum * (1.0 + mean * mean));
    let x = libm::asinh(mean) - libm::asinh(1.0);
    (
        x as f32,
        (1.0 / variance.max(f64::from(FLOOR * FLOOR))) as f32,
    )
}

#[cfg(test)]
mod tests {
    use super::{GROUP, Spectra, group};

    #[test]
    fn groups_are_means_and_masked_pixels_do_not_count() {
        let (flux, weights) = ([2.0; GROUP], [4.0; GROUP]);
        let (x, w) = group(&flux, &weights);
        assert!((x - (2_f32.asinh() - 1_f32.asinh())).abs() < 1e-6);
        // A variance of 1 / 64 / 5 is below that of the floor.
        assert!((w - 100.0).abs() < 1e-3);
        let (mut spoiled, mut masked) = (flux, weights);
        (spoiled[3], masked[3]) = (90.0, 0.0);
        assert_eq!(group(&spoiled, &masked).0.to_bits(), x.to_bits());
        let (_, w) = group(&flux, &[0.01; GROUP]);
        assert!((w - 0.16 * 5.0).abs() < 1e-4, "{w}");
        assert_eq!(group(&spoiled, &[0.0; GROUP]), (0.0, 0.0));
    }

    #[test]
    fn products_and_sums_that_no_f32_holds_are_none_the_less_numbers() {
        let (x, w) = group(&[1e30; GROUP], &[1e20; GROUP]);
        assert!(
            (x - (2e30_f64.ln() - 1_f64.asinh()) as f32).abs() < 1e-4,
            "{x}"
        );
        assert!((w - 100.0).abs() < 1e-3, "{w}");
        let (x, _) = group(&[2.0; GROUP], &[3e38; GROUP]);
        assert!((x - (2_f32.asinh() - 1_f32.asinh())).abs() < 1e-6, "{x}");
    }

    #[test]
    fn spectra_are_near_their_continua_with_lines_above() {
        let spectra = Spectra::new(2, 40, 256, 0.2).unwrap();
        assert_eq!(
            (spectra.train.x.len(), spectra.held_out.w.len()),
            (40 * 256, 8 * 256)
        );
        let mut sorted = spectra.train.x.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let at = |share: usize| sorted[share * (sorted.len() - 1) / 1000];
        assert!(
            at(500).abs() < 0.2 && at(995) > 0.8,
            "{} {}",
            at(500),
            at(995)
        );
        assert!(sorted.iter().all(|x| x.is_finite()));
        assert!(spectra.train.w.iter().all(|w| (0.0..=100.001).contains(w)));
        assert_ne!(spectra.train.x[..256], spectra.held_out.x[..256]);
        assert!(Spectra::new(2, 1, 2, 0.2).unwrap_err().contains("`points`"));
    }
}
