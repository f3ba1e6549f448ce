//! Generators of items as a workload: how many bytes a second they make, and whether items are what their labels say.

use std::collections::BTreeMap;

use assay_kernels::{device, parameters};
use assay_protocol::{
    CaseSpec, Catalog, DeviceKind, Digest, Direction, Failure, Measured, Metric, MetricKind,
    ParamValue, ParameterInfo, ParameterKind, Prepared, TimingMode, Unit, Verification, Work,
    Workload, WorkloadInfo,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::recipe::NAMES;
use super::{Form, Items, Recipe, append_all, bytes};
use crate::memory;
use crate::synthetic::workload::MOST_ROWS;

/// Items that are checked: each takes longer than it took to make.
const CHECKED: u64 = 64;

/// Makes items into memory.
#[derive(Clone, Copy, Debug)]
pub struct MakeItems;

impl Catalog for MakeItems {
    fn info(&self) -> WorkloadInfo {
        let integer = |name: &str, default: Option<i64>| ParameterInfo {
            name: name.into(),
            kind: ParameterKind::Int,
            default: default.map(ParamValue::Int),
            minimum: Some(1),
            choices: vec![],
            devices: vec![],
            optional: false,
        };
        let choices = NAMES.map(|name| ParamValue::Text(name.into())).to_vec();
        let generator = ParameterInfo {
            name: "generator".into(),
            kind: ParameterKind::Text,
            default: choices.first().cloned(),
            minimum: None,
            choices,
            devices: vec![],
            optional: false,
        };
        WorkloadInfo {
            name: "synth-items".into(),
            summary: "makes spectra, series, texts, instruction records or pictures".into(),
            definition: 1,
            parameters: vec![integer("items", None), generator, parameters::threads()],
            timing: vec![
                TimingMode::Hot,
                TimingMode::Cold,
                TimingMode::Graph,
                TimingMode::Host,
            ],
            devices: vec![DeviceKind::Cpu, DeviceKind::Cuda],
        }
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        match case.device.kind {
            DeviceKind::Cpu => Ok(Box::new(Case::new(case)?)),
            DeviceKind::Cuda => on_cuda(case),
        }
    }
}

/// Fails if items are more than memory holds, or than a seed has.
fn check_size(items: u64, form: &Form) -> Result<(), Failure> {
    if items >= MOST_ROWS {
        return Err(Failure::Failed(format!(
            "parameter `items` is {items}: expected fewer than 2^44, which is as many as a seed has"
        )));
    }
    // Half of them are made once more to be compared.
    let bytes = items.saturating_mul(form.bytes() as u64);
    device::memory::ensure_fits(bytes.saturating_add(bytes / 2))
}

struct Case {
    maker: Box<dyn Items>,
    seed: u64,
    items: u64,
    pool: ThreadPool,
    prepared: Prepared,
    made: Vec<u8>,
    /// Whether [`memory::peak`] tells of it alone.
    is_watched: bool,
    /// Most bytes held while it was timed.
    peak: Option<f64>,
}

/// A parameter that is a count.
fn count(case: &CaseSpec, name: &str) -> Result<u64, Failure> {
    let value = case.params.get(name).and_then(ParamValue::as_u64);
    value.filter(|n| *n >= 1).ok_or_else(|| {
        Failure::Failed(format!(
            "parameter `{name}`: expected an integer of at least 1"
        ))
    })
}

fn recipe(case: &CaseSpec) -> Result<Recipe, Failure> {
    let generator = case.params.get("generator").and_then(ParamValue::as_str);
    let recipe = Recipe::of(generator.unwrap_or(NAMES[0]), serde_json::Map::new());
    recipe.map_err(|what| Failure::Failed(format!("parameter `generator`: {what}")))
}

/// Items that a device makes where they are to be used: they stay there.
fn on_cuda(case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
    let (items, recipe) = (count(case, "items")?, recipe(case)?);
    let alone = || {
        Failure::Skipped(format!(
            "`{}` are made by the host alone: none of their kernels are written for CUDA devices",
            recipe.name()
        ))
    };
    if !matches!(recipe, Recipe::Spectra(_)) {
        return Err(alone());
    }
    let maker = recipe.build(None).map_err(Failure::Failed)?;
    check_size(items, &maker.form())?;
    let program = maker.program(case.seed.0, items as usize);
    device::prepare(case, program.ok_or_else(alone)?)
}

impl Case {
    fn new(case: &CaseSpec) -> Result<Self, Failure> {
        if case.timing != TimingMode::Hot {
            return Err(Failure::Skipped(format!(
                "timing mode `{}` is for CUDA devices",
                case.timing
            )));
        }
        let (items, threads) = (count(case, "items")?, count(case, "threads")?);
        let recipe = recipe(case)?;
        let is_watched = memory::watch();
        let maker = recipe.build(None).map_err(Failure::Failed)?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads as usize)
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
        check_size(items, &maker.form())?;
        let seed = case.seed.0;
        // How many bytes lines have is known when they are made.
        let made = pool.install(|| bytes(&*maker, seed, 0, items));
        let mut facts: BTreeMap<String, String> = maker.facts().into_iter().collect();
        facts.insert("generator".into(), recipe.name().into());
        let prepared = Prepared {
            work: Work {
                bytes: Some(made.len() as u64),
                items: Some(items),
                formula: "bytes = those of the items; items = items".into(),
                ..Work::default()
            },
            metrics: is_watched.then(peak_memory).into_iter().collect(),
            deterministic: true,
            facts,
            ..Prepared::default()
        };
        Ok(Self {
            maker,
            seed,
            items,
            pool,
            prepared,
            made,
            is_watched,
            peak: None,
        })
    }

    /// The first items, each with its bytes.
    fn first_items(&self) -> Vec<&[u8]> {
        let checked = self.items.min(CHECKED) as usize;
        match self.maker.form() {
            Form::Line { .. } => self
                .made
                .split_inclusive(|byte| *byte == b'\n')
                .take(checked)
                .collect(),
            Form::Array { .. } => {
                let each = self.made.len() / self.items as usize;
                self.made.chunks_exact(each).take(checked).collect()
            }
        }
    }
}

