//! Spectra of galaxies: emission lines on a continuum, redshifted, with noise and masks, as a survey's pipeline leaves them.
//!
//! A spectrum is a row of fluxes and a row of inverse variances, 0 where a pixel is masked, on wavelengths equally spaced in their
//! logarithm, as those of the Sloan survey are (D. Stoughton and others, AJ 123, 485, 2002, section 4.10.1). On such a grid a
//! redshift is a shift and all lines of one velocity have one width. Rest wavelengths are those in vacuum of that survey's table
//! of lines; ratios within a doublet and of the Balmer series are fixed by physics (D. Osterbrock, G. Ferland, "Astrophysics of
//! Gaseous Nebulae and Active Galactic Nuclei", 2nd edition, 2006: case B, 10^4 K, table 4.4), those between elements
//! by what kind of galaxy it is (J. Baldwin, M. Phillips, R. Terlevich, PASP 93, 5, 1981, figure 5).

mod check;
mod device;

use assay_kernels::program::Program;
use serde::{Deserialize, Serialize};

use super::super::items::{Form, Items, append_f32};
use super::super::random::{Bits as _, Draws};
use super::super::table::{Column, Table, Values};

/// Random stream of its items.
const STREAM: u64 = 21;
/// Velocity of light, km/s.
const LIGHT_KM_S: f64 = 299_792.458;
/// Half the width of a line that is drawn, in standard deviations: what is left out is 4e-6 of its height.
const REACH: f64 = 5.0;
/// Least and largest standard deviation of lines, and equivalent width of H beta at rest in Ångström.
const WIDTHS_KM_S: [f64; 2] = [50.0, 400.0];
const EQUIVALENT_WIDTHS: [f64; 2] = [2.0, 60.0];
/// Lines of the night sky, in Ångström, which are where the noise is highest.
const SKY: [f64; 12] = [
    5578.9, 5891.6, 6302.1, 6365.5, 6865.7, 7278.3, 7342.9, 7752.6, 8346.6, 8401.5, 8887.9, 8922.0,
];

/// Kinds of galaxies, and of each [O III], [N II], [S II] and [O II] over their Balmer line, as natural logarithms.
const KINDS: [(&str, [f64; 4]); 3] = [
    ("star-forming", [0.0, -1.1, -1.2, 1.1]),
    ("seyfert", [2.1, -0.1, -0.8, 0.7]),
    ("liner", [0.9, 0.2, -0.2, 1.6]),
];

/// What a line's strength goes with, beside the strength of H beta.
#[derive(Clone, Copy)]
enum Source {
    Hydrogen,
    Oxygen3,
    Nitrogen2,
    Sulphur2,
    Oxygen2,
}

/// Lines: their rest wavelength in vacuum in Ångström, what they go with, and their part of it.
const LINES: [(f64, Source, f64); 14] = [
    (3727.09, Source::Oxygen2, 0.42),
    (3729.88, Source::Oxygen2, 0.58),
    (3869.81, Source::Oxygen3, 0.08),
    (4102.89, Source::Hydrogen, 0.259),
    (4341.68, Source::Hydrogen, 0.468),
    (4862.68, Source::Hydrogen, 1.0),
    (4960.30, Source::Oxygen3, 0.251),
    (5008.24, Source::Oxygen3, 0.749),
    (6302.05, Source::Sulphur2, 0.2),
    (6549.85, Source::Nitrogen2, 0.246),
    (6564.61, Source::Hydrogen, 2.863),
    (6585.27, Source::Nitrogen2, 0.754),
    (6718.29, Source::Sulphur2, 0.55),
    (6732.67, Source::Sulphur2, 0.45),
];

/// What spectra are to be like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spectra {
    /// Pixels of each.
    pub points: usize,
    /// First wavelength, in Ångström.
    pub from_angstrom: f64,
    /// Last wavelength, in Ångström.
    pub to_angstrom: f64,
    /// Largest redshift.
    pub most_redshift: f64,
    /// Signal to noise of a pixel of the continuum: the least,
    pub least_snr: f64,
    /// and the most.
    pub most_snr: f64,
    /// How many runs of masked pixels there are on average: at most one in [`PIXELS_PER_MASK`].
    pub masks: f64,
}

