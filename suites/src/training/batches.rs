//! `find-batch`: the largest batch of a language model whose training fits into memory, and the fastest one.
//!
//! What fits into so many MiB is worked out from the buffers of a step, before anything is allocated. Then a training of that batch is
//! begun; where host or GPU lack memory for it, that is an answer, and the largest that can be begun is looked for. With `memory_mib = 0` that
//! alone decides. A sample takes one timed step, after one that is not, with each power of two up to the largest batch, and with that; its
//! time is that of all of them. The fastest is the one with the most tokens a second, by the median of all samples. Each round may find another
//! one: which that is stands in words, for a mean of batches is one that nobody timed; what is compared over rounds is the rate of each.

use std::collections::BTreeMap;

use assay_kernels::device::memory;
use assay_kernels::parameters::{self, Arguments, wrong};
use assay_protocol::{
    CaseSpec, Catalog, Digest, Direction, Failure, Measured, MetricKind, ParamValue, ParameterInfo,
    Prepared, Verification, Work, Workload, WorkloadInfo,
};

use super::corpus::Corpus;
use super::language;
use super::room;
use super::run::{Together, Training};
use super::setup::{self, Setup};
use super::workload::{info, metric};

/// The catalog entry.
pub struct FindBatch;

fn infos() -> Vec<ParameterInfo> {
    // A batch is what is looked for, and one process looks; nothing is written, and nothing has to be reached.
    let others = [
        "batch",
        "ranks",
        "peer",
        "stop",
        "save",
        "save_every",
        "resume",
        "quality",
        "steps",
        "warmup",
        setup::BASE_STEPS,
    ];
    let mut infos = setup::infos();
    infos.retain(|info| !others.contains(&info.name.as_str()));
    infos.push(ParameterInfo {
        default: Some(ParamValue::Int(1024)),
        ..parameters::integer_from("memory_mib", 0)
    });
    infos.push(parameters::integer_or("most", 1024));
    infos
}

impl Catalog for FindBatch {
    fn info(&self) -> WorkloadInfo {
        let summary =
            "the largest batch of a language model that fits into memory, and the fastest";
        info("find-batch", summary, infos())
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let arguments = Arguments(case);
        arguments.check_most("memory_mib", 1 << 30)?;
        let mib = arguments.size("memory_mib")? as u64;
        let most = arguments.at_most("most", 1 << 20)?;
        let mut whole = case.clone();
        for info in setup::infos() {
            let default = info.default.into_iter();
            default.for_each(|value| _ = whole.params.entry(info.name.clone()).or_insert(value));
        }
        whole.params.insert("batch".into(), ParamValue::Int(1));
        let setup = Setup::of(&whole)?;
        setup.ensure_fits(&whole)?;
        let corpus = setup.corpus()?;
        let search = Search {
            setup,
            corpus,
            bytes: (mib > 0).then_some(mib << 20),
        };
        let by_bytes = largest(most, |batch| Ok(search.fits(batch)))?.ok_or_else(|| {
            let needed = search.footprint(1).div_ceil(1 << 20);
            let expected = format!("at least {needed} for a batch of 1");
            wrong("memory_mib", &expected, case.params.get("memory_mib"))
        })?;
        let (largest, training) = search.begun(by_bytes)?;
        Ok(Box::new(Found::new(search, (largest, most), &training)))
    }
}

/// The largest batch up to `most` that fits, if any does; what fits in less than another one fits, too.
fn largest(
    most: usize,
    fits: impl Fn(usize) -> Result<bool, Failure>,
) -> Result<Option<usize>, Failure> {
    let (mut known, mut beyond) = (0, most + 1);
    // Twice as many as fit, then between these and what does not.
    while beyond - known > 1 {
        let next = if beyond > most {
            (2 * known).clamp(1, most)
        } else {
            known.midpoint(beyond)
        };
        if fits(next)? {
            known = next;
        } else {
            beyond = next;
        }
    }
    Ok((known > 0).then_some(known))
}

/// A model and its data, with batches of any size.
struct Search {
    setup: Setup,
    corpus: Corpus,
    /// What buffers may have, where that is less than the machine has.
    bytes: Option<u64>,
}

impl Search {
    fn with(&self, batch: usize) -> Setup {
        let mut setup = self.setup.clone();
        setup.shape.batch = batch;
        setup
    }

    /// Bytes of all buffers of a training.
    fn footprint(&self, batch: usize) -> u64 {
        language::footprint(&self.with(batch), &self.corpus)
    }

    /// Bytes that a training has at least, of any batch: no program is put together for that.
    fn least(&self, batch: usize) -> u64 {
        let states = self.setup.plan.recipe.optimizer.states().len();
        self.with(batch).least().bytes(states)
    }

    fn fits(&self, batch: usize) -> bool {
        self.bytes
            .is_none_or(|bytes| self.least(batch) <= bytes && self.footprint(batch) <= bytes)
    }

    /// A training, or what is said where memory is lacking.
    fn begin(&self, batch: usize) -> Result<Result<Training, String>, Failure> {
        let setup = self.with(batch);
        let together = Together::on(setup.plan.device.clone());
        if let Err(Failure::Skipped(reason)) = room::ensure(&setup.plan, &setup.least()) {
            return Ok(Err(reason));
        }
        match language::begin(&setup, &self.corpus).training(&together) {
            Err(Failure::Skipped(reason)) if memory::is_lacking(&reason) => Ok(Err(reason)),
            other => other.map(Ok),
        }
    }

