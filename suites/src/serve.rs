//! The worker loop: requests in, replies out, one case at a time.
//!
//! The loop batches and times, and judges nothing. Replies are written when they are complete, so that
//! no output disturbs a sample.

mod batch;

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use assay_protocol::message::Line;
use assay_protocol::{
    CaseSpec, Catalog, Failure, MAX_LINE_BYTES, MAX_SAMPLES_PER_CHUNK, Prepared, Reply, Request,
    SampleRequest, Workload,
};

use crate::catalog::catalog;
use crate::{hello, memory, refusal};
use batch::Batch;

/// Answers every request of `input` on `output`, until the input ends.
///
/// A request that cannot be understood or served is answered with a `failed` line, and the loop goes on; where a
/// device was lost to this process with it, the loop ends, and a fresh process can go on. An error is one of the
/// streams themselves.
pub fn serve(mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut server = Server::default();
    let mut line = Vec::new();
    while let Some(complete) = read_line(&mut input, &mut line)? {
        let replies = if complete {
            server.answer(&line)
        } else {
            vec![failed(format!(
                "a request is longer than {MAX_LINE_BYTES} bytes"
            ))]
        };
        write_replies(&mut output, replies)?;
        if assay_kernels::device::cuda::is_lost() {
            break;
        }
    }
    Ok(())
}

/// Reads the next line into `line`, without its newline. `Some(false)` if it was too long and has been passed
/// over, `None` at the end of the input.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let mut read = 0;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok((read > 0).then_some(line.len() <= MAX_LINE_BYTES));
        }
        let newline = available.iter().position(|byte| *byte == b'\n');
        let taken = &available[..newline.unwrap_or(available.len())];
        // One byte more than allowed is enough to know that a line is too long.
        let room = (MAX_LINE_BYTES + 1).saturating_sub(line.len());
        line.extend_from_slice(&taken[..taken.len().min(room)]);
        let used = taken.len() + usize::from(newline.is_some());
        read += used;
        input.consume(used);
        if newline.is_some() {
            return Ok(Some(line.len() <= MAX_LINE_BYTES));
        }
    }
}

fn write_replies(output: &mut impl Write, replies: Vec<Reply>) -> io::Result<()> {
    let mut text = Vec::new();
    for reply in replies {
        serde_json::to_writer(&mut text, &Line::from(reply))?;
        text.push(b'\n');
    }
    output.write_all(&text)?;
    output.flush()
}

fn failed(reason: String) -> Reply {
    Reply::Failed { reason }
}

/// The state between requests.
#[derive(Default)]
struct Server {
    case: Option<Prepare>,
}

/// A prepared case and its batch size, which it keeps from one chunk to the next.
struct Prepare {
    workload: Box<dyn Workload>,
    batch: Batch,
}

impl Server {
    fn answer(&mut self, line: &[u8]) -> Vec<Reply> {
        let request = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(error) => return vec![failed(format!("not a request: {error}"))],
        };
        match catch_unwind(AssertUnwindSafe(|| self.serve(request))) {
            Ok(Ok(replies)) => replies,
            Ok(Err(failure)) => vec![failure.into()],
            Err(panic) => {
                // Whatever it was doing, its state can no longer be trusted.
                self.case = None;
                vec![failed(format!("the worker panicked: {}", message(&*panic)))]
            }
        }
    }

    fn serve(&mut self, request: Request) -> Result<Vec<Reply>, Failure> {
        match request {
            Request::Hello { .. } => Ok(vec![Reply::Hello(hello())]),
            Request::Prepare { case } => self.prepare(&case).map(|p| vec![Reply::Prepared(p)]),
            Request::Sample(bounds) => self.sample(bounds),
            Request::Verify => {
                let verification = self.current()?.workload.verify()?;
                Ok(vec![Reply::Verified(verification)])
            }
            Request::Teardown => {
                let values = self.current()?.workload.finish()?;
                self.case = None;
                finite(&values)?;
                Ok(vec![Reply::TornDown { values }])
            }
        }
    }

    /// Prepares a case in place of the one before, if that was never torn down.
    fn prepare(&mut self, case: &CaseSpec) -> Result<Prepared, Failure> {
        self.case = None;
        // What earlier cases held does not count.
        memory::watch();
        let entry = find(&case.workload)?;
        refusal::check(case, &entry.info())?;
        let workload = entry.prepare(case)?;
        let prepared = workload.prepared().clone();
        self.case = Some(Prepare {
            workload,
            batch: Batch::default(),
        });
        Ok(prepared)
    }

    fn sample(&mut self, bounds: SampleRequest) -> Result<Vec<Reply>, Failure> {
        if !(1..=MAX_SAMPLES_PER_CHUNK).contains(&bounds.max_samples) {
            return Err(Failure::Failed(format!(
                "`max_samples` is {}: expected 1 to {MAX_SAMPLES_PER_CHUNK}",
                bounds.max_samples
            )));
        }
        let Prepare { workload, batch } = self.current()?;
        let samples = batch.take(workload.as_mut(), bounds)?;
        samples
            .iter()
            .try_for_each(|sample| finite(&sample.values))?;
        let end = Reply::Sampled {
            samples: samples.len() as u32,
        };
        Ok(samples
            .into_iter()
            .map(Reply::Sample)
            .chain([end])
            .collect())
    }

    fn current(&mut self) -> Result<&mut Prepare, Failure> {
        self.case
            .as_mut()
            .ok_or_else(|| Failure::Failed("no case is prepared".into()))
    }
}

/// Fails if a value is one that no line can hold, and says which.
fn finite(values: &BTreeMap<String, f64>) -> Result<(), Failure> {
    match values.iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((name, value)) => Err(Failure::Failed(format!(
            "`{name}` is {value}: expected a finite number"
        ))),
    }
}

fn find(name: &str) -> Result<&'static dyn Catalog, Failure> {
    let entry = catalog().iter().find(|entry| entry.info().name == name);
    entry.copied().ok_or_else(|| {
        let names: Vec<_> = catalog().iter().map(|entry| entry.info().name).collect();
        Failure::Failed(format!(
            "no workload is called `{name}`; there are {}",
            names.join(", ")
        ))
    })
}

/// The text of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
