//! The header without CUDA: the example passes every check, and whatever a workload does becomes a reply.

use std::path::{Path, PathBuf};

use assay_protocol::{DeviceKind, ParamValue, Params, Reply, Request, TimingMode};
use proptest::prelude::*;

use super::{
    SANITIZERS, WARNINGS, built, chunk, compile, failed, hello, lines, prepare, prepared,
    repository, saxpy, saxpy_inputs, saxpy_outputs, session, skipped, suite_of_mine, verified,
};
use crate::helpers::{Place, case, have, repository_file, state};

/// A program of the header; `None` where there is no compiler.
fn compiled(name: &str, source: &str, flags: &[&str]) -> Option<PathBuf> {
    if !have("c++") {
        return None;
    }
    let source = repository(source);
    let flags = [&WARNINGS, flags].concat();
    Some(built(
        name,
        std::slice::from_ref(&source),
        &flags,
        |dir, program| {
            let files = ["-o", program.to_str().unwrap(), source.to_str().unwrap()];
            compile(dir, Path::new("c++"), &[&flags[..], &files].concat());
        },
    ))
}

const EXAMPLE: &str = "suites/workers/example_worker.cpp";

pub fn example() -> Option<PathBuf> {
    compiled("sanitized", EXAMPLE, &SANITIZERS)
}

fn odd() -> Option<PathBuf> {
    let source = "harness/cli/tests/cli/workers/odd_worker.cpp";
    compiled("odd", source, &SANITIZERS)
}

#[test]
fn the_example_passes_the_check_and_runs_in_a_suite() {
    let Some(program) = compiled("optimized", EXAMPLE, &["-O2"]) else {
        return;
    };
    let place = Place::new();
    let benchmark = "worker = \"mine\"\nworkload = \"cpp-saxpy\"\naxes = { elements = [1, 1000] }";
    suite_of_mine(&place, &program, benchmark);
    place
        .assay("worker-check ./worker")
        .exits(0)
        .says(" 0 faults")
        .lacks("FAULT");
    place.assay("run ./tiny.toml").exits(0);
    let run = place.assay("show --json").exits(0).json();
    assert_eq!(state(&run, "elements=1]"), "ok ");
    assert_eq!(
        case(&run, "elements=1000")["metrics"][0]["metric"]["name"],
        "time"
    );
    place
        .assay("reproduce latest")
        .exits(0)
        .says("inputs")
        .says("identical");
    place.is_left_alone();
}

#[test]
fn the_program_of_the_readme_is_a_worker() {
    if !have("c++") {
        return;
    }
    let readme = repository_file("README.md");
    let begin = readme.find("#include \"assay_worker.hpp\"").unwrap();
    let length = readme[begin..].find("```").unwrap();
    let place = Place::new();
    place.write("my_benchmarks.cpp", &readme[begin..begin + length]);
    let flags = ["my_benchmarks.cpp", "-o", "my_benchmarks"];
    let all = [&WARNINGS[..], &flags].concat();
    compile(&place.path(""), Path::new("c++"), &all);
    place
        .assay("worker-check ./my_benchmarks")
        .exits(0)
        .says("square: the same seed gives the same inputs")
        .says(" 0 faults");
}

#[test]
fn the_example_has_the_inputs_and_outputs_that_rust_has() {
    let Some(program) = example() else { return };
    let mut requests = vec![hello()];
    let sizes = [1, 2, 5, 63, 64, 1021];
    for elements in sizes {
        let visit = prepare("cpp-saxpy", "cpu", TimingMode::Hot, saxpy(elements));
        requests.extend([
            visit,
            chunk(1, 0),
            chunk(3, 1000),
            Request::Verify,
            Request::Teardown,
        ]);
    }
    let said = session(&program, &[], &lines(&requests)).exits(0);
    let (samples, ends) = said.judged(&requests);
    assert_eq!(samples.len(), 4 * sizes.len());
    for (elements, ends) in sizes.iter().zip(ends[1..].chunks(5)) {
        let elements = *elements as usize;
        assert_eq!(prepared(&ends[0]).inputs, saxpy_inputs(elements));
        assert_eq!(prepared(&ends[0]).work.bytes, Some(12 * elements as u64));
        let verification = verified(&ends[3]);
        assert!(verification.passed, "{verification:?}");
        assert!(saxpy_outputs(elements).contains(&verification.output.unwrap()));
        assert!(verification.error.unwrap() <= verification.tolerance.unwrap());
    }
}

