//! The finder of batch sizes: what fits, what is fastest, and what is said where nothing fits.

use assay_protocol::{CaseSpec, Catalog as _, Failure, ParamValue};
use assay_suites::training::batches::FindBatch;

use crate::cases::{self, int};

fn case(params: &[(&str, ParamValue)]) -> CaseSpec {
    let sizes = [
        ("length", int(32)),
        ("width", int(32)),
        ("corpus", int(5000)),
        ("memory_mib", int(16)),
    ];
    let infos = FindBatch.info().parameters;
    cases::case("find-batch", infos, &[&sizes[..], params].concat())
}

#[test]
fn the_largest_batch_fits_and_one_more_does_not() {
    let values = |params: &[(&str, ParamValue)]| {
        let mut workload = FindBatch.prepare(&case(params)).unwrap();
        assert!(
            !workload.verify().unwrap().passed,
            "nothing was allocated yet"
        );
        let measured = [(); 2].map(|()| workload.run(1).unwrap().host_ns.unwrap());
        assert!(measured.iter().all(|ns| *ns > 0));
        let verification = workload.verify().unwrap();
        assert!(verification.passed, "{verification:?}");
        let values = workload.finish().unwrap();
        let names: Vec<_> = workload
            .prepared()
            .metrics
            .iter()
            .map(|m| &m.name)
            .collect();
        assert!(names.len() == values.len() && names.iter().all(|name| values.contains_key(*name)));
        // Which is the fastest is no number, of which a mean could be taken, but one that was timed, in words.
        let (name, rate) = values
            .iter()
            .filter(|(name, _)| name.starts_with("rate_"))
            .max_by(|a, b| a.1.total_cmp(b.1))
            .unwrap();
        assert_eq!(rate.to_bits(), values["fastest_rate"].to_bits());
        let told = format!(
            "the fastest is one of {}, with",
            name.trim_start_matches("rate_")
        );
        assert!(verification.detail.contains(&told), "{verification:?}");
        values
    };
    let some = values(&[]);
    let largest = some["largest_batch"];
    let rates = ["rate_1".into(), format!("rate_{largest}")].map(|name| some[&name]);
    assert!(
        largest > 4.0 && rates.iter().all(|rate| *rate > 0.0),
        "{some:?}"
    );
    assert!(some["buffer_memory"] <= f64::from(16 << 20));
    // Twice the memory has room for more than twice of what grows with the batch.
    let more = values(&[("memory_mib", int(32))]);
    assert!(more["largest_batch"] > 2.0 * largest, "{more:?}");
    let again = values(&[("recompute", cases::text("yes")), ("layers", int(4))]);
    let kept = values(&[("layers", int(4))]);
    assert!(
        again["largest_batch"] > kept["largest_batch"],
        "{again:?} {kept:?}"
    );
    assert!((values(&[("most", int(3))])["largest_batch"] - 3.0).abs() < 1e-9);
}

/// Without a limit of its own it takes what the machine has, of which a batch of `most` is little.
#[test]
fn without_a_limit_memory_is_that_of_the_machine() {
    let params = [("memory_mib", int(0)), ("most", int(5))];
    let mut workload = FindBatch.prepare(&case(&params)).unwrap();
    workload.run(1).unwrap();
    let verification = workload.verify().unwrap();
    assert!(verification.passed && verification.detail.contains("`most` is 5"));
    let batches = &workload.prepared().facts["batches"];
    assert_eq!(batches, "[1, 2, 4, 5]");
}

/// A batch of 1 that no machine has room for.
#[test]
fn what_fits_nowhere_is_skipped() {
    let params = [
        ("memory_mib", int(0)),
        ("most", int(3)),
        ("layers", int(64)),
        ("width", int(1 << 14)),
        ("heads", int(128)),
    ];
    let failure = FindBatch.prepare(&case(&params)).err().unwrap();
    let is_skipped =
        matches!(&failure, Failure::Skipped(reason) if reason.contains("not enough memory"));
    assert!(is_skipped, "{failure}");
}

#[test]
fn memory_for_nothing_is_refused_in_words() {
    let failure = FindBatch
        .prepare(&case(&[("memory_mib", int(1)), ("width", int(64))]))
        .err();
    let words = failure.unwrap().to_string();
    assert!(words.contains("`memory_mib`: expected at least"), "{words}");
    assert!(words.contains("for a batch of 1, found 1"), "{words}");
}
