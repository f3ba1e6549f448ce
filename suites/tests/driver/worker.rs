//! The worker program on the emulated driver, and what is said to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use assay_protocol::{Exchange, Metric, Reply, Request, Sample, Step};

/// A worker that is running.
pub struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    metrics: Vec<Metric>,
    earlier_ns: u64,
}

impl Worker {
    /// Starts one on the driver of a folder, with some variables beside.
    pub fn start(driver: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_assay-worker"))
            .env("LD_LIBRARY_PATH", driver)
            .env(
                "XDG_CACHE_HOME",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("driver/cache"),
            )
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            metrics: vec![],
            earlier_ns: 0,
        }
    }

    /// Asks, and judges the reply by the rules of the protocol: its samples, and how it ended.
    pub fn ask(&mut self, request: &Request) -> (Vec<Sample>, Reply) {
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        self.input.write_all(&line).unwrap();
        let mut exchange = Exchange::new(request, &self.metrics, self.earlier_ns);
        let mut samples = vec![];
        let end = loop {
            let mut line = vec![];
            self.output.read_until(b'\n', &mut line).unwrap();
            assert!(line.pop().is_some(), "the worker is gone: {}", self.words());
            match exchange.accept(&line).unwrap() {
                Step::Sample(sample) => samples.push(sample),
                Step::Progress(_) => {}
                Step::Done(end) => break end,
            }
        };
        self.earlier_ns = exchange.last_end_ns();
        if let Reply::Prepared(prepared) = &end {
            self.metrics.clone_from(&prepared.metrics);
        }
        (samples, end)
    }

    /// What a worker that has ended said on standard error.
    fn words(&mut self) -> String {
        let mut words = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut words)
            .unwrap();
        words
    }

    /// Waits for its end. Its input stays open until then: it ends of itself.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends its input, waits for its end, and gives what it said on standard error.
    pub fn end(mut self) -> (ExitStatus, String) {
        drop(self.input);
        let mut words = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut words)
            .unwrap();
        (self.child.wait().unwrap(), words)
    }
}