#[test]
fn a_case_that_needs_more_memory_than_there_is_is_skipped() {
    // Without sanitizers, which end a program that asks for so much.
    let Some(program) = compiled("optimized", EXAMPLE, &["-O2"]) else {
        return;
    };
    let prepare = |elements| prepare("cpp-saxpy", "cpu", TimingMode::Hot, saxpy(elements));
    let requests = [prepare(ParamValue::MAX_INT), prepare(8)];
    let said = session(&program, &[], &lines(&requests)).exits(0);
    let (_, ends) = said.judged(&requests);
    assert_eq!(skipped(&ends[0]), "not enough memory");
    prepared(&ends[1]);
}

#[test]
fn what_a_workload_throws_becomes_the_reply() {
    let Some(program) = odd() else { return };
    let params = |what: &str, place: &str| {
        Params::from([
            ("what".into(), ParamValue::Text(what.into())),
            ("where".into(), ParamValue::Text(place.into())),
        ])
    };
    let visit = |what, place| {
        let case = prepare("odd", "cpu", TimingMode::Hot, params(what, place));
        [case, chunk(1, 0), Request::Verify, Request::Teardown]
    };
    let ends = |what, place| {
        let requests = visit(what, place);
        let said = session(&program, &[], &lines(&requests)).exits(0);
        said.judged(&requests).1
    };
    let reason = "a \"quoted\"\\\n\u{1} reason, é and \u{fffd}\u{fffd}";
    assert_eq!(failed(&ends("failed", "prepare")[0]), reason);
    assert_eq!(failed(&ends("failed", "sample")[1]), reason);
    assert!(
        verified(&ends("failed", "sample")[2]).passed,
        "the case goes on"
    );
    assert_eq!(
        skipped(&ends("skipped", "prepare")[0]),
        "no such thing here"
    );
    assert_eq!(skipped(&ends("memory", "prepare")[0]), "not enough memory");
    let full = ends("device memory", "prepare");
    assert_eq!(skipped(&full[0]), "not enough memory: the device is full");
    assert_eq!(
        failed(&ends("device memory", "verify")[2]),
        "the device is full"
    );
    let lost = ends("exception", "sample");
    assert_eq!(failed(&lost[1]), "nobody meant this");
    assert_eq!(
        failed(&lost[2]),
        "no case is prepared",
        "its state is not trusted"
    );
    assert!(failed(&ends("number", "verify")[2]).contains("no std::exception"));
    assert_eq!(failed(&ends("long", "prepare")[0]).len(), 4000);
    assert!(failed(&ends("nan", "sample")[1]).contains("metric `loss`"));
    let unequal = ends("nan", "sample");
    assert!(!verified(&unequal[2]).passed && verified(&unequal[2]).error.is_none());
    assert!(failed(&ends("infinite", "sample")[3]).contains("metric `score`"));
}

#[test]
fn a_worker_that_cannot_go_on_says_so_and_exits() {
    let Some(program) = odd() else { return };
    let params = [("what", "fatal"), ("where", "sample")];
    let params = params.map(|(name, value)| (name.to_owned(), ParamValue::Text(value.into())));
    let case = prepare("odd", "cpu", TimingMode::Hot, params.into());
    let requests = [case, chunk(1, 0), Request::Verify];
    let said = session(&program, &[], &lines(&requests)).exits(1);
    let (_, ends) = said.judged(&requests[..2]);
    assert_eq!(failed(&ends[1]), "all is lost");
}

