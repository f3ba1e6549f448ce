//! Spectra of a file: an array as `assay synth make spectra` writes it, of which the last tenth is held out.

use std::path::Path;

use assay_protocol::Failure;
use rayon::prelude::*;

use super::{GROUP, Spectra, Weighted, grouped, together};
use crate::synthetic::items::{Form, npy, read_f32};

impl Spectra {
    /// A file's spectra: of each, fluxes and inverse variances of 16 pixels for each point.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, has spectra of another length or fewer than two, or one that cannot be learned.
    pub fn of_file(path: &Path, points: usize) -> Result<Self, Failure> {
        let say = |what: String| Failure::Failed(format!("parameter `fluxes`: {what}"));
        let in_file = |what: String| say(format!("{}: {what}", path.display()));
        let pixels = GROUP * points;
        let form = Form::Array {
            element: "<f4",
            bytes: 4,
            shape: vec![2, pixels],
        };
        let (bytes, count) = npy::read(path, &form).map_err(|error| {
            say(format!(
                "{error}; `points` is {points}, of {GROUP} pixels each"
            ))
        })?;
        if count < 2 {
            return Err(in_file(format!(
                "it has {count} spectra: expected at least 2, for the last tenth is held out"
            )));
        }
        let spectra = bytes.par_chunks_exact(form.bytes()).enumerate();
        let spectra = spectra
            .map(|(number, bytes)| {
                let mut numbers = read_f32(bytes);
                let (flux, weights) = numbers.split_at_mut(pixels);
                check(flux, weights).map_err(|what| format!("spectrum {number}: {what}"))?;
                Ok(grouped(flux, weights))
            })
            .collect::<Result<Vec<_>, String>>()
            .map_err(in_file)?;
        let Weighted { mut x, mut w } = together(spectra);
        let split = (count - count.div_ceil(10)) * points;
        let held_out = Weighted {
            x: x.split_off(split),
            w: w.split_off(split),
        };
        Ok(Self::of_parts([Weighted { x, w }, held_out], points))
    }
}

/// That a spectrum can be learned. What stands where nothing was measured does not count, whatever it is.
fn check(flux: &mut [f32], weights: &[f32]) -> Result<(), String> {
    let is_weight = |w: &f32| w.is_finite() && *w >= 0.0;
    if let Some(pixel) = weights.iter().position(|w| !is_weight(w)) {
        return Err(format!(
            "its inverse variance {pixel} is {}: expected a number of at least 0, and 0 where nothing was measured",
            weights[pixel]
        ));
    }
    if weights.iter().all(|w| *w == 0.0) {
        return Err(
            "all its inverse variances are 0: nothing of it was measured; leave it out".into(),
        );
    }
    for (pixel, (flux, w)) in flux.iter_mut().zip(weights).enumerate() {
        if flux.is_finite() {
            continue;
        }
        if *w > 0.0 {
            return Err(format!(
                "its flux {pixel} is {flux}: expected a number, or an inverse variance of 0 where nothing was measured"
            ));
        }
        *flux = 0.0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Form, GROUP, Spectra, npy};
    use crate::synthetic::generators::spectra::Spectra as Recipe;
    use crate::synthetic::items::bytes;

    const POINTS: usize = 32;
    const ITEMS: usize = 30;

    /// Bytes of spectra as they are made.
    fn made() -> Vec<u8> {
        let recipe = Recipe {
            points: GROUP * POINTS,
            most_redshift: 0.2,
            ..Recipe::default()
        };
        bytes(&recipe.build().unwrap(), 7, 0, ITEMS as u64)
    }

    fn read(items: usize, bytes: &[u8]) -> Result<Spectra, String> {
        let form = Form::Array {
            element: "<f4",
            bytes: 4,
            shape: vec![2, GROUP * POINTS],
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let header = npy::header(&form, items as u64).unwrap();
        std::fs::write(file.path(), [&header[..], bytes].concat()).unwrap();
        Spectra::of_file(file.path(), POINTS).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_file_has_the_numbers_of_the_generator() {
        let stored = read(ITEMS, &made()).unwrap();
        let generated = Spectra::new(7, 27, POINTS, 0.2).unwrap();
        assert_eq!(stored.train, generated.train);
        assert_eq!(stored.held_out.x.len(), 3 * POINTS);
        assert!(stored.leaked < 1e-12 && generated.leaked < 1e-12);
        // The last three once more as the first.
        let (bytes, of_one) = (made(), made().len() / ITEMS);
        let last = &bytes[27 * of_one..];
        let twice = [last, &bytes[3 * of_one..]].concat();
        assert!((read(ITEMS, &twice).unwrap().leaked - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_learned_is_told_by_its_place() {
        let of_one = 2 * GROUP * POINTS;
        let edited = |edits: &[(usize, f32)]| {
            let mut bytes = made();
            for (place, value) in edits {
                bytes[4 * place..][..4].copy_from_slice(&value.to_le_bytes());
            }
            read(ITEMS, &bytes)
        };
        let weight = 3 * of_one + GROUP * POINTS;
        let refused = |edits: &[(usize, f32)], words: &str| {
            let found = edited(edits).unwrap_err();
            assert!(
                found.contains("parameter `fluxes`: ") && found.contains(words),
                "{found}"
            );
        };
        refused(
            &[(weight + 5, f32::NAN)],
            "spectrum 3: its inverse variance 5 is NaN",
        );
        refused(
            &[(weight, -1.0)],
            "spectrum 3: its inverse variance 0 is -1",
        );
        let nothing: Vec<_> = (0..GROUP * POINTS).map(|i| (weight + i, 0.0)).collect();
        refused(&nothing, "spectrum 3: all its inverse variances are 0");
        refused(
            &[(3 * of_one + 2, f32::INFINITY), (weight + 2, 1.0)],
            "spectrum 3: its flux 2 is inf",
        );
        let masked = edited(&[(3 * of_one + 2, f32::NAN), (weight + 2, 0.0)]).unwrap();
        assert!(masked.train.x.iter().all(|x| x.is_finite()));
        let words = read(1, &made()[..4 * of_one]).unwrap_err();
        assert!(words.contains("it has 1 spectra"), "{words}");
        let words = read(ITEMS, &made()[1..]).unwrap_err();
        assert!(
            words.contains("cut short") && words.contains("`points` is 32"),
            "{words}"
        );
    }
}
