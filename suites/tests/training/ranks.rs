//! Several ranks that train one model have the bits of one that does it alone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use assay_protocol::message::Line;
use assay_protocol::{CaseSpec, Catalog as _, Failure, ParamValue, Reply, Request, SampleRequest};
use assay_suites::training::language::{self, TrainLm};
use assay_suites::training::perceptron::{self, TrainMlp};
use assay_suites::training::plan::Plan;
use assay_suites::training::ranks::{Place, Ranks};
use assay_suites::training::rows::Rows;
use assay_suites::training::run::{Together, Training};
use assay_suites::training::session::Device;
use assay_suites::training::setup::{Setup, infos};

use crate::cases::{self, int, text};

fn of_text(params: &[(&str, ParamValue)]) -> CaseSpec {
    let sizes = [
        ("batch", int(2)),
        ("length", int(9)),
        ("width", int(16)),
        ("steps", int(3)),
        ("corpus", int(3000)),
        ("accumulation", int(8)),
    ];
    cases::case("train-lm", infos(), &[&sizes[..], params].concat())
}

/// Bits of losses and norms of three steps.
fn bits(mut training: Training) -> Vec<[u64; 2]> {
    let steps = (0..3).map(|_| training.step().unwrap());
    steps
        .map(|step| [step.loss.to_bits(), step.norm.to_bits()])
        .collect()
}

/// Those of each rank, and of one process alone.
fn compared(of: usize, begin: impl Fn(&Together) -> Result<Training, Failure> + Sync) {
    let folder = tempfile::tempdir().unwrap();
    let of_rank = |folder: &Path, rank: usize| {
        let ranks = Some(Ranks::meet(folder, Place { rank, of }).unwrap());
        let device = Device::Host(1 + rank % 2);
        bits(begin(&Together { device, ranks }).unwrap())
    };
    let alone = bits(begin(&Together::alone(2)).unwrap());
    std::thread::scope(|scope| {
        let start = |rank| {
            let (folder, of_rank) = (folder.path(), &of_rank);
            scope.spawn(move || of_rank(folder, rank))
        };
        let all: Vec<_> = (0..of).map(start).collect();
        for one in all {
            assert_eq!(one.join().unwrap(), alone);
        }
    });
}

#[test]
fn ranks_have_the_bits_of_one() {
    let choices: [&[(&str, ParamValue)]; 3] = [
        &[],
        &[("experts", int(3)), ("optimizer", text("adan"))],
        &[
            ("optimizer", text("sophia-g")),
            ("curvature_every", int(2)),
            ("recompute", text("yes")),
        ],
    ];
    for params in choices {
        let setup = Setup::of(&of_text(params)).unwrap();
        let corpus = setup.corpus().unwrap();
        for of in [2, 4] {
            compared(of, |together| {
                language::begin(&setup, &corpus).training(together)
            });
        }
    }
    // Of turns that are no power of two, each rank has half.
    let infos = TrainMlp.info().parameters;
    let params = [("accumulation", int(6)), ("batch", int(5))];
    let plan = Plan::of(&cases::case("train-mlp", infos, &params)).unwrap();
    let rows = Rows::of_census(5, 200, "health").unwrap();
    let shape = perceptron::Shape {
        batch: 5,
        features: rows.features,
        width: 8,
        layers: 2,
        classes: rows.classes,
    };
    compared(2, |together| {
        perceptron::begin(&plan, shape, &rows.train).training(together)
    });
}

#[test]
fn ranks_that_do_not_share_turns_are_refused() {
    let refuse = |params: &[(&str, ParamValue)], words: &str| {
        let failure = Setup::of(&of_text(params)).err().unwrap().to_string();
        assert!(failure.contains(words), "{failure}");
    };
    refuse(
        &[("ranks", int(3))],
        "`ranks`: expected a power of two that divides `accumulation`, 8",
    );
    refuse(&[("ranks", int(16))], "divides `accumulation`, 8");
    refuse(
        &[("ranks", int(128))],
        "`ranks`: expected an integer of 1 to 64",
    );
    refuse(&[("peer", text("1:/tmp/x"))], "`peer`: expected none");
}

/// The replies of a worker to some requests, each of which ends with the last line.
fn served(requests: &[Request]) -> Vec<Reply> {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_assay-worker"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = worker.stdin.take().unwrap();
    let mut output = BufReader::new(worker.stdout.take().unwrap());
    let mut ends = vec![];
    for request in requests {
        writeln!(input, "{}", serde_json::to_string(request).unwrap()).unwrap();
        ends.push(loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "{ends:?}");
            match serde_json::from_str::<Line>(&line).unwrap().reply {
                Reply::Sample(_) | Reply::Progress { .. } => {}
                end => break end,
            }
        });
    }
    drop(input);
    assert!(worker.wait().unwrap().success());
    ends
}

/// Processes, as a harness has them: the worker starts the other, and compares the first steps with those of itself alone.
#[test]
fn a_worker_trains_with_another() {
    let chunk = SampleRequest {
        max_samples: 5,
        max_ns: 1_000_000_000,
        min_sample_ns: 0,
    };
    let digest = |ranks: i64| {
        let requests = [
            Request::Prepare {
                case: of_text(&[("ranks", int(ranks))]),
            },
            Request::Sample(chunk),
            Request::Verify,
            Request::Teardown,
        ];
        let ends = served(&requests);
        let Reply::Verified(verification) = &ends[2] else {
            panic!("{ends:?}");
        };
        assert!(verification.passed, "{verification:?}");
        assert!(matches!(ends[3], Reply::TornDown { .. }), "{ends:?}");
        verification.output
    };
    let [alone, two, four] = [1, 2, 4].map(digest);
    assert!(alone.is_some() && alone == two && alone == four);
    // One that cannot begin says why, of both.
    let bad = Request::Prepare {
        case: of_text(&[("ranks", int(2)), ("text", text("/no/such/file"))]),
    };
    let [Reply::Failed { reason }] = &served(&[bad])[..] else {
        panic!("a file that is not there");
    };
    assert!(reason.contains("/no/such/file"), "{reason}");
    assert!(TrainLm.prepare(&of_text(&[("ranks", int(3))])).is_err());
}
