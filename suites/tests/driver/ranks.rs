//! Ranks of a training on several emulated GPUs, by the emulated NCCL.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use assay_protocol::{CaseSpec, Reply, Request, TimingMode};

use super::emulated;
use super::training::{
    APART, Given, STEPS, Trained, int, largest_distance, model, text, train, train_in,
};
use super::worker::Worker;

/// A model whose steps have so many turns, shared by so many ranks.
fn shared(turns: i64, ranks: i64) -> CaseSpec {
    let given = [
        ("accumulation", int(turns)),
        ("ranks", int(ranks)),
        ("experts", int(2)),
    ];
    model("cuda", &given)
}

/// Trains on so many GPUs, with NCCL making a mistake, if any.
fn train_on(
    folder: &Path,
    [gpus, mistake]: [&str; 2],
    case: CaseSpec,
    samples: usize,
) -> Result<Trained, String> {
    let variables = [
        ("ASSAY_EMULATED_DEVICES", gpus),
        ("ASSAY_EMULATED_NCCL", mistake),
    ];
    train_in(&mut Worker::start(folder, &variables), case, samples)
}

#[test]
fn two_gpus_have_the_bits_of_one() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let alone = train(folder, shared(4, 1), STEPS).unwrap();
    let in_turns = |case| train_on(folder, ["2", ""], case, STEPS + 1).unwrap();
    let two = in_turns(shared(4, 2));
    let replayed = in_turns(CaseSpec {
        timing: TimingMode::Graph,
        ..shared(4, 2)
    });
    for found in [&two, &replayed] {
        assert!(found.verification.passed, "{found:?}");
        assert_eq!(found.bits()[..STEPS], alone.bits());
        // After the last step all begin again, together.
        assert_eq!(found.bits()[STEPS], alone.bits()[0]);
        assert_eq!(found.verification.output, alone.verification.output);
        assert!(found.prepared.deterministic);
    }
    let facts = &two.prepared.facts;
    assert_eq!(facts["nccl"], "2.99.99");
    let uuid = |last| format!("GPU-456d756c-6174-6564-2064-65766963650{last}");
    assert_eq!(facts["ranks"], format!("2: {}, {}", uuid(0), uuid(1)));
    // Those whose energy and faults are those of the case.
    let of_both = format!("{},{}", uuid(0), uuid(1));
    assert_eq!(two.prepared.device, Some(of_both));
    assert_eq!(alone.prepared.device, Some(uuid(0)));
    assert!(facts["mfu"].ends_with(", times 2 ranks"), "{facts:?}");
    assert!(two.samples[1].values["time_all_reduce"] > 0.0);
    assert!(!alone.prepared.facts.contains_key("nccl"));
}

/// What two GPUs have begun one goes on with, and the other way about.
#[test]
fn two_gpus_go_on_from_a_checkpoint_and_others_from_theirs() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| text(files.path().join(name).to_str().unwrap());
    let steps = ("steps", int(2 * STEPS as i64));
    let case = |ranks: i64, given: &[Given]| {
        let own = [("accumulation", 4), ("ranks", ranks)];
        let own = own.map(|(name, size)| (name, int(size)));
        model("cuda", &[&own[..], given].concat())
    };
    let train_all = |case: CaseSpec, samples: usize| {
        let found = train_on(folder, ["2", ""], case, samples).unwrap();
        assert!(found.verification.passed, "{found:?}");
        found.bits()
    };
    let [alone, together] = [1, 2].map(|ranks| {
        let save = ("save", path(&format!("of-{ranks}")));
        train_all(case(ranks, &[save]), STEPS)
    });
    assert_eq!(alone, together);
    // What is repeated begins where it was resumed, by all.
    let goes_on = |written: i64, ranks: i64| {
        let given = [steps.clone(), ("resume", path(&format!("of-{written}")))];
        let found = train_all(case(ranks, &given), STEPS + 1);
        assert_eq!(found[STEPS], found[0], "{written} {ranks}");
        assert_ne!(found[0], alone[0], "{written} {ranks}");
        found
    };
    let expected = goes_on(1, 1);
    for (written, ranks) in [(1, 2), (2, 2), (2, 1)] {
        assert_eq!(goes_on(written, ranks), expected, "{written} {ranks}");
    }
    let bytes = fs::read(files.path().join("of-2")).unwrap();
    fs::write(files.path().join("cut"), &bytes[..bytes.len() - 4]).unwrap();
    let cut = case(2, &[steps, ("resume", path("cut"))]);
    let reply = train_on(folder, ["2", ""], cut, 1).unwrap_err();
    assert!(
        reply.contains("Failed") && reply.contains("tensor `"),
        "{reply}"
    );
}