#[test]
fn what_a_program_prints_is_no_part_of_the_protocol() {
    let Some(program) = odd() else { return };
    for at in ["prepare", "sample", "verify"] {
        let params = [("what", "prints"), ("where", at)];
        let params = params.map(|(name, value)| (name.to_owned(), ParamValue::Text(value.into())));
        let case = prepare("odd", "cpu", TimingMode::Hot, params.into());
        let requests = [
            hello(),
            case,
            chunk(1, 0),
            Request::Verify,
            Request::Teardown,
        ];
        let said = session(&program, &[], &lines(&requests)).exits(0);
        said.judged(&requests);
        for word in ["one", "two", "three"] {
            assert!(said.log.contains(word), "{at}: {}", said.log);
        }
        let progress = format!(r#"{{"v":1,"kind":"progress","message":"at {at}"}}"#);
        assert!(said.replies.contains(&progress.into_bytes()), "{said:?}");
    }
}

/// Iterations of the samples that a made-up workload gave.
fn batches(program: &Path, params: &[(&str, ParamValue)], timing: TimingMode) -> Vec<u64> {
    let defaults = [
        ("each_ns", ParamValue::Int(10)),
        ("invalid", ParamValue::Int(0)),
        ("on_device", ParamValue::Bool(false)),
    ];
    let params = defaults.iter().chain(params);
    let params = params.map(|(name, value)| ((*name).to_owned(), value.clone()));
    let case = prepare("made", "cpu", timing, params.collect());
    let requests = [case, chunk(4, 20_000), chunk(3, 20_000)];
    let (samples, _) = session(program, &[], &lines(&requests))
        .exits(0)
        .judged(&requests);
    samples.iter().map(|sample| sample.iterations).collect()
}

#[test]
fn samples_are_batched_as_the_built_in_worker_batches_them() {
    let Some(program) = odd() else { return };
    let each = |ns| ("each_ns", ParamValue::Int(ns));
    let batches = |params: &[_], timing| batches(&program, params, timing);
    // By 16 at most, by the next power of two above what is missing, kept from one chunk to the next.
    assert_eq!(
        batches(&[each(3)], TimingMode::Hot),
        [1, 16, 256, 4096, 8192, 8192, 8192]
    );
    assert_eq!(
        batches(&[each(7000)], TimingMode::Hot),
        [1, 4, 4, 4, 4, 4, 4]
    );
    assert_eq!(batches(&[each(20_000)], TimingMode::Hot), [1; 7]);
    // A device's time counts where there is one.
    let on_device = ("on_device", ParamValue::Bool(true));
    assert_eq!(
        batches(&[each(3), on_device], TimingMode::Hot)[..4],
        [1, 16, 256, 4096]
    );
    // One launch is one launch.
    assert_eq!(batches(&[each(3)], TimingMode::Cold), [1; 7]);
    // What is no observation is thrown away and does not change the batch.
    let invalid = ("invalid", ParamValue::Int(3));
    assert_eq!(
        batches(&[each(7000), invalid], TimingMode::Hot),
        [1, 4, 4, 4, 4, 4, 4]
    );
}

#[test]
fn a_sample_that_never_comes_is_given_up() {
    let Some(program) = odd() else { return };
    let made = |each_ns, invalid, timing| {
        let params = [
            ("each_ns".into(), ParamValue::Int(each_ns)),
            ("invalid".into(), ParamValue::Int(invalid)),
            ("on_device".into(), ParamValue::Bool(false)),
        ];
        let requests = [
            prepare("made", "cpu", timing, params.into()),
            chunk(4, 20_000),
        ];
        let said = session(&program, &[], &lines(&requests)).exits(0);
        failed(&said.judged(&requests).1[1]).to_owned()
    };
    let never = "20 samples in a row were invalid, the last: made invalid";
    assert_eq!(made(5, 1000, TimingMode::Hot), never);
    let timeless = "1099511627776 iterations take no time at all";
    assert_eq!(made(0, 0, TimingMode::Hot), timeless);
    assert_eq!(
        made(0, 0, TimingMode::Cold),
        "1 iterations take no time at all"
    );
}

#[test]
fn hello_lists_parameters_choices_and_what_else_a_plan_needs() {
    let Some(program) = odd() else { return };
    let said = session(&program, &[], &lines(&[hello()])).exits(0);
    let (_, ends) = said.judged(&[hello()]);
    let Reply::Hello(hello) = &ends[0] else {
        panic!("{ends:?}")
    };
    assert_eq!(hello.worker, "odd \"worker\"");
    assert_eq!(hello.devices[0].kind, DeviceKind::Cpu);
    assert!(hello.software.contains_key("compiler") && hello.software.contains_key("kernel"));
    let info = |name| {
        hello
            .workloads
            .iter()
            .find(|info| info.name == name)
            .unwrap()
    };
    let expected = serde_json::json!({
        "name": "echo", "summary": "says what it was given", "definition": 7,
        "parameters": [
            { "name": "text", "type": "text" },
            { "name": "number", "type": "float", "default": 0.1 },
            { "name": "integer", "type": "int", "default": -3 },
            { "name": "flag", "type": "bool", "default": true },
        ],
        "timing": ["host"], "devices": ["cpu"],
    });
    assert_eq!(serde_json::to_value(info("echo")).unwrap(), expected);
    let parameters = serde_json::to_value(&info("made").parameters).unwrap();
    assert_eq!(parameters[0]["minimum"], 0);
    assert_eq!(parameters[1]["choices"], serde_json::json!([0, 3, 1000]));
    let choices = &info("odd").parameters[1].choices;
    assert_eq!(choices[1], ParamValue::Text("sample".into()));
}

#[test]
fn what_a_program_does_not_declare_is_left_out() {
    let Some(program) = odd() else { return };
    let prepared = |workload| {
        let params = [
            ("each_ns".into(), ParamValue::Int(1)),
            ("invalid".into(), ParamValue::Int(0)),
            ("on_device".into(), ParamValue::Bool(false)),
        ];
        let case = prepare(workload, "cpu", TimingMode::Hot, params.into());
        let said = session(&program, &[], &lines(&[case])).exits(0);
        serde_json::from_slice::<serde_json::Value>(&said.replies[0]).unwrap()
    };
    let plain = prepared("made");
    let mut full = prepared("full");
    let members = full.as_object_mut().unwrap();
    assert_eq!(
        members.remove("bound"),
        Some(serde_json::json!({ "level": "dram", "unit": "f32" }))
    );
    assert_eq!(members.remove("timer_resolution_ns"), Some(500.into()));
    assert_eq!(
        members.remove("facts"),
        Some(serde_json::json!({ "registers": "32" }))
    );
    assert_eq!(full, plain);
}

/// Any text, number and integer that the protocol carries.
type Given = (String, f64, i64, bool);

fn given() -> impl Strategy<Value = Vec<Given>> {
    let text = proptest::collection::vec(any::<char>(), 0..30).prop_map(String::from_iter);
    let control = proptest::collection::vec(0u8..0x30, 0..30)
        .prop_map(|bytes| bytes.into_iter().map(char::from).collect());
    let number =
        proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO;
    let integer = -ParamValue::MAX_INT..=ParamValue::MAX_INT;
    let one = (prop_oneof![text, control], number, integer, any::<bool>());
    proptest::collection::vec(one, 100..300)
}

#[test]
fn texts_and_numbers_arrive_as_they_were_sent() {
    let Some(program) = odd() else { return };
    proptest!(ProptestConfig::with_cases(8), |(given in given())| {
        let mut requests = Vec::new();
        for (text, number, integer, flag) in &given {
            let params = [
                ("text".into(), ParamValue::Text(text.clone())),
                ("number".into(), ParamValue::Float(*number)),
                ("integer".into(), ParamValue::Int(*integer)),
                ("flag".into(), ParamValue::Bool(*flag)),
            ];
            requests.push(prepare("echo", "cpu", TimingMode::Host, params.into()));
            requests.extend([Request::Verify, Request::Teardown]);
        }
        let said = session(&program, &[], &lines(&requests)).exits(0);
        let (_, ends) = said.judged(&requests);
        for ((text, number, integer, flag), ends) in given.iter().zip(ends.chunks(3)) {
            prop_assert_eq!(&prepared(&ends[0]).work.formula, text);
            prop_assert_eq!(prepared(&ends[0]).work.items, Some(u64::from(*flag)));
            prop_assert_eq!(&verified(&ends[1]).detail, text);
            let Reply::TornDown { values } = &ends[2] else { panic!("{ends:?}") };
            prop_assert_eq!(values["number"].to_bits(), number.to_bits());
            prop_assert_eq!(values["integer"].to_bits(), (*integer as f64).to_bits());
        }
    });
}
