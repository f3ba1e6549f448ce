//! All workloads: verified, scored, and refused where they cannot be.

use assay_protocol::{CaseSpec, Catalog as _, DeviceSelector, ParamValue, TimingMode};

use super::{GENERATORS, Synthesis, check_parameters};
use crate::synthetic::privacy::mechanism::MECHANISMS;
use crate::synthetic::quality::figures::FIGURES;
use crate::synthetic::table::{census, csv};

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
        for what in Synthesis::ALL {
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
fn columns_are_private_by_every_mechanism_and_the_record_says_so() {
    for mechanism in MECHANISMS {
        for what in [Synthesis::Fit, Synthesis::Rows] {
            let mut workload = what.prepare(&private(mechanism, 0.9)).unwrap();
            workload.run(1).unwrap();
            let verification = workload.verify().unwrap();
            assert!(verification.passed, "{mechanism}: {verification:?}");
            let facts = &workload.prepared().facts;
            let spent = &facts["privacy"];
            assert!(
                spent.starts_with("epsilon 0.9000") || spent.starts_with("epsilon 0.89"),
                "{spent}"
            );
            assert_eq!(
                spent.contains("at delta 0.000e0"),
                mechanism == "laplace",
                "{spent}"
            );
            let ledger = &facts["privacy.ledger"];
            assert!(
                ledger.contains(&format!("mechanism `{mechanism}`")),
                "{ledger}"
            );
            let cost = if mechanism == "discrete-gaussian" {
                "rho "
            } else {
                "epsilon 0."
            };
            assert!(ledger.contains(cost), "{ledger}");
        }
    }
}

/// A case of independent columns by a mechanism.
fn private(mechanism: &str, epsilon: f64) -> CaseSpec {
    let mut case = case("independent", 400, epsilon);
    let mechanism = ParamValue::Text(mechanism.into());
    case.params.insert("mechanism".into(), mechanism);
    case
}

#[test]
fn mechanisms_and_budgets_that_do_not_do_are_refused_when_a_suite_is_planned() {
    let refused = |case: &CaseSpec| check_parameters("synth-fit", &case.params).unwrap_err();
    let mut mst = private("laplace", 1.0);
    let generator = |name: &str| ParamValue::Text(name.into());
    for (name, words) in [
        ("mst", "mst always measures"),
        ("copula", "not private at all"),
    ] {
        mst.params.insert("generator".into(), generator(name));
        let error = refused(&mst);
        assert!(
            error.starts_with("parameter `mechanism`: `laplace` is of independent"),
            "{error}"
        );
        assert!(error.contains(words), "{error}");
        assert!(Synthesis::Fit.prepare(&mst).is_err());
    }
    for (case, words) in [
        (private("gaussian", 1.0), "`analytic-gaussian` is for all"),
        (private("laplace", 1e-13), "more epsilon takes less noise"),
        (
            private("analytic-gaussian", 1e-9),
            "more epsilon takes less noise",
        ),
        (case("mst", 400, 1e-9), "more epsilon takes less noise"),
        (
            private("geometric", 1.0),
            "`mechanism`: none is called `geometric`",
        ),
    ] {
        let error = refused(&case);
        assert!(error.contains(words), "{error}");
        assert!(format!("{:?}", Synthesis::Fit.prepare(&case).err().unwrap()).contains(words));
    }
    // Of what is not private epsilon is not asked.
    assert!(check_parameters("synth-fit", &case("copula", 400, 1e-9).params).is_ok());
    // Of one column there is less noise than of 15.
    let mut small = case("mst", 400, 2e-5);
    assert!(refused(&small).contains("more epsilon"));
    small.params.insert("columns".into(), ParamValue::Int(1));
    assert!(check_parameters("synth-fit", &small.params).is_ok());
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
    for what in Synthesis::ALL {
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
fn a_table_of_ones_own_is_learned_and_the_rows_behind_are_held_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.csv");
    let mut text = Vec::new();
    csv::write_to(&mut text, &census::rows(7, 0, 500)).unwrap();
    std::fs::write(&path, text).unwrap();
    let with = |more: &[(&str, ParamValue)]| {
        let mut case = case("copula", 300, 1.0);
        let own = ParamValue::Text(path.display().to_string());
        case.params.insert("table".into(), own);
        let more = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        case.params.extend(more);
        case
    };
    let require = ("require", ParamValue::Text("overfit_protection>=0".into()));
    let mut workload = Synthesis::Table
        .prepare(&with(std::slice::from_ref(&require)))
        .unwrap();
    workload.run(1).unwrap();
    assert!(workload.verify().unwrap().passed);
    assert_eq!(
        workload.prepared().inputs["table"],
        census::rows(7, 0, 300).digest()
    );
    let all = workload.finish().unwrap()["three_way_error"];
    let cells = |most: i64| {
        let most = ("most_cells", ParamValue::Int(most));
        let mut workload = Synthesis::Table.prepare(&with(&[most])).unwrap();
        workload.run(1).unwrap();
        let values = workload.finish().unwrap();
        let metrics = workload.prepared().metrics.iter();
        let is_declared = metrics
            .map(|metric| &metric.name)
            .any(|name| name == "three_way_error");
        assert_eq!(values.contains_key("three_way_error"), is_declared);
        values.get("three_way_error").copied()
    };
    assert_eq!((cells(0), cells(1)), (Some(all), None));
    assert!(
        cells(100).unwrap() < all,
        "sets of few combinations are easier"
    );
    // As many as there are: none is held out, and what needs some is not met.
    let whole = with(&[("rows", ParamValue::Int(500)), require]);
    let mut workload = Synthesis::Table.prepare(&whole).unwrap();
    workload.run(1).unwrap();
    assert!(!workload.verify().unwrap().passed);
    let error = |more: &[(&str, ParamValue)]| {
        format!("{:?}", Synthesis::Table.prepare(&with(more)).err().unwrap())
    };
    let words = error(&[("rows", ParamValue::Int(501))]);
    assert!(words.contains("own.csv has 500"), "{words}");
    let words = error(&[("columns", ParamValue::Int(3))]);
    assert!(words.contains("`columns` is of the census"), "{words}");
    let words = error(&[("table", ParamValue::Text("absent.csv".into()))]);
    assert!(words.contains("absent.csv"), "{words}");
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
        // All are there, for whatever is absent meets neither; and none meets both.
        let missed = [missed("<=0"), missed(">=1")];
        let words = missed.concat();
        assert!(words.contains(&format!("{}: ", figure.name)), "{words}");
        assert!(!words.contains("none"), "{words}");
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
