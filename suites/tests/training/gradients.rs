//! Gradients of trainings beside those by central differences in `f64`.

use std::ops::Range;

use assay_kernels::element;
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
pub fn buffer<T: element::Element>(training: &Training, name: &str) -> Vec<T> {
    let mut names = training.session().in_order();
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

/// An element of a gradient of the last step.
pub struct Element {
    /// Whose gradient it is of.
    pub parameter: String,
    place: usize,
    found: f64,
    /// By central differences of fourth order.
    exact: f64,
    /// The largest of its tensor.
    largest: f64,
}

impl Element {
    /// How far it is from that by differences, times a sign, relative to the largest of its tensor.
    fn error(&self, sign: f64) -> f64 {
        (sign * self.found - self.exact).abs() / self.largest
    }
}

/// The gradients of the last step beside those of `loss` by differences, every seventh element of what has many. The step must have left
/// the parameters as they were.
pub fn beside(training: &Training, loss: impl Fn(&[Vec<f64>]) -> f64) -> Vec<Element> {
    const STEP: f64 = 2e-4;
    let mut parameters = parameters(training);
    let mut all = vec![];
    for (number, parameter) in training.parameters.iter().enumerate() {
        let Some(gradient) = parameter.gradient else {
            continue;
        };
        let gradient = training.session().read(gradient).unwrap();
        let gradient = gradient.get::<f32>();
        let magnitudes = gradient.iter().map(|g| f64::from(g.abs()));
        let largest = magnitudes.fold(1e-4, f64::max);
        let apart = if parameter.len() > 40 { 7 } else { 1 };
        for place in (0..parameter.len()).step_by(apart) {
            let mut at = |steps: f64| {
                let before = parameters[number][place];
                parameters[number][place] += steps * STEP;
                let loss = loss(&parameters);
                parameters[number][place] = before;
                loss
            };
            all.push(Element {
                parameter: parameter.name.clone(),
                place,
                found: gradient[place].into(),
                exact: (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * STEP),
                largest,
            });
        }
    }
    all
}

/// The largest error of some elements, and where that is.
pub fn worst(all: &[Element]) -> (f64, String) {
    let by_error = |a: &&Element, b: &&Element| a.error(1.0).total_cmp(&b.error(1.0));
    let worst = all.iter().max_by(by_error).unwrap();
    let Element {
        parameter,
        place,
        found,
        exact,
        ..
    } = worst;
    let what = format!("{parameter}[{place}]: {found}, by differences {exact}");
    (worst.error(1.0), what)
}

/// Errors of `f32`.
pub const OF_F32: Range<f64> = 0.0..2e-4;

/// That gradients are those by differences, with errors such as their type has, and that a wrong sign of any parameter's would show, but of
/// those which are 0, whose names end so.
pub fn check(what: &str, all: &[Element], errors: Range<f64>, zero: &[&str]) {
    let (error, place) = worst(all);
    assert!(errors.contains(&error), "{what}: {error}, {place}");
    for of_parameter in all.chunk_by(|a, b| a.parameter == b.parameter) {
        let name = &of_parameter[0].parameter;
        let errors = of_parameter.iter().map(|element| element.error(-1.0));
        let of_sign = errors.fold(0.0, f64::max);
        let is_zero = zero.iter().any(|end| name.ends_with(end));
        assert_eq!(of_sign < 0.1, is_zero, "{what}, {name}: {of_sign}");
    }
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
