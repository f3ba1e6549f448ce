//! Energy per iteration, from records to values.

use assay_record::body::TelemetrySeries;
use assay_record::{Block, Field, Record, Samples};
use assay_store::synthetic::Recipe;
use assay_verdicts::RunSummary;

use crate::summaries::store;

const SECOND: u64 = 1_000_000_000;
const UUID: &str = "GPU-0a";

/// A block that was measured for three seconds on a GPU that took 200 W, another beside it 50.
fn measure(block: &mut Block, second: u64) {
    let begin = second * SECOND;
    block.device = Some("0A".into());
    if let Some(prepared) = &mut block.prepared {
        prepared.work.items = Some(8);
    }
    block.warmup = 1;
    block.samples = Samples::default();
    for i in 0..31 {
        block.samples.start_ns.push(begin + i * SECOND / 10);
        block.samples.host_ns.push(SECOND / 10);
        block.samples.iterations.push(100);
    }
    let at_ns: Vec<u64> = (0..32).map(|i| begin + i * SECOND / 10).collect();
    block.telemetry = [("gpu.2.energy", 50.0), ("gpu.3.energy", 200.0)]
        .map(|(name, watts)| TelemetrySeries {
            name: name.into(),
            unit: "J".into(),
            values: at_ns.iter().map(|at| *at as f64 / 1e9 * watts).collect(),
            at_ns: at_ns.clone(),
        })
        .into();
}

/// A record of two cases on GPU 3, of which only the first was measured for long.
fn record(recipe: &Recipe) -> Record {
    let mut record = recipe.record();
    let hardware = &mut record.header.fingerprint.hardware;
    hardware.insert("gpu.count".into(), Field::int(4));
    hardware.insert("gpu.3.uuid".into(), Field::text(UUID));
    for case in &mut record.header.manifest.cases {
        case.device.kind = assay_protocol::DeviceKind::Cuda;
    }
    let first = record.header.manifest.cases[0].id.clone();
    for (block, second) in record.blocks.iter_mut().zip(0..) {
        if block.case == first {
            measure(block, 10 * second);
        }
    }
    record
}

#[test]
fn verdicts_energy_is_told_where_rounds_were_long_enough() {
    let recipe = Recipe {
        cases: 2,
        ..Recipe::default()
    };
    let (store, _folder) = store(&[record(&recipe)]);
    let summary = RunSummary::of(&store, &recipe.run()).unwrap();
    assert!(summary.cases.iter().all(|case| case.energy.is_none()));
    let summary = summary.with_energy(&store).unwrap();
    let energy = summary.cases[0].energy.as_ref().unwrap();
    assert_eq!(energy.rounds.len(), 4);
    // 200 W for 0.1 s, over 100 iterations.
    assert!((energy.estimate.estimate - 0.2).abs() < 1e-9);
    let per_item = energy.per_item.as_ref().unwrap();
    assert!((per_item.estimate - 0.2 / 8.0).abs() < 1e-9);
    assert!(per_item.low <= per_item.estimate && per_item.estimate <= per_item.high);
    assert!((energy.error - 0.1 / 3.0).abs() < 1e-9);
    assert!(summary.cases[1].energy.is_none());
}

/// The same record, of cases that GPUs 3 and 2 ran together.
fn record_of_two(recipe: &Recipe) -> Record {
    let mut record = record(recipe);
    let hardware = &mut record.header.fingerprint.hardware;
    hardware.insert("gpu.2.uuid".into(), Field::text("GPU-0b"));
    for block in &mut record.blocks {
        block.device = Some(format!("{UUID},GPU-0b"));
    }
    record
}

#[test]
fn verdicts_energy_of_several_gpus_is_that_of_all() {
    let recipe = Recipe::default();
    let (store, _folder) = store(&[record_of_two(&recipe)]);
    let summary = RunSummary::of(&store, &recipe.run()).unwrap();
    let summary = summary.with_energy(&store).unwrap();
    let energy = summary.cases[0].energy.as_ref().unwrap();
    // 200 W and 50 W for 0.1 s, over 100 iterations.
    assert!((energy.estimate.estimate - 0.25).abs() < 1e-9);
    let per_item = energy.per_item.as_ref().unwrap();
    assert!((per_item.estimate - 0.25 / 8.0).abs() < 1e-9);
    assert_eq!(energy.gpus, [3, 2]);
    assert_eq!(summary.cases[0].energy_lacks, None);
}

/// What is done to a record.
type Mend = fn(&mut Record);

/// Part of it would be taken for all.
#[test]
fn verdicts_energy_of_several_gpus_is_not_told_where_one_does_not_tell_its_part() {
    let recipe = Recipe::default();
    let edits: [(Mend, &str); 3] = [
        (
            |record| {
                for block in &mut record.blocks {
                    block.telemetry.retain(|one| one.name != "gpu.2.energy");
                }
            },
            "GPU 2 tells nothing of its own",
        ),
        (
            |record| {
                let settings = &mut record.header.fingerprint.settings;
                settings.insert("gpu.2.mig".into(), Field::bool(true));
            },
            "the counter of GPU 2, which is divided, is that of the whole",
        ),
        (
            |record| {
                let hardware = &mut record.header.fingerprint.hardware;
                hardware.remove("gpu.2.uuid");
            },
            "it is not known which of the machine's GPUs ran it",
        ),
    ];
    for (edit, why) in edits {
        let mut record = record_of_two(&recipe);
        edit(&mut record);
        let (store, _folder) = store(&[record]);
        let summary = RunSummary::of(&store, &recipe.run()).unwrap();
        let summary = summary.with_energy(&store).unwrap();
        assert_eq!(summary.cases[0].energy, None, "{why}");
        assert_eq!(summary.cases[0].energy_lacks.as_deref(), Some(why));
    }
}

/// A change to a record, and whether energy is told of it.
type Edit = (fn(&mut Record), bool);

#[test]
fn verdicts_energy_of_a_slice_or_of_an_unknown_gpu_is_not_told() {
    let recipe = Recipe::default();
    let divided = |record: &mut Record| {
        let settings = &mut record.header.fingerprint.settings;
        settings.insert("gpu.3.mig".into(), Field::bool(true));
    };
    let unknown = |record: &mut Record| {
        record
            .blocks
            .iter_mut()
            .for_each(|block| block.device = None);
    };
    let alone = |record: &mut Record| {
        let hardware = &mut record.header.fingerprint.hardware;
        hardware.insert("gpu.count".into(), Field::int(1));
        for block in &mut record.blocks {
            block.device = None;
            for series in &mut block.telemetry {
                series.name = series.name.replace("gpu.3.", "gpu.0.");
            }
        }
    };
    let edits: [Edit; 3] = [(divided, false), (unknown, false), (alone, true)];
    for (edit, is_told) in edits {
        let mut record = record(&recipe);
        edit(&mut record);
        let (store, _folder) = store(&[record]);
        let summary = RunSummary::of(&store, &recipe.run()).unwrap();
        let summary = summary.with_energy(&store).unwrap();
        assert_eq!(summary.cases[0].energy.is_some(), is_told);
    }
}