impl Default for Spectra {
    fn default() -> Self {
        Self {
            points: 4096,
            from_angstrom: 3600.0,
            to_angstrom: 10_400.0,
            most_redshift: 1.0,
            least_snr: 3.0,
            most_snr: 30.0,
            masks: 4.0,
        }
    }
}

/// What is known of a spectrum.
#[derive(Clone, Debug, PartialEq)]
struct Truth {
    kind: usize,
    redshift: f64,
    /// Standard deviation of the lines, in km/s.
    width_km_s: f64,
    /// Equivalent width of H beta at rest, in Ångström.
    equivalent_width: f64,
    /// The continuum: 1 at the middle of the grid, with this slope and curvature in logarithms.
    slope: f64,
    curvature: f64,
    snr: f64,
    /// First pixel and length of each masked run.
    masks: Vec<(usize, usize)>,
}

/// A recipe with what all spectra share.
#[derive(Clone)]
pub struct Maker {
    recipe: Spectra,
    /// Logarithm of the first wavelength, and from pixel to pixel.
    log_from: f64,
    log_step: f64,
    /// The noise of each pixel over that far from lines of the sky.
    sky: Vec<f32>,
}

/// Pixels that a run of masked ones has around it, at least on average.
const PIXELS_PER_MASK: f64 = 64.0;

impl Spectra {
    /// With no more masks than so many pixels have room for: what a recipe has that says nothing of them.
    #[must_use]
    pub fn with_room_for_masks(self) -> Self {
        let most = self.points as f64 / PIXELS_PER_MASK;
        Self {
            masks: self.masks.min(most),
            ..self
        }
    }

    /// What makes them.
    ///
    /// # Errors
    /// The parameter that is out of its range.
    pub fn build(&self) -> Result<Maker, String> {
        let Self {
            points,
            from_angstrom: from,
            to_angstrom: to,
            ..
        } = *self;
        let within = |name: &str, value: f64, least: f64, most: f64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("`{name}` is {value}: expected {least} to {most}"))
            }
        };
        within("points", points as f64, 64.0, f64::from(1 << 20))?;
        within("from_angstrom", from, 100.0, 1e6)?;
        within("to_angstrom", to, from * 1.01, 1e7)?;
        within("most_redshift", self.most_redshift, 0.0, 20.0)?;
        within("least_snr", self.least_snr, 1e-3, 1e6)?;
        within("most_snr", self.most_snr, self.least_snr, 1e6)?;
        within("masks", self.masks, 0.0, points as f64 / PIXELS_PER_MASK)?;
        let log_from = libm::log(from);
        let log_step = (libm::log(to) - log_from) / (points - 1) as f64;
        let mut sky = vec![1.0_f32; points];
        for line in SKY {
            let centre = (libm::log(line) - log_from) / log_step;
            let width = (1e-4 / log_step).max(1.0);
            for (pixel, height) in bell(centre, width, points) {
                sky[pixel] += 4.0 * height as f32;
            }
        }
        Ok(Maker {
            recipe: self.clone(),
            log_from,
            log_step,
            sky,
        })
    }
}

/// Pixels within reach of a bell curve, and its height there, 1 at its centre; each height from the last by two products.
fn bell(centre: f64, width: f64, points: usize) -> impl Iterator<Item = (usize, f64)> {
    let first = (centre - REACH * width).ceil().clamp(0.0, points as f64);
    let end = (centre + REACH * width).floor() + 1.0;
    let end = end.clamp(first, points as f64);
    let (offset, square) = (first - centre, width * width);
    let mut height = libm::exp(-0.5 * offset * offset / square);
    let mut factor = libm::exp(-(offset + 0.5) / square);
    let fall = libm::exp(-1.0 / square);
    (first as usize..end as usize).map(move |pixel| {
        let now = height;
        height *= factor;
        factor *= fall;
        (pixel, now)
    })
}

impl Maker {
    fn truth(&self, draws: &mut Draws) -> Truth {
        let recipe = &self.recipe;
        let between = |least: f64, most: f64, u: f64| {
            libm::exp(libm::log(least) + (libm::log(most) - libm::log(least)) * u)
        };
        let mut truth = Truth {
            kind: draws.below(KINDS.len() as u64) as usize,
            redshift: recipe.most_redshift * draws.unit(),
            width_km_s: between(WIDTHS_KM_S[0], WIDTHS_KM_S[1], draws.unit()),
            equivalent_width: between(EQUIVALENT_WIDTHS[0], EQUIVALENT_WIDTHS[1], draws.unit()),
            slope: -1.5 + 3.0 * draws.unit(),
            curvature: 0.4 * draws.normal(),
            snr: between(recipe.least_snr, recipe.most_snr, draws.unit()),
            masks: vec![],
        };
        truth.masks = self.masks(draws);
        truth
    }