    /// The largest batch up to `most` of which a training can be begun, and one.
    fn begun(&self, most: usize) -> Result<(usize, Training), Failure> {
        let reason = match self.begin(most)? {
            Ok(training) => return Ok((most, training)),
            Err(reason) => reason,
        };
        let largest = largest(most - 1, |batch| Ok(self.begin(batch)?.is_ok()))?;
        let largest = largest.ok_or(Failure::Skipped(reason))?;
        let training = self.begin(largest)?.map_err(Failure::Skipped)?;
        Ok((largest, training))
    }
}

struct Found {
    search: Search,
    /// Batches that are timed; the last is the largest.
    batches: Vec<usize>,
    most: usize,
    prepared: Prepared,
    /// Nanoseconds of a step of each, sample by sample.
    times: Vec<Vec<u64>>,
    /// The buffers of the largest, as they were allocated.
    allocated: u64,
}

impl Found {
    fn new(search: Search, (largest, most): (usize, usize), training: &Training) -> Self {
        let powers = (0..usize::BITS).map(|bit| 1 << bit);
        let mut batches: Vec<_> = powers.take_while(|batch| *batch < largest).collect();
        batches.push(largest);
        let (higher, lower, case) = (Direction::Higher, Direction::Lower, MetricKind::Case);
        let inputs = search.setup.inputs(&search.corpus).into_iter();
        let inputs = inputs.map(|(name, digest)| (name.to_owned(), digest));
        let tokens = batches.iter().sum::<usize>() * search.setup.shape.length;
        let mut metrics = vec![
            metric("largest_batch", "1", higher, case),
            metric("fastest_rate", "tokens/s", higher, case),
            metric("buffer_memory", "B", lower, case),
        ];
        let of_batch = |batch: &usize| metric(&rate_metric(*batch), "tokens/s", higher, case);
        metrics.extend(batches.iter().map(of_batch));
        let prepared = Prepared {
            work: Work {
                items: Some(tokens as u64),
                formula: "items = tokens = length times the sum of all batches that are timed"
                    .into(),
                ..Work::default()
            },
            metrics,
            inputs: inputs.collect(),
            // How much memory is free is no input.
            deterministic: search.bytes.is_some(),
            facts: [("batches".to_owned(), format!("{batches:?}"))].into(),
            device: training.session().gpu().map(|(uuid, _)| uuid.to_owned()),
            timer_resolution_ns: training.session().resolution_ns(),
            ..Prepared::default()
        };
        Self {
            times: vec![vec![]; batches.len()],
            search,
            batches,
            most,
            prepared,
            allocated: 0,
        }
    }

    /// Tokens a second of each batch, by the median of its times.
    fn rates(&self) -> Vec<f64> {
        let rate = |(batch, times): (&usize, &Vec<u64>)| {
            let mut times = times.clone();
            times.sort_unstable();
            let ns = times.get(times.len() / 2).copied().unwrap_or(u64::MAX);
            (batch * self.search.setup.shape.length) as f64 / ns.max(1) as f64 * 1e9
        };
        self.batches.iter().zip(&self.times).map(rate).collect()
    }

    /// The batch with the highest rate, and that.
    fn fastest(&self) -> (usize, f64) {
        let rates = self.rates().into_iter();
        let all = self.batches.iter().copied().zip(rates);
        all.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
    }
}

fn rate_metric(batch: usize) -> String {
    format!("rate_{batch}")
}

impl Workload for Found {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn restore(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn most_iterations(&self) -> u64 {
        1
    }

    fn run(&mut self, _: u64) -> Result<Measured, Failure> {
        let is_cuda = self.search.setup.plan.device.is_cuda();
        let (mut on_host, mut on_device) = (0, 0);
        for (batch, times) in self.batches.iter().zip(&mut self.times) {
            let training = self.search.begin(*batch)?;
            let mut training = training.map_err(Failure::Skipped)?;
            training.step()?;
            let took = training.step()?.took;
            times.push(took.ns());
            on_host += took.host_ns;
            on_device += took.ns();
            self.allocated = training.bytes();
        }
        Ok(Measured {
            host_ns: Some(on_host),
            device_ns: is_cuda.then_some(on_device),
            ..Measured::default()
        })
    }

    /// That the largest fits as it was allocated, and that one more would not.
    fn verify(&mut self) -> Result<Verification, Failure> {
        let largest = self.batches[self.batches.len() - 1];
        let more = self.search.footprint(largest + 1);
        let bytes = self.search.bytes.unwrap_or(u64::MAX);
        let (is_largest, of) = if largest == self.most {
            (true, format!("and `most` is {largest}"))
        } else if more > bytes {
            (true, format!("one more {more}, of {bytes}"))
        } else {
            match self.search.begin(largest + 1)? {
                Ok(_) => (false, "and one more fits".into()),
                Err(reason) => (true, format!("one more does not fit: {reason}")),
            }
        };
        let (fastest, rate) = self.fastest();
        let detail = format!(
            "a batch of {largest} has {} bytes, {of}; the fastest is one of {fastest}, with {rate:.0} tokens a second",
            self.allocated
        );
        Ok(Verification {
            passed: self.allocated > 0 && self.allocated <= bytes && is_largest,
            error: None,
            tolerance: None,
            // Which batch is the largest is no matter of time.
            output: Some(Digest::of(largest.to_string())),
            detail,
        })
    }

    fn finish(&mut self) -> Result<BTreeMap<String, f64>, Failure> {
        let of_batches = self.batches.iter().map(|batch| rate_metric(*batch));
        let of_batches = of_batches.zip(self.rates());
        let largest = self.batches[self.batches.len() - 1] as f64;
        let own = [
            ("largest_batch", largest),
            ("fastest_rate", self.fastest().1),
            ("buffer_memory", self.allocated as f64),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        Ok(own.into_iter().chain(of_batches).collect())
    }
}
