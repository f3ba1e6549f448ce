//! Both workloads: verified, scored, and refused where they cannot be.

use assay_protocol::{CaseSpec, Catalog as _, DeviceSelector, ParamValue, TimingMode};

use super::{GENERATORS, Synthesis};
use crate::synthetic::quality::figures::FIGURES;

fn case(generator: &str, rows: i64, epsilon: f64) -> CaseSpec {
    let params = [
        ("rows", ParamValue::Int(rows)),
        ("columns", ParamValue::Int(15)),
        ("generator", ParamValue::Text(generator.into())),
        ("epsilon", ParamValue::Float(epsilon)),
        ("threads", ParamValue::Int(2)),
    ];
    CaseSpec {
        workload: "synth-rows".into(),
        params: params.map(|(name, value)| (name.to_owned(), value)).into(),
        seed: 3.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    }
}

#[test]
fn every_generator_is_verified_and_scored() {
    for generator in GENERATORS {
        for what in [Synthesis::Fit, Synthesis::Rows] {
            let mut workload = what.prepare(&case(generator, 400, 1.0)).unwrap();
            workload.run(1).unwrap();
            let verification = workload.verify().unwrap();
            assert!(
                verification.passed,
                "{generator} {what:?}: {verification:?}"
            );
            assert!(
                workload.prepared().work.bytes.unwrap() > 400 * 15,
                "{generator}"
            );
            let values = workload.finish().unwrap();
            assert!(values["peak_memory"] > 1e6, "{generator}: {values:?}");
            assert!(
                (0.3..=1.0).contains(&values["quality"]),
                "{generator}: {values:?}"
            );
            assert_eq!(
                workload.prepared().facts.contains_key("privacy.ledger"),
                generator == "mst"
            );
        }
    }
}

#[test]
fn tables_of_few_columns_have_the_values_that_are_declared() {
    for (columns, has_sets) in [(1, false), (2, false), (3, true)] {
        for generator in GENERATORS {
            let mut case = case(generator, 200, 1.0);
            case.params
                .insert("columns".into(), ParamValue::Int(columns));
            let mut workload = Synthesis::Rows.prepare(&case).unwrap();
            workload.run(1).unwrap();
            workload.verify().unwrap();
            let metrics = workload.prepared().metrics.iter();
            let mut declared: Vec<_> = metrics.map(|metric| metric.name.clone()).collect();
            declared.sort_unstable();
            let values = workload.finish().unwrap();
            assert_eq!(values.keys().cloned().collect::<Vec<_>>(), declared);
            assert!(values.values().all(|value| value.is_finite()), "{values:?}");
            assert_eq!(values.contains_key("three_way_error"), has_sets);
        }
    }
}

#[test]
fn rows_short_of_what_is_demanded_fail_with_score_value_and_demand() {
    let verified = |what: Synthesis, demand: Option<(&str, ParamValue)>| {
        let mut case = case("independent", 400, 1.0);
        let demand = demand.map(|(name, value)| (name.to_owned(), value));
        case.params.extend(demand);
        let mut workload = what.prepare(&case).unwrap();
        workload.run(1).unwrap();
        let verification = workload.verify().unwrap();
        (verification, workload.finish().unwrap()["quality"])
    };
    for what in [Synthesis::Fit, Synthesis::Rows] {
        // As manifests of before have it.
        let (verification, quality) = verified(what, None);
        assert!(verification.passed);
        let of_quality = |bound: f64| Some(("quality", ParamValue::Float(bound)));
        assert!(verified(what, of_quality(quality - 0.01)).0.passed);
        let require = |text: &str| Some(("require", ParamValue::Text(text.into())));
        for demand in [of_quality(0.9999), require("shapes>=0.1, quality>=0.9999")] {
            let (missed, again) = verified(what, demand);
            assert!((again - quality).abs() < 1e-15);
            assert!(!missed.passed && missed.error.unwrap() > missed.tolerance.unwrap());
            assert_eq!(missed.output, verification.output);
            let words = format!("quality: {quality}, required at least 0.9999");
            assert!(missed.detail.ends_with(&words), "{}", missed.detail);
        }
    }
}

#[test]
fn every_score_can_be_demanded() {
    for figure in &FIGURES {
        let missed = |demand: &str| {
            let mut case = case("copula", 300, 1.0);
            let require = ParamValue::Text(format!("{}{demand}", figure.name));
            case.params.insert("require".into(), require);
            let mut workload = Synthesis::Rows.prepare(&case).unwrap();
            workload.run(1).unwrap();
            workload.verify().unwrap().detail
        };
        // All are there, for whatever is absent meets neither; and none is so large or so small.
        let (small, large) = (missed("<-1"), missed(">=1000000"));
        for (words, demand) in [(small, "below -1"), (large, "at least 1000000")] {
            assert!(words.contains(&format!("{}: ", figure.name)), "{words}");
            assert!(words.contains(demand) && !words.contains("none"), "{words}");
        }
    }
}

#[test]
fn bad_parameters_are_named() {
    let error = |case: &CaseSpec| format!("{:?}", Synthesis::Rows.prepare(case).err().unwrap());
    assert!(error(&case("mst", 400, 0.0)).contains("`epsilon`: epsilon is 0"));
    assert!(error(&case("copula", 0, 1.0)).contains("`rows`"));
    assert!(error(&case("copula", 1 << 44, 1.0)).contains("as many as a seed has"));
    let large = error(&case("copula", 1 << 43, 1.0));
    assert!(
        large.contains("Skipped") && large.contains("not enough memory"),
        "{large}"
    );
    let mut demanding = case("copula", 10, 1.0);
    let quality = ParamValue::Float(f64::NAN);
    demanding.params.insert("quality".into(), quality);
    assert!(error(&demanding).contains("`quality`"));
    for (text, words) in [
        ("fame>=1", "`require`: fame>=1: no score is called `fame`"),
        ("three_way=0.1", "three_way<=VALUE"),
        ("quality>=0.9 three_way<=0.1", "separated by commas"),
    ] {
        let mut demanding = case("copula", 10, 1.0);
        let require = ParamValue::Text(text.into());
        demanding.params.insert("require".into(), require);
        let error = error(&demanding);
        assert!(error.contains(words), "{error}");
    }
    assert!(error(&case("gan", 10, 1.0)).contains("no generator is called `gan`"));
}