impl Workload for Case {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let (maker, made) = (&*self.maker, &mut self.made);
        for _ in 0..iterations {
            made.clear();
            self.pool
                .install(|| append_all(maker, self.seed, 0, self.items, made));
        }
        Ok(Measured::default())
    }

    /// That the first items are what their labels say, and that one thread makes the same from the middle on.
    fn verify(&mut self) -> Result<Verification, Failure> {
        self.peak = memory::peak().filter(|_| self.is_watched);
        let first = self.first_items();
        let wrong: Vec<String> = (0..)
            .zip(&first)
            .filter_map(|(item, bytes)| {
                let what = self.maker.check(self.seed, item, bytes).err()?;
                Some(format!("item {item}: {what}"))
            })
            .collect();
        let alone = ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let middle = self.items / 2;
        let again = alone.install(|| bytes(&*self.maker, self.seed, middle, self.items - middle));
        let is_same = self.made.ends_with(&again);
        let detail = match wrong.first() {
            Some(what) => what.clone(),
            None => format!(
                "{} items read back, and the second half made again by one thread",
                first.len()
            ),
        };
        Ok(Verification {
            passed: wrong.is_empty() && is_same,
            error: Some(wrong.len() as f64 + f64::from(u8::from(!is_same))),
            tolerance: Some(0.0),
            output: Some(Digest::of(&self.made)),
            detail,
        })
    }

    fn finish(&mut self) -> Result<BTreeMap<String, f64>, Failure> {
        let peak = self.peak.map(|peak| ("peak_memory".to_owned(), peak));
        Ok(peak.into_iter().collect())
    }
}

/// Resident memory at its most while it was timed, with all that was made.
fn peak_memory() -> Metric {
    Metric::new(
        "peak_memory",
        Unit::from("B"),
        Direction::Lower,
        MetricKind::Case,
    )
}

#[cfg(test)]
mod tests {
    use assay_protocol::{CaseSpec, Catalog as _, DeviceSelector, ParamValue, TimingMode};

    use super::{MakeItems, NAMES};

    fn case(generator: &str, items: i64) -> CaseSpec {
        let params = [
            ("items", ParamValue::Int(items)),
            ("generator", ParamValue::Text(generator.into())),
            ("threads", ParamValue::Int(2)),
        ];
        CaseSpec {
            workload: "synth-items".into(),
            params: params.map(|(name, value)| (name.to_owned(), value)).into(),
            seed: 3.into(),
            device: DeviceSelector::CPU,
            timing: TimingMode::Hot,
            command: None,
            kernel: None,
        }
    }

    #[test]
    fn every_generator_is_verified() {
        for name in NAMES {
            let mut workload = MakeItems.prepare(&case(name, 100)).unwrap();
            workload.run(2).unwrap();
            let verification = workload.verify().unwrap();
            assert!(verification.passed, "{name}: {verification:?}");
            assert!(workload.prepared().work.bytes.unwrap() > 1000);
        }
    }

    #[test]
    fn bad_parameters_are_named() {
        let error = |case: &CaseSpec| format!("{:?}", MakeItems.prepare(case).err().unwrap());
        assert!(error(&case("spectra", 0)).contains("`items`"));
        assert!(error(&case("novels", 1)).contains("`generator`"));
        let mut elsewhere = case("grammar", 1);
        elsewhere.device = "cuda".parse().unwrap();
        assert!(error(&elsewhere).contains("`grammar` are made by the host alone"));
        let mut cold = case("grammar", 1);
        cold.timing = TimingMode::Cold;
        assert!(error(&cold).contains("for CUDA devices"));
        assert!(error(&case("spectra", 1 << 44)).contains("as many as a seed has"));
        for generator in ["spectra", "grammar"] {
            let large = error(&case(generator, 1 << 43));
            assert!(
                large.contains("Skipped") && large.contains("not enough memory"),
                "{large}"
            );
        }
    }
}
