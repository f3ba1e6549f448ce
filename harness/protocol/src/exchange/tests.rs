use super::{Exchange, Fault, Step};
use crate::message::{Request, SampleRequest};
use crate::metric::{Direction, Metric, MetricKind, Unit};

const ASKED: Request = Request::Sample(SampleRequest {
    max_samples: 2,
    max_ns: 1_000,
    min_sample_ns: 1,
});

fn feed(request: &Request, metrics: &[Metric], lines: &[&str]) -> Result<Step, Fault> {
    let mut exchange = Exchange::new(request, metrics, 0);
    let mut last = Err(exchange.truncated());
    for line in lines {
        last = exchange.accept(line.as_bytes());
        if last.is_err() {
            break;
        }
    }
    last
}

fn fault(lines: &[&str]) -> Fault {
    feed(&ASKED, &[], lines).expect_err("a fault")
}

const GOOD: &str = r#"{"v":1,"kind":"sample","start_ns":10,"iterations":1,"host_ns":5}"#;

#[test]
fn a_good_chunk_passes() {
    let second =
        r#"{"v":1,"kind":"sample","start_ns":15,"iterations":1,"host_ns":5,"device_ns":4}"#;
    let end = r#"{"v":1,"kind":"sampled","samples":2}"#;
    let first = GOOD.replace("\"host_ns\":5", "\"host_ns\":5,\"device_ns\":5");
    assert!(matches!(
        feed(&ASKED, &[], &[&first, second, end]),
        Ok(Step::Done(_))
    ));
    assert_eq!(fault(&[GOOD, second]), Fault::MixedDeviceTime(1));
    let far = GOOD.replace("\"start_ns\":10", "\"start_ns\":18446744073709551615");
    assert_eq!(fault(&[&far]), Fault::AbsurdTime(0));
}

#[test]
fn each_fault_is_named() {
    assert!(matches!(fault(&["hello"]), Fault::NotALine { .. }));
    assert!(matches!(
        fault(&[r#"{"v":2,"kind":"future"}"#]),
        Fault::Version(2)
    ));
    assert!(matches!(
        fault(&[r#"{"v":1,"kind":"torn_down"}"#]),
        Fault::Unexpected { .. }
    ));
    assert_eq!(
        fault(&[r#"{"v":1,"kind":"sampled","samples":0}"#]),
        Fault::NoSamples
    );
    assert_eq!(
        fault(&[GOOD, r#"{"v":1,"kind":"sampled","samples":2}"#]),
        Fault::WrongCount { said: 2, sent: 1 }
    );
    let later = |start| {
        format!(r#"{{"v":1,"kind":"sample","start_ns":{start},"iterations":1,"host_ns":5}}"#)
    };
    assert_eq!(
        fault(&[GOOD, &later(15), &later(20)]),
        Fault::TooManySamples(2)
    );
    assert!(matches!(
        fault(&[GOOD, &later(14)]),
        Fault::ClockWentBack { .. }
    ));
    assert_eq!(
        fault(&[&GOOD.replace("\"host_ns\":5", "\"host_ns\":0")]),
        Fault::ZeroTime(0)
    );
    assert_eq!(
        fault(&[&GOOD.replace("\"iterations\":1", "\"iterations\":0")]),
        Fault::ZeroIterations(0)
    );
    for bad in ["-5", "NaN", "1e300", "1.5", "\"5\""] {
        let line = GOOD.replace("\"host_ns\":5", &format!("\"host_ns\":{bad}"));
        assert!(matches!(fault(&[&line]), Fault::NotALine { .. }), "{bad}");
    }
    assert!(matches!(
        fault(&[&GOOD.replace("start_ns", "begin_ns")]),
        Fault::NotALine { .. }
    ));
    assert_eq!(fault(&[]), Fault::Truncated("sample"));
}

#[test]
fn declared_values_are_there_and_no_others() {
    let loss = [Metric::new(
        "loss",
        Unit::One,
        Direction::Lower,
        MetricKind::Sample,
    )];
    assert_eq!(
        feed(&ASKED, &loss, &[GOOD]),
        Err(Fault::MissingValue("loss".into()))
    );
    let with = GOOD.replace("\"host_ns\":5", "\"host_ns\":5,\"values\":{\"loss\":1.5}");
    assert!(matches!(feed(&ASKED, &loss, &[&with]), Ok(Step::Sample(_))));
    assert_eq!(
        feed(&ASKED, &[], &[&with]),
        Err(Fault::UndeclaredValue("loss".into()))
    );
}

#[test]
fn a_case_may_lack_a_value_and_a_stray_one_is_refused() {
    let quality = [Metric::new(
        "time_to_quality",
        Unit::Nanoseconds,
        Direction::Lower,
        MetricKind::Case,
    )];
    let end = |values: &str| format!(r#"{{"v":1,"kind":"torn_down","values":{{{values}}}}}"#);
    let torn_down = |values: &str| {
        Exchange::new(&Request::Teardown, &quality, 0).accept(end(values).as_bytes())
    };
    assert!(torn_down("").is_ok());
    assert!(torn_down(r#""time_to_quality":5.0"#).is_ok());
    assert_eq!(
        torn_down(r#""other":5.0"#),
        Err(Fault::UndeclaredValue("other".into()))
    );
}

#[test]
fn limits_hold() {
    let long = vec![b' '; crate::MAX_LINE_BYTES + 1];
    assert_eq!(
        Exchange::new(&ASKED, &[], 0).accept(&long),
        Err(Fault::LineTooLong)
    );
}

#[test]
fn metric_names_are_unique_and_never_time() {
    let prepare = Request::Prepare {
        case: crate::CaseSpec {
            workload: "w".into(),
            params: crate::Params::new(),
            seed: crate::U64(0),
            device: crate::DeviceSelector::CPU,
            timing: crate::TimingMode::Hot,
            command: None,
            kernel: None,
        },
    };
    let line = r#"{"v":1,"kind":"prepared","metrics":[{"name":"time","unit":"ns","direction":"lower","kind":"sample"}]}"#;
    assert_eq!(
        feed(&prepare, &[], &[line]),
        Err(Fault::DuplicateMetric("time".into()))
    );
}
