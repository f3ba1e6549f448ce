//! Gradients of trainings beside those by central differences in `f64`.

use assay_kernels::element::Element;
use assay_protocol::Philox;
use assay_suites::training::run::Training;

/// Adds noise to all parameters, so that none is 0, or 1; codes stay.
pub fn disturb(training: &mut Training) {
    let random = Philox::new(9, 9);
    let is_coded: Vec<bool> = training
        .parameters
        .iter()
        .map(|p| p.scales.is_some())
        .collect();
    let mut tensors: Vec<Vec<u8>> = training
        .tensors()
        .map(|(_, _, buffer)| training.session().read(buffer).unwrap().bytes().to_vec())
        .collect();
    for ((number, tensor), is_coded) in tensors.iter_mut().enumerate().zip(is_coded) {
        if is_coded {
            continue;
        }
        for (i, bytes) in tensor.chunks_exact_mut(4).enumerate() {
            let x = f32::from_le_bytes(bytes.try_into().unwrap());
            let noise = random.signed_f32((number * 10_000 + i) as u64);
            bytes.copy_from_slice(&(x + 0.25 * noise).to_le_bytes());
        }
    }
    let tensors: Vec<_> = tensors.iter().map(Vec::as_slice).collect();
    training.set_tensors(&tensors).unwrap();
}

/// What a buffer of that name holds.
pub fn buffer<T: Element>(training: &Training, name: &str) -> Vec<T> {
    let mut names = training.session().names();
    let (index, _) = names.find(|(_, of_buffer)| *of_buffer == name).unwrap();
    training.session().read(index).unwrap().get().to_vec()
}

/// Parameters, as references compute with them.
pub fn parameters(training: &Training) -> Vec<Vec<f64>> {
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    let parameters = training.parameters.iter();
    let values = parameters.map(|p| training.values(p).unwrap());
    values.map(wide).collect()
}

/// The largest distance of the gradients of the last step from those of `loss` by central differences of fourth order, relative to
/// the largest of their tensor, and where that is; of every seventh element of what has many. `change` is applied to what was
/// found. The step must have left the parameters as they were.
pub fn worst(
    training: &Training,
    loss: impl Fn(&[Vec<f64>]) -> f64,
    change: impl Fn(&str, f64) -> f64,
) -> (f64, String) {
    const STEP: f64 = 2e-4;
    let mut parameters = parameters(training);
    let mut worst = (0.0, String::new());
    for (number, parameter) in training.parameters.iter().enumerate() {
        let Some(gradient) = parameter.gradient else {
            continue;
        };
        let gradient = training.session().read(gradient).unwrap();
        let gradient = gradient.get::<f32>();
        let magnitudes = gradient.iter().map(|g| f64::from(g.abs()));
        let largest = magnitudes.fold(1e-4, f64::max);
        let apart = if parameter.len() > 40 { 7 } else { 1 };
        for i in (0..parameter.len()).step_by(apart) {
            let mut at = |steps: f64| {
                let before = parameters[number][i];
                parameters[number][i] += steps * STEP;
                let loss = loss(&parameters);
                parameters[number][i] = before;
                loss
            };
            let exact = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * STEP);
            let found = change(&parameter.name, gradient[i].into());
            let error = (found - exact).abs() / largest;
            if error > worst.0 || error.is_nan() {
                let what = format!("{}[{i}]: {found}, by differences {exact}", parameter.name);
                worst = (error, what);
            }
        }
    }
    worst
}

/// That gradients are those by differences, and that a wrong sign of any parameter's shows. `error` is the largest, of gradients as
/// `change` makes them, with where it is.
pub fn check(names: &[String], error: impl Fn(&dyn Fn(&str, f64) -> f64) -> (f64, String)) {
    let (found, what) = error(&|_, g| g);
    assert!(found < 2e-4, "{found}, {what}");
    for parameter in names {
        let (found, _) = error(&|name, g| if name == parameter { -g } else { g });
        assert!(found > 0.1, "{parameter}: {found}");
    }
}

/// The names of a training's parameters.
pub fn names(training: &Training) -> Vec<String> {
    let names = training.parameters.iter();
    names.map(|parameter| parameter.name.clone()).collect()
}

/// That three steps have the same bits by one, two and three threads.
pub fn same_bits(begin: impl Fn(usize) -> Training) {
    let bits = [1, 2, 3].map(|threads| {
        let mut training = begin(threads);
        let steps = (0..3).map(|_| training.step().unwrap());
        steps
            .map(|step| (step.loss.to_bits(), step.norm.to_bits()))
            .collect::<Vec<_>>()
    });
    assert!(bits.iter().all(|found| *found == bits[0]), "{bits:?}");
}
