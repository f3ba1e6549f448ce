//! Several ranks that train one model have the bits of one that does it alone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assay_protocol::message::Line;
use assay_protocol::{
    CaseSpec, Catalog as _, Digest, Failure, ParamValue, Reply, Request, SampleRequest,
};
use assay_suites::training::checkpoint;
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
    bits_of(3, &mut training)
}

/// The same of some steps.
fn bits_of(steps: usize, training: &mut Training) -> Vec<[u64; 2]> {
    let steps = (0..steps).map(|_| training.step().unwrap());
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

/// What so many ranks come to, each by itself; one alone is no rank.
fn each<T: Send>(of: usize, run: impl Fn(&Together, usize) -> T + Sync) -> Vec<T> {
    if of == 1 {
        return vec![run(&Together::alone(2), 0)];
    }
    let folder = tempfile::tempdir().unwrap();
    let of_rank = |rank: usize| {
        let ranks = Some(Ranks::meet(folder.path(), Place { rank, of }).unwrap());
        let device = Device::Host(1);
        run(&Together { device, ranks }, rank)
    };
    std::thread::scope(|scope| {
        let of_rank = &of_rank;
        let all: Vec<_> = (0..of)
            .map(|rank| scope.spawn(move || of_rank(rank)))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

/// A checkpoint is one of all ranks: any number of them goes on from that of any other number, with the bits of those that never stopped.
#[test]
fn any_number_of_ranks_goes_on_from_a_checkpoint_of_any() {
    let folder = tempfile::tempdir().unwrap();
    let path = |of: usize| folder.path().join(format!("{of}.safetensors"));
    for params in [
        &[("experts", int(3)), ("optimizer", text("adan"))][..],
        &[("optimizer", text("sophia-g")), ("curvature_every", int(2))],
        &[("stored", text("f16"))],
    ] {
        let mut setup = Setup::of(&of_text(params)).unwrap();
        setup.plan.steps = 6;
        let corpus = setup.corpus().unwrap();
        let straight = bits_of(
            6,
            &mut language::begin(&setup, &corpus)
                .training(&Together::alone(2))
                .unwrap(),
        );
        for of in [1, 2, 4] {
            each(of, |together, rank| {
                let mut training = language::begin(&setup, &corpus).training(together).unwrap();
                assert_eq!(bits_of(3, &mut training), straight[..3]);
                if rank == 0 {
                    checkpoint::save(&training, &path(of)).unwrap();
                }
            });
        }
        let [one, two, four] = [1, 2, 4].map(|of| std::fs::read(path(of)).unwrap());
        assert!(one == two && one == four, "{params:?}");
        setup.plan.resume = Some(path(2));
        for of in [1, 2, 4] {
            each(of, |together, _| {
                let mut training = language::begin(&setup, &corpus).training(together).unwrap();
                assert_eq!((training.first(), training.at()), (3, 3));
                // And so whenever they begin again.
                for _ in 0..2 {
                    assert_eq!(
                        bits_of(3, &mut training),
                        straight[3..],
                        "{of} ranks, {params:?}"
                    );
                    training.restart().unwrap();
                }
            });
        }
    }
}

/// What ranks do not have in common ends them all, by the name of what it is.
#[test]
fn ranks_that_read_other_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(format!("{name}.safetensors"));
    let setup = Setup::of(&of_text(&[])).unwrap();
    let corpus = setup.corpus().unwrap();
    let mut training = language::begin(&setup, &corpus)
        .training(&Together::alone(1))
        .unwrap();
    training.step().unwrap();
    checkpoint::save(&training, &path("good")).unwrap();
    let (third, buffer) = training
        .tensors()
        .nth(2)
        .map(|(name, _, buffer)| (name.to_owned(), buffer))
        .unwrap();
    let len = training.session().read(buffer).unwrap().bytes().len();
    training.write(buffer, &vec![0; len]).unwrap();
    checkpoint::save(&training, &path("other")).unwrap();
    training.step().unwrap();
    checkpoint::save(&training, &path("later")).unwrap();
    let mut bytes = std::fs::read(path("good")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path("damaged"), bytes).unwrap();
    let of_two = |files: [&str; 2]| {
        let found = each(2, |together, rank| {
            let mut setup = setup.clone();
            setup.plan.resume = Some(path(files[rank]));
            let begun = language::begin(&setup, &corpus).training(together);
            begun.err().map(|failure| failure.to_string())
        });
        <[Option<String>; 2]>::try_from(found).unwrap()
    };
    assert_eq!(of_two(["good", "good"]), [None, None]);
    for (file, name) in [
        ("other", format!("tensor `{third}`")),
        ("later", "the step".into()),
    ] {
        let words =
            format!("failed: parameter `resume`: {name}: rank 1 has other bits than rank 0");
        let expected = [Some(words.clone()), Some(words)];
        assert_eq!(of_two(["good", file]), expected);
    }
    let [first, second] = of_two(["good", "damaged"]).map(Option::unwrap);
    assert!(first.contains("rank 1 is no longer there"), "{first}");
    assert!(
        second.contains("damaged.safetensors: tensor `") && second.contains("is damaged"),
        "{second}"
    );
}

/// A file that is written again while a training goes on from it would make repetitions of another training.
#[test]
fn a_checkpoint_that_changes_on_the_way_ends_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("half.safetensors");
    let mut setup = Setup::of(&of_text(&[])).unwrap();
    let corpus = setup.corpus().unwrap();
    let begin = |setup: &Setup| {
        language::begin(setup, &corpus)
            .training(&Together::alone(1))
            .unwrap()
    };
    let mut training = begin(&setup);
    training.step().unwrap();
    checkpoint::save(&training, &path).unwrap();
    setup.plan.resume = Some(path.clone());
    let mut resumed = begin(&setup);
    resumed.restart().unwrap();
    training.step().unwrap();
    checkpoint::save(&training, &path).unwrap();
    let words = resumed.restart().unwrap_err().to_string();
    assert!(
        words.contains(
            "half.safetensors: it is another file than the one that the training began with"
        ),
        "{words}"
    );
    let same = [
        ("save", text("x.safetensors")),
        ("resume", text("x.safetensors")),
    ];
    let words = Setup::of(&of_text(&same)).err().unwrap().to_string();
    assert!(
        words.contains("`resume`: expected another file than that of `save`"),
        "{words}"
    );
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
    // Of no more ranks than this process has CPUs.
    let usable = i64::try_from(assay_kernels::device::host::usable_cpus()).unwrap();
    let counts: Vec<i64> = [1, 2, 4]
        .into_iter()
        .filter(|ranks| *ranks <= usable)
        .collect();
    let is_one = |digests: Vec<Option<Digest>>| {
        let mut digests = digests.iter();
        let first = digests.next().unwrap();
        first.is_some() && digests.all(|one| one == first)
    };
    assert!(is_one(counts.iter().copied().map(digest).collect()));
    // Some of it by as many as may, the rest by any, from what they wrote: with 5 samples all begins again on the way. Rates of warm-up
    // do not depend on how many steps are to come.
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| text(folder.path().join(name).to_str().unwrap());
    let trained = |ranks: i64, params: &[(&str, ParamValue)]| {
        let own = [("ranks", int(ranks)), ("steps", int(6)), ("warmup", int(4))];
        let requests = [
            Request::Prepare {
                case: of_text(&[&own[..], params].concat()),
            },
            Request::Sample(chunk),
            Request::Verify,
        ];
        let ends = served(&requests);
        let Reply::Verified(verification) = &ends[2] else {
            panic!("{ends:?}");
        };
        assert!(verification.passed, "{verification:?}");
        verification.output
    };
    trained(usable.min(2), &[("steps", int(4)), ("save", file("half"))]);
    let goes_on = |ranks: i64| trained(ranks, &[("resume", file("half"))]);
    assert!(is_one(counts.iter().copied().map(goes_on).collect()));
    let damaged = std::fs::read(folder.path().join("half")).unwrap();
    std::fs::write(folder.path().join("cut"), &damaged[..damaged.len() - 4]).unwrap();
    let bad = Request::Prepare {
        case: of_text(&[("ranks", int(usable.min(2))), ("resume", file("cut"))]),
    };
    let [Reply::Failed { reason }] = &served(&[bad])[..] else {
        panic!("a file that is cut short");
    };
    assert!(
        reason.contains("parameter `resume`: ") && reason.contains("tensor `"),
        "{reason}"
    );
    let many = [("ranks", int(8)), ("threads", int(usable))];
    let Err(Failure::Skipped(reason)) = Plan::of(&of_text(&many)) else {
        panic!("eight times as many threads as CPUs");
    };
    assert!(
        reason.contains(" for each of 8 `ranks`, but this process may use "),
        "{reason}"
    );
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
