//! Spectra on a CUDA device: the numbers of a recipe as its kernels have them, and the comparison with the host's spectra.

use assay_kernels::buffer::Buffer;
use assay_kernels::element::DType;
use assay_kernels::program::{Checked, Fill, Outcome, Program};
use assay_kernels::synthetic::spectra::{self, Made};
use assay_protocol::Work;

use super::{BETA, EQUIVALENT_WIDTHS, KINDS, LIGHT_KM_S, LINES, Maker, REACH, STREAM, WIDTHS_KM_S};
use crate::synthetic::items::bytes;
use crate::synthetic::random;

/// What makes the first spectra of a seed.
pub fn program(maker: &Maker, seed: u64, items: usize) -> Program {
    let points = maker.recipe.points;
    let numbers = 2 * items * points;
    let mut program = Program::new(Work {
        bytes: Some(4 * numbers as u64),
        items: Some(items as u64),
        formula: "bytes = those of the items; items = items".into(),
        ..Work::default()
    });
    let made = Made {
        recipe: input(&mut program, "recipe", DType::F64, numbers_of(maker)),
        sky: input(&mut program, "sky", DType::F32, maker.sky.clone()),
        quantiles: input(
            &mut program,
            "quantiles",
            DType::F32,
            random::quantiles().to_vec(),
        ),
        out: program.output("spectra", DType::F32, numbers),
    };
    let brick = spectra::Spectra {
        items,
        points,
        seed,
        stream: STREAM,
        first: 0,
    };
    brick.add(&mut program, made);
    let maker = maker.clone();
    program.check(move |outcome| compared(&maker, seed, items, outcome, made.out));
    program
}

fn input<T: assay_kernels::element::Element>(
    program: &mut Program,
    name: &'static str,
    dtype: DType,
    values: Vec<T>,
) -> usize {
    let len = values.len();
    let fill = move |buffer: &mut Buffer, _| buffer.get_mut().copy_from_slice(&values);
    program.input(name, dtype, len, Fill::Host(Box::new(fill)))
}

/// The numbers of a recipe, in the order of `Number` in the kernels' source.
fn numbers_of(maker: &Maker) -> Vec<f64> {
    let recipe = &maker.recipe;
    let range = |[least, most]: [f64; 2]| [libm::log(least), libm::log(most) - libm::log(least)];
    let mut numbers = vec![maker.log_from, maker.log_step, recipe.most_redshift];
    for bounds in [
        WIDTHS_KM_S,
        EQUIVALENT_WIDTHS,
        [recipe.least_snr, recipe.most_snr],
    ] {
        numbers.extend(range(bounds));
    }
    numbers.extend([
        recipe.masks,
        (recipe.points - 1) as f64 / 2.0,
        LIGHT_KM_S,
        BETA,
        (2.0 * std::f64::consts::PI).sqrt(),
        REACH,
    ]);
    numbers.extend(LINES.map(|(rest, ..)| rest));
    numbers.extend(LINES.map(|(_, _, part)| part));
    for kind in 0..KINDS.len() {
        numbers.extend(LINES.map(|(_, source, _)| Maker::strength(kind, source)));
    }
    numbers
}

/// All of them, made once more by the host.
fn compared(maker: &Maker, seed: u64, items: usize, outcome: &Outcome, out: usize) -> Checked {
    let found = outcome.get::<f32>(out);
    let expected = bytes(maker, seed, 0, items as u64);
    let numbers = expected.chunks_exact(4).zip(found);
    let different = numbers
        .filter(|(expected, found)| found.to_le_bytes() != **expected)
        .count();
    Checked::exact(
        different,
        "numbers whose bits are not those of the spectra that the host makes",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use assay_kernels::device::Team;

    use super::super::Spectra;
    use super::{bytes, program};

    #[test]
    fn one_bit_that_differs_is_noticed() {
        let recipe = Spectra {
            points: 70,
            masks: 1.0,
            ..Spectra::default()
        };
        let maker = recipe.build().unwrap();
        let program = program(&maker, 5, 3);
        let mut buffers = program.host_buffers(&Team::new(1).unwrap(), 5).unwrap();
        let out = program
            .buffers
            .iter()
            .position(|spec| spec.name == "spectra");
        let out = out.unwrap();
        let made = bytes(&maker, 5, 0, 3);
        buffers.0[out].bytes_mut().copy_from_slice(&made);
        assert!(program.judge(&buffers, &BTreeMap::new(), 1).passed);
        *buffers.0[out].bytes_mut().last_mut().unwrap() ^= 1;
        let judged = program.judge(&buffers, &BTreeMap::new(), 1);
        assert!(!judged.passed && judged.error == Some(1.0), "{judged:?}");
    }
}
