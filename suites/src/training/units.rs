//! Gradients unit by unit: adaptive clipping, and centralisation, of whatever are [units](Units) of a parameter: rows, or columns.
//!
//! Sources: see [`assay_kernels::ml::gradient`].

use assay_kernels::ml::columns::{Change, ColumnUnits};
use assay_kernels::ml::gradient::{Centralise, ClipAdaptive};

use super::model::{Model, Parameter, Units};

/// Norm of parameters that a unit's gradient is compared with, at least (A. Brock et al., ICML 2021, section 4.1).
const EPSILON: f32 = 1e-3;

/// Appends the clipping of each unit's gradient to `clipping` times the norm of its parameters.
pub fn clip(model: &mut Model, parameter: &Parameter, clipping: f32) {
    let Some(gradient) = parameter.gradient else {
        return;
    };
    let [rows, cols] = parameter.shape;
    let brick = ClipAdaptive {
        rows,
        cols,
        clipping,
        epsilon: EPSILON,
    };
    match parameter.units {
        Units::Rows => brick.add(&mut model.program, gradient, parameter.buffer),
        Units::Columns(_) => {
            let epsilon = EPSILON;
            columns(
                model,
                parameter,
                gradient,
                Change::Clip { clipping, epsilon },
            );
        }
    }
}

/// Appends taking the mean out of each unit's gradient, of matrices alone.
pub fn centralise(model: &mut Model, parameter: &Parameter) {
    let Some(gradient) = parameter.gradient.filter(|_| parameter.is_matrix()) else {
        return;
    };
    let [rows, cols] = parameter.shape;
    match parameter.units {
        Units::Rows => Centralise { rows, cols }.add(&mut model.program, gradient),
        Units::Columns(_) => columns(model, parameter, gradient, Change::Centralise),
    }
}

/// Appends a change of units that are columns.
fn columns(model: &mut Model, parameter: &Parameter, gradient: usize, change: Change) {
    let [rows, cols] = parameter.shape;
    let of_unit = match parameter.units {
        Units::Rows => rows,
        Units::Columns(rows) => rows,
    };
    let brick = ColumnUnits {
        rows,
        cols,
        of_unit,
        change,
    };
    brick.add(&mut model.program, gradient, parameter.buffer);
}

#[cfg(test)]
mod tests {
    use assay_kernels::device::Team;
    use assay_protocol::Philox;

    use super::{Model, Parameter, Units, centralise, clip};
    use crate::training::model::Start;

    const ROWS: usize = 6;
    const COLS: usize = 150;

    fn gradients() -> Vec<f32> {
        let mut numbers = vec![0.0; ROWS * COLS];
        Philox::new(3, 3).fill_signed_f32(0, &mut numbers);
        numbers
    }

    /// Gradients after a change, and the parameters.
    fn after(
        units: Units,
        threads: usize,
        change: impl Fn(&mut Model, &Parameter),
    ) -> [Vec<f32>; 2] {
        let mut model = Model::new(1, true);
        let start = Start::Uniform(0.1);
        let tensor = model.parameter_of_units("w", [ROWS, COLS], units, start);
        let parameter = model.parameter_of(tensor).clone();
        change(&mut model, &parameter);
        let team = Team::new(threads).unwrap();
        let mut buffers = model.program.host_buffers(&team, 1).unwrap();
        let gradient = parameter.gradient.unwrap();
        buffers.0[gradient]
            .get_mut::<f32>()
            .copy_from_slice(&gradients());
        model.program.take_cpu().unwrap()(&team, &mut buffers, 1);
        [gradient, parameter.buffer].map(|buffer| buffers.get::<f32>(buffer).to_vec())
    }

    /// Places of each unit's elements.
    fn places(units: Units) -> Vec<Vec<usize>> {
        let blocks = |rows: usize| (0..ROWS / rows).flat_map(|b| (0..COLS).map(move |c| (b, c)));
        match units {
            Units::Rows => (0..ROWS)
                .map(|r| (r * COLS..(r + 1) * COLS).collect())
                .collect(),
            Units::Columns(rows) => blocks(rows)
                .map(|(b, c)| (0..rows).map(|r| (b * rows + r) * COLS + c).collect())
                .collect(),
        }
    }

    #[test]
    fn units_are_clipped_and_centralised_as_their_papers_say() {
        let before = gradients();
        for units in [Units::Rows, Units::Columns(ROWS), Units::Columns(2)] {
            let [clipped, values] = after(units, 1, |model, p| clip(model, p, 0.5));
            let [centred, _] = after(units, 1, centralise);
            let mut shrunk = 0;
            for unit in places(units) {
                let norm = |all: &[f32]| {
                    unit.iter()
                        .map(|i| f64::from(all[*i]).powi(2))
                        .sum::<f64>()
                        .sqrt()
                };
                let most = 0.5 * norm(&values).max(1e-3);
                let factor = (most / norm(&before)).min(1.0);
                shrunk += u32::from(factor < 1.0);
                let mean =
                    unit.iter().map(|i| f64::from(before[*i])).sum::<f64>() / unit.len() as f64;
                for i in &unit {
                    let exact = f64::from(before[*i]);
                    assert!((f64::from(clipped[*i]) - factor * exact).abs() < 1e-6);
                    assert!((f64::from(centred[*i]) - (exact - mean)).abs() < 1e-6);
                }
            }
            assert!(shrunk > 0, "nothing was clipped");
            assert_eq!(clipped, after(units, 3, |model, p| clip(model, p, 0.5))[0]);
            assert_eq!(centred, after(units, 3, centralise)[0]);
        }
        let [kept, _] = after(Units::Columns(ROWS), 1, |model, p| clip(model, p, 1e9));
        assert_eq!(kept, before);
    }
}
