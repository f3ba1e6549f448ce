//! A worker process and the conversation with it: bounded lines, deadlines, and its end.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use assay_protocol::{
    Exchange, Fault, Hello, MAX_LINE_BYTES, Metric, PROTOCOL_VERSION, Reply, Request, Step,
};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::engines::Ran;
use crate::engines::keeper::Keeper;
use crate::interrupt::Interrupt;

/// Longest time from start to hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// A whole reply may take this many times the timeout of one line.
const REPLY_TIMEOUTS: u32 = 10;
/// How much of a worker's standard error is kept, in bytes.
const LOG_BYTES: usize = 16 << 10;
/// How long a worker may take to exit after its input has ended.
const EXIT_GRACE: Duration = Duration::from_millis(500);
/// How often a wait looks whether somebody asked to stop.
const TICK: Duration = Duration::from_millis(100);

/// Why a worker is of no more use.
#[derive(Debug)]
pub enum Lost {
    /// It broke the protocol.
    Fault(Fault),
    /// It ended, or closed its output; with its exit status in words.
    Ended(String),
    /// It did not answer in time.
    TimedOut(Duration),
    /// It went on giving signs of life, but no end of its answer.
    Endless(Duration),
    /// Somebody asked the run to stop.
    Interrupted,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => write!(f, "broke the worker protocol: {fault}"),
            Self::Ended(status) => write!(f, "ended in the middle of an answer ({status})"),
            Self::TimedOut(limit) => write!(
                f,
                "gave no answer for {} s and was ended",
                limit.as_secs_f64()
            ),
            Self::Endless(limit) => {
                write!(
                    f,
                    "came to no end of its answer within {} s and was ended",
                    limit.as_secs_f64()
                )
            }
            Self::Interrupted => f.write_str("was interrupted"),
        }
    }
}

/// A worker process. Dropping it ends it together with all it started.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Result<Vec<Vec<u8>>, Fault>>,
    /// Lines that have arrived and were not looked at yet.
    pending: VecDeque<Vec<u8>>,
    log: Arc<Mutex<Vec<u8>>>,
    logger: Option<JoinHandle<()>>,
    interrupt: Interrupt,
    /// What was found in its container.
    ran: Option<Ran>,
    /// Its exit code, once it has ended by itself.
    code: Option<i32>,
    /// Sees its container gone, after all else.
    keeper: Option<Keeper>,
}

