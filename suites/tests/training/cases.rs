//! Cases of trainings, and parameters of these.

use assay_protocol::{
    CaseSpec, DeviceSelector, MetricKind, ParamValue, ParameterInfo, Params, TimingMode, Workload,
};

pub fn int(value: i64) -> ParamValue {
    ParamValue::Int(value)
}

pub fn float(value: f64) -> ParamValue {
    ParamValue::Float(value)
}

pub fn text(value: &str) -> ParamValue {
    ParamValue::Text(value.into())
}

/// A case of a workload with these parameters, and defaults for others.
pub fn case(workload: &str, infos: Vec<ParameterInfo>, params: &[(&str, ParamValue)]) -> CaseSpec {
    let defaults = infos.into_iter();
    let mut all: Params = defaults
        .filter_map(|info| Some((info.name, info.default?)))
        .collect();
    let given = params.iter();
    all.extend(given.map(|(name, value)| ((*name).to_owned(), value.clone())));
    CaseSpec {
        workload: workload.into(),
        params: all,
        seed: 5.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    }
}

/// Losses of some samples.
pub fn run(workload: &mut dyn Workload, steps: usize) -> Vec<f64> {
    let mut step = || {
        workload.restore().unwrap();
        workload.run(1).unwrap().values["loss"]
    };
    (0..steps).map(|_| step()).collect()
}

/// Fails unless a training gives the same losses whatever is sampled of it, by any number of threads, with activations kept or computed
/// again; and values of all metrics that it declares.
pub fn assert_same_bits(
    steps: usize,
    prepare: impl Fn(&[(&str, ParamValue)]) -> Box<dyn Workload>,
) {
    let mut digests = vec![];
    // Less than one training, and more than two.
    for (samples, threads, recompute) in [(1, 2, "no"), (steps, 1, "yes"), (2 * steps + 1, 2, "no")]
    {
        let mut workload = prepare(&[("threads", int(threads)), ("recompute", text(recompute))]);
        let losses = run(workload.as_mut(), samples);
        for (i, loss) in losses.iter().enumerate() {
            assert_eq!(loss.to_bits(), losses[i % steps].to_bits());
        }
        let verification = workload.verify().unwrap();
        assert!(verification.passed, "{verification:?}");
        digests.push(verification.output.unwrap());
        let values = workload.finish().unwrap();
        let metrics = &workload.prepared().metrics;
        for metric in metrics.iter().filter(|m| m.kind == MetricKind::Case) {
            assert!(values[&metric.name].is_finite(), "{}", metric.name);
        }
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}