/// In what order NCCL adds up more than two is its own affair.
#[test]
fn four_gpus_have_the_losses_of_one_but_for_rounding() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let alone = train(folder, shared(4, 1), STEPS).unwrap();
    let four = train_on(folder, ["4", ""], shared(4, 4), STEPS).unwrap();
    assert!(four.verification.passed, "{four:?}");
    assert!(!four.prepared.deterministic);
    let distance = largest_distance(&four.losses(), &alone.losses());
    assert!(distance > 0.0 && distance <= APART, "{distance}");
}

/// All sums of a step are one group, on each rank on its own device, and nothing is left when a case is over.
#[test]
fn nccl_is_called_in_order() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let log = tempfile::tempdir().unwrap();
    let variables = [
        ("ASSAY_EMULATED_DEVICES", "3"),
        ("ASSAY_EMULATED_NCCL_LOG", log.path().to_str().unwrap()),
    ];
    let case = CaseSpec {
        device: "cuda:Emulated".parse().unwrap(),
        ..shared(2, 2)
    };
    let mut worker = Worker::start(folder, &variables);
    let trained = train_in(&mut worker, case, STEPS).unwrap();
    let (status, words) = worker.end();
    assert!(status.success() && words.is_empty(), "{status} {words}");
    let parameters = trained.prepared.facts["parameters"].parse::<usize>();
    assert!(parameters.unwrap() > 1000);
    for rank in [0, 1] {
        let calls = fs::read_to_string(log.path().join(rank.to_string())).unwrap();
        let calls: Vec<_> = calls.lines().collect();
        assert_eq!(calls[0], format!("meet 2 on {rank}"));
        let groups: Vec<_> = calls
            .iter()
            .filter(|call| call.starts_with("group"))
            .collect();
        // Once before the first step, for first launches are slow.
        assert_eq!(groups.len(), STEPS + 1, "{calls:?}");
        assert!(groups.iter().all(|group| *group == groups[0]), "{calls:?}");
        assert_ne!(groups[0], &"group of 1");
        // The first rank gives its communicator back, once. Others are ended, which may come before they have.
        let ends = calls.iter().rposition(|call| *call != "abort");
        let given_back = calls.len() - 1 - ends.unwrap_or(0);
        assert!(
            given_back == 1 || (given_back == 0 && rank == 1),
            "{calls:?}"
        );
    }
}