impl WorkerProcess {
    /// Starts a command; where it starts a container, with that one's keeper. It is a group of its own: it ends as a whole,
    /// and the terminal's Ctrl-C is the harness's business.
    pub fn spawn(mut command: Command, keeper: Option<Keeper>) -> std::io::Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn()?;
        let (sender, lines) = sync_channel(16);
        let log = Arc::new(Mutex::new(Vec::new()));
        let stdin = child.stdin.take();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || read_lines(stdout, &sender));
        }
        let logger = child.stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || keep_tail(stderr, &log))
        });
        Ok(Self {
            child,
            stdin,
            lines,
            pending: VecDeque::new(),
            log,
            logger,
            interrupt: Interrupt::default(),
            ran: None,
            code: None,
            keeper,
        })
    }

    /// The id of the process that works: in a container, as this machine numbers it.
    pub fn pid(&self) -> u32 {
        let contained = self.ran.as_ref().and_then(|ran| ran.pid);
        contained.unwrap_or_else(|| self.child.id())
    }

    /// Its exit code, where it has ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    /// Notes what was found in its container.
    pub fn is_in(&mut self, ran: Option<Ran>) {
        self.ran = ran;
    }

    /// What was found in its container; `None` on the host.
    pub fn ran(&self) -> Option<&Ran> {
        self.ran.as_ref()
    }

    /// Lets waits end when somebody asks to stop.
    pub fn heed(&mut self, interrupt: &Interrupt) {
        self.interrupt = interrupt.clone();
    }

    /// Asks who it is.
    pub fn hello(&mut self) -> Result<Hello, Lost> {
        let request = Request::Hello {
            protocol: PROTOCOL_VERSION,
        };
        let mut exchange = Exchange::new(&request, &[], 0);
        match self.ask(&request, &mut exchange, HELLO_TIMEOUT, |_| {})? {
            Reply::Hello(hello) => Ok(hello),
            Reply::Failed { reason } | Reply::Skipped { reason } => Err(Lost::Ended(reason)),
            other => Err(Lost::Fault(Fault::Unexpected {
                request: "hello",
                kind: other.kind(),
            })),
        }
    }

    /// Sends a request and hears its reply to the end; each line before it goes to `on_step`.
    ///
    /// Any line, progress included, restarts the timeout; a reply that takes ten times as long is ended all the same.
    pub fn ask(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
        timeout: Duration,
        mut on_step: impl FnMut(Step),
    ) -> Result<Reply, Lost> {
        self.send(request)?;
        let last = Instant::now() + timeout * REPLY_TIMEOUTS;
        loop {
            let line = match self.pending.pop_front() {
                Some(line) => line,
                None if Instant::now() > last => {
                    return Err(Lost::Endless(timeout * REPLY_TIMEOUTS));
                }
                None => self.next_line(timeout, request, exchange)?,
            };
            match exchange.accept(&line).map_err(Lost::Fault)? {
                // The samples are in order: where the last has ended, all have.
                Step::Done(_) if exchange.last_end_ns() > super::monotonic_ns() => {
                    return Err(Lost::Fault(Fault::InFuture));
                }
                Step::Done(reply) => return Ok(reply),
                step => on_step(step),
            }
        }
    }

    /// Declares metrics for [`Self::ask`] of requests after `prepare`.
    pub fn request(
        &mut self,
        request: &Request,
        metrics: &[Metric],
        timeout: Duration,
    ) -> Result<Reply, Lost> {
        let mut exchange = Exchange::new(request, metrics, 0);
        self.ask(request, &mut exchange, timeout, |_| {})
    }

    fn send(&mut self, request: &Request) -> Result<(), Lost> {
        let mut line = serde_json::to_vec(request).expect("requests are plain data");
        line.push(b'\n');
        let sent = self
            .stdin
            .as_mut()
            .map(|stdin| stdin.write_all(&line).and_then(|()| stdin.flush()));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.ended(request, "")),
        }
    }

    /// That it has ended: how, and what that suggests.
    fn ended(&mut self, request: &Request, detail: &str) -> Lost {
        let status = self.end();
        // The program that started a container knows less of its end than the engine.
        let status = self
            .keeper
            .as_ref()
            .and_then(Keeper::last_words)
            .unwrap_or(status);
        let hint = match request {
            Request::Hello { .. } => "; does it speak the worker protocol?",
            _ => "",
        };
        Lost::Ended(format!("{status}{detail}{hint}"))
    }

    fn next_line(
        &mut self,
        timeout: Duration,
        request: &Request,
        exchange: &Exchange<'_>,
    ) -> Result<Vec<u8>, Lost> {
        let deadline = Instant::now() + timeout;
        loop {
            if self.interrupt.requested() {
                return Err(Lost::Interrupted);
            }
            if let Some(line) = self.pending.pop_front() {
                return Ok(line);
            }
            let wait = TICK.min(deadline.saturating_duration_since(Instant::now()));
            match self.lines.recv_timeout(wait) {
                Ok(lines) => self.pending.extend(lines.map_err(Lost::Fault)?),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => return Err(Lost::TimedOut(timeout)),
                Err(RecvTimeoutError::Disconnected) => {
                    let detail = format!("; {}", exchange.truncated());
                    return Err(self.ended(request, &detail));
                }
            }
        }
    }

    /// Ends it by force, and returns the end of its standard error: all of it, now that no more comes.
    pub fn kill_and_read_log(mut self) -> String {
        self.kill();
        let deadline = Instant::now() + EXIT_GRACE;
        // Somebody that it started may hold the pipe open.
        while self
            .logger
            .as_ref()
            .is_some_and(|reader| !reader.is_finished())
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.log()
    }

    /// The end of its standard error so far, as text.
    pub fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Ends it: first by ending its input, then by force, with all it started. Returns its exit status in words.
    pub fn end(&mut self) -> String {
        drop(self.stdin.take());
        let deadline = Instant::now() + EXIT_GRACE;
        let mut status = self.child.try_wait().ok().flatten();
        while status.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
            status = self.child.try_wait().ok().flatten();
        }
        self.kill_group();
        let status = status.or_else(|| self.child.wait().ok());
        self.code = status.and_then(|status| status.code());
        status.map_or_else(|| "no exit status".into(), |status| status.to_string())
    }

    /// Ends it by force, with all it started.
    pub fn kill(&mut self) {
        self.kill_group();
        let _ = self.child.wait();
    }

    fn kill_group(&self) {
        // The group may be gone already: that is what was wanted.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends the lines of `stdout`, without their newlines, until the end, a fault, or nobody listens.
///
/// Lines that have arrived together are sent together: waking the reader for each would cost more than reading it.
fn read_lines(stdout: ChildStdout, sender: &SyncSender<Result<Vec<Vec<u8>>, Fault>>) {
    let mut reader = BufReader::with_capacity(1 << 16, stdout);
    let mut arrived = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = (&mut reader)
            .take(MAX_LINE_BYTES as u64 + 1)
            .read_until(b'\n', &mut line);
        let is_whole = line.pop_if(|byte| *byte == b'\n').is_some();
        let is_too_long = matches!(read, Ok(n) if n > MAX_LINE_BYTES) && !is_whole;
        if is_whole {
            arrived.push(line);
            if reader.buffer().contains(&b'\n') {
                continue;
            }
        }
        if !arrived.is_empty() && sender.send(Ok(std::mem::take(&mut arrived))).is_err() {
            return;
        }
        if is_too_long {
            let _ = sender.send(Err(Fault::LineTooLong));
        }
        // At the end, and where a line is cut off, the end of output says more.
        if !is_whole {
            return;
        }
    }
}

fn keep_tail(mut stderr: ChildStderr, log: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut buffer) {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(&buffer[..n]);
        let excess = log.len().saturating_sub(LOG_BYTES);
        log.drain(..excess);
    }
}