    /// As many runs as a Poisson process has: gaps between their starts are exponential.
    fn masks(&self, draws: &mut Draws) -> Vec<(usize, usize)> {
        let Spectra { points, masks, .. } = self.recipe;
        let mut all = vec![];
        if masks <= 0.0 {
            return all;
        }
        let mut at = 0.0;
        loop {
            at -= libm::log(draws.unit()) / masks;
            if at >= 1.0 {
                return all;
            }
            let first = (at * points as f64) as usize;
            let len = 1 + draws.below(12) as usize;
            all.push((first, len.min(points - first)));
        }
    }

    /// Strength of a line over that of H beta.
    fn strength(kind: usize, source: Source) -> f64 {
        // H alpha is what nitrogen and sulphur are compared with.
        const H_ALPHA: f64 = 2.863;
        let [oxygen3, nitrogen2, sulphur2, oxygen2] = KINDS[kind].1;
        match source {
            Source::Hydrogen => 1.0,
            Source::Oxygen3 => libm::exp(oxygen3),
            Source::Nitrogen2 => H_ALPHA * libm::exp(nitrogen2),
            Source::Sulphur2 => H_ALPHA * libm::exp(sulphur2),
            Source::Oxygen2 => libm::exp(oxygen2),
        }
    }

    /// The flux without noise, in units of the continuum at the middle of the grid.
    fn flux(&self, truth: &Truth) -> Vec<f32> {
        let points = self.recipe.points;
        let middle = (points - 1) as f64 / 2.0;
        let start = -middle * self.log_step;
        let step = self.log_step;
        // A parabola in logarithms: each value from the last by two products.
        let mut value = libm::exp((truth.slope + truth.curvature * start) * start);
        let mut factor = libm::exp((truth.slope + truth.curvature * (2.0 * start + step)) * step);
        let growth = libm::exp(2.0 * truth.curvature * step * step);
        let mut flux = Vec::with_capacity(points);
        for _ in 0..points {
            flux.push(value as f32);
            value *= factor;
            factor *= growth;
        }
        let width = truth.width_km_s / LIGHT_KM_S / step;
        let beta = self.height_of_beta(truth);
        for (rest, source, part) in LINES {
            let log = libm::log(rest * (1.0 + truth.redshift));
            let centre = (log - self.log_from) / step;
            // Of one area in Ångström a line is lower the longer its wavelength is.
            let height = beta * part * Self::strength(truth.kind, source) * BETA / rest;
            for (pixel, of_height) in bell(centre, width, points) {
                flux[pixel] += (height * of_height) as f32;
            }
        }
        flux
    }

    /// Height of H beta over the continuum, whether or not the grid reaches to it.
    fn height_of_beta(&self, truth: &Truth) -> f64 {
        let log = libm::log(BETA * (1.0 + truth.redshift));
        let middle = (self.recipe.points - 1) as f64 / 2.0;
        let x = log - self.log_from - middle * self.log_step;
        let continuum = libm::exp((truth.slope + truth.curvature * x) * x);
        let width_angstrom = BETA * truth.width_km_s / LIGHT_KM_S;
        continuum * truth.equivalent_width / (width_angstrom * (2.0 * std::f64::consts::PI).sqrt())
    }

    fn truths(&self, seed: u64, first: u64, items: usize) -> Vec<Truth> {
        let truth = |item| self.truth(&mut Draws::of_row(seed, STREAM, item));
        (first..first + items as u64).map(truth).collect()
    }
}

/// Rest wavelength of H beta.
const BETA: f64 = 4862.68;

impl Items for Maker {
    fn form(&self) -> Form {
        Form::Array {
            element: "<f4",
            bytes: 4,
            shape: vec![2, self.recipe.points],
        }
    }