#[test]
fn what_ranks_need_and_is_not_there_is_said() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let skipped = |gpus: &str, mistake: &str, folder: &Path, case: CaseSpec, expected: &str| {
        let reply = train_on(folder, [gpus, mistake], case, 1).unwrap_err();
        let is_told = reply.contains("Skipped") && reply.contains(expected);
        assert!(is_told, "{reply}");
    };
    let few = "4 `ranks`: 4 GPUs of one model are needed, and the case selects 3: ";
    skipped("3", "", folder, shared(4, 4), few);
    let one = CaseSpec {
        device: "cuda:1".parse().unwrap(),
        ..shared(2, 2)
    };
    let named = "2 GPUs of one model are needed, and the case selects 1: ";
    skipped("2", "", folder, one, named);
    skipped("0", "", folder, shared(2, 2), "no CUDA device");
    // A folder where the loader finds files of these names that are no libraries.
    let without = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        symlink(entry.path(), without.path().join(entry.file_name())).unwrap();
    }
    fs::remove_file(without.path().join("libnccl.so.2")).unwrap();
    for name in ["libnccl.so.2", "libnccl.so"] {
        fs::write(without.path().join(name), "no library").unwrap();
    }
    let missing = "no NCCL library: install it";
    skipped("2", "", without.path(), shared(2, 2), missing);
    // The worker goes on, and one rank needs no NCCL.
    let variables = [("ASSAY_EMULATED_DEVICES", "2")];
    let mut worker = Worker::start(without.path(), &variables);
    assert!(train_in(&mut worker, shared(2, 2), 1).is_err());
    let trained = train_in(&mut worker, shared(2, 1), 1).unwrap();
    assert!(trained.verification.passed, "{trained:?}");
    // All of a rank's memory is that of its own device.
    let mut worker = Worker::start(
        folder,
        &[variables[0], ("ASSAY_EMULATED_MEMORY", "4000000")],
    );
    let sizes = [("width", int(64)), ("layers", int(4)), ("ranks", int(2))];
    let large = [&sizes[..], &[("accumulation", int(2))]].concat();
    let reply = train_in(&mut worker, model("cuda", &large), 1).unwrap_err();
    let expected = "not enough memory on the device: the case needs ";
    let is_told = reply.contains("Skipped") && reply.contains(expected);
    assert!(is_told, "{reply}");
}

/// What goes wrong on the way ends the case, and says of whom; nobody waits for a rank that is gone.
#[test]
fn what_goes_wrong_with_ranks_is_said() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let mistakes = [
        ("die 1 3", "rank 1: it ended: exit status: 9"),
        ("late 0 3 6", "NCCL: all-reduce: remote process exited"),
        ("late 1 3 3", "rank 1: NCCL: all-reduce: internal error"),
        (
            "fail 0 40 5",
            "NCCL: all-reduce: invalid usage; as it was told (5)",
        ),
        ("fail 1 40 5", "rank 1: NCCL: all-reduce: invalid usage"),
        (
            "meet 1 0 2",
            "rank 1 of 2 meets the others: unhandled system error",
        ),
        (
            "skew 1 3",
            "parameters after step 2: rank 1 has other bits than rank 0",
        ),
    ];
    for (mistake, expected) in mistakes {
        for timing in [TimingMode::Hot, TimingMode::Graph] {
            // What is captured is not called again.
            if mistake.starts_with("fail") && timing == TimingMode::Graph {
                continue;
            }
            let case = CaseSpec {
                timing,
                ..shared(2, 2)
            };
            let found = train_on(folder, ["2", mistake], case, STEPS);
            let found = found.map(|trained| trained.verification);
            assert!(found.is_err(), "{mistake} {timing}: {found:?}");
            let reply = found.unwrap_err();
            let is_told = reply.contains("Failed") && reply.contains(expected);
            assert!(is_told, "{mistake} {timing}: {reply}");
        }
    }
}

/// A rank alone that is asked for by nobody, as a harness that ends leaves it.
#[test]
fn a_rank_ends_with_the_one_that_started_it() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let log = tempfile::tempdir().unwrap();
    let variables = [
        ("ASSAY_EMULATED_DEVICES", "2"),
        ("ASSAY_EMULATED_NCCL_LOG", log.path().to_str().unwrap()),
    ];
    let mut worker = Worker::start(folder, &variables);
    let given = [("text", text("/no/such/file"))];
    let bad = model(
        "cuda",
        &[&given[..], &[("ranks", int(2)), ("accumulation", int(2))]].concat(),
    );
    let (_, end) = worker.ask(&Request::Prepare { case: bad });
    assert!(
        matches!(&end, Reply::Failed { reason } if reason.contains("/no/such/file")),
        "{end:?}"
    );
    let case = shared(2, 2);
    let (_, end) = worker.ask(&Request::Prepare { case });
    assert!(matches!(end, Reply::Prepared(_)), "{end:?}");
    let (status, words) = worker.end();
    assert!(status.success() && words.is_empty(), "{status} {words}");
}