    fn append(&self, seed: u64, item: u64, out: &mut Vec<u8>) {
        let mut draws = Draws::of_row(seed, STREAM, item);
        let truth = self.truth(&mut draws);
        let mut flux = self.flux(&truth);
        let mut noise = vec![0.0; flux.len()];
        draws.normals(&mut noise);
        let scale = (1.0 / truth.snr) as f32;
        let inverse = 1.0 / (scale * scale);
        for ((flux, noise), sky) in flux.iter_mut().zip(&mut noise).zip(&self.sky) {
            *flux += scale * sky * *noise;
            // The noise is spent: its place takes the inverse variance.
            *noise = inverse / (sky * sky);
        }
        for (first, len) in &truth.masks {
            for pixel in *first..first + len {
                // What a cosmic ray leaves: far too much flux, and no information.
                flux[pixel] += 20.0 * scale * self.sky[pixel];
                noise[pixel] = 0.0;
            }
        }
        append_f32(&flux, out);
        append_f32(&noise, out);
    }

    fn table(&self, seed: u64, first: u64, items: usize) -> Table {
        let truths = self.truths(seed, first, items);
        let number = |name: &str, decimals: Option<u8>, value: fn(&Truth) -> f64| Column {
            name: name.into(),
            values: Values::Number {
                values: truths.iter().map(value).collect(),
                decimals,
            },
        };
        let kind = Column {
            name: "kind".into(),
            values: Values::Category {
                codes: truths.iter().map(|truth| truth.kind as u32).collect(),
                labels: std::sync::Arc::new(KINDS.map(|(name, _)| name.to_owned()).to_vec()),
            },
        };
        let masked = |truth: &Truth| truth.masks.iter().map(|(_, len)| *len as f64).sum();
        Table {
            columns: vec![
                kind,
                number("redshift", None, |truth| truth.redshift),
                number("width_km_s", None, |truth| truth.width_km_s),
                number("equivalent_width", None, |truth| truth.equivalent_width),
                number("slope", None, |truth| truth.slope),
                number("curvature", None, |truth| truth.curvature),
                number("snr", None, |truth| truth.snr),
                number("masked", Some(0), masked),
            ],
        }
    }

    fn program(&self, seed: u64, items: usize) -> Option<Program> {
        Some(device::program(self, seed, items))
    }

    fn check(&self, seed: u64, item: u64, bytes: &[u8]) -> Result<(), String> {
        let truth = &self.truths(seed, item, 1)[0];
        check::check(self, truth, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Items as _, Spectra};
    use crate::synthetic::items::{bytes, read_f32};

    #[test]
    fn spectra_agree_with_their_labels_and_no_longer_if_shifted() {
        let maker = Spectra::default().build().unwrap();
        let mut refused = 0;
        for item in 0..60 {
            let one = bytes(&maker, 3, item, 1);
            maker.check(3, item, &one).unwrap();
            // By 12 pixels, the width of a line or less.
            let (flux, weight) = one.split_at(one.len() / 2);
            let shifted = [&flux[48..], &flux[..48], weight].concat();
            refused += u32::from(maker.check(3, item, &shifted).is_err());
        }
        assert!(refused > 40, "{refused}");
    }

    #[test]
    fn noise_and_masks_are_checked() {
        let maker = Spectra::default().build().unwrap();
        let one = bytes(&maker, 3, 0, 1);
        let mut loud = read_f32(&one);
        loud[..4096].iter_mut().for_each(|flux| *flux *= 1.5);
        let mut again = vec![];
        super::append_f32(&loud, &mut again);
        assert!(maker.check(3, 0, &again).unwrap_err().contains("noise"));
        let mut unmasked = read_f32(&one);
        unmasked[4096..]
            .iter_mut()
            .for_each(|weight| *weight = weight.max(1.0));
        let item = (0..20).find(|item| !maker.truths(3, *item, 1)[0].masks.is_empty());
        let mut again = vec![];
        super::append_f32(&unmasked, &mut again);
        assert!(maker.check(3, item.unwrap(), &again).is_err());
        assert!(maker.check(3, 0, &one[4..]).is_err());
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let refused = |recipe: Spectra| recipe.build().err().unwrap();
        let points = Spectra {
            points: 3,
            ..Spectra::default()
        };
        assert_eq!(refused(points), "`points` is 3: expected 64 to 1048576");
        let range = Spectra {
            to_angstrom: 5.0,
            ..Spectra::default()
        };
        assert!(refused(range).contains("to_angstrom"));
        let snr = Spectra {
            most_snr: f64::NAN,
            ..Spectra::default()
        };
        assert!(refused(snr).contains("most_snr"));
    }
}
