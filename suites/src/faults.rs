//! `fault`: a workload that misbehaves on purpose, so that a harness can be tested against a real worker.
//!
//! Its parameter `mode` names the fault. Modes that break the protocol itself write to standard output
//! past the worker loop.

use std::hint::black_box;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use assay_protocol::{
    CaseSpec, Catalog, DeviceKind, Failure, MAX_SAMPLES_PER_CHUNK, Measured, PROTOCOL_VERSION,
    ParamValue, ParameterInfo, ParameterKind, Prepared, TimingMode, Verification, Workload,
    WorkloadInfo,
};

use crate::clock::monotonic_ns;

/// What to do wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing: the control.
    None,
    /// Every sample aborts the process.
    Crash,
    /// A sample panics; the worker itself lives on.
    Panic,
    /// A sample never ends.
    Hang,
    /// Preparing never ends.
    HangPrepare,
    /// The case is skipped.
    Skip,
    /// A sample takes a gigabyte, whether it is there or not.
    Hog,
    /// Writes lines to standard error, then fails.
    Stderr,
    /// The verification fails.
    Wrong,
    /// A line that is not JSON comes before the reply.
    Rubbish,
    /// A line of 10 GB comes before the reply.
    HugeLine,
    /// More samples than any request may ask for.
    TooManySamples,
    /// A sample that took no time.
    ZeroTime,
    /// A sample that took a negative time.
    NegativeTime,
    /// A sample whose time is not a number.
    NanTime,
    /// A sample that starts before the one before it.
    ClockBack,
    /// The process exits in the middle of a reply, with status 0.
    Truncated,
}

const MODES: &[(&str, Mode)] = &[
    ("none", Mode::None),
    ("crash", Mode::Crash),
    ("panic", Mode::Panic),
    ("hang", Mode::Hang),
    ("hang-prepare", Mode::HangPrepare),
    ("skip", Mode::Skip),
    ("hog", Mode::Hog),
    ("stderr", Mode::Stderr),
    ("wrong", Mode::Wrong),
    ("rubbish", Mode::Rubbish),
    ("huge-line", Mode::HugeLine),
    ("too-many-samples", Mode::TooManySamples),
    ("zero-time", Mode::ZeroTime),
    ("negative-time", Mode::NegativeTime),
    ("nan-time", Mode::NanTime),
    ("clock-back", Mode::ClockBack),
    ("truncated", Mode::Truncated),
];

/// Catalog entry of `fault`.
pub struct Fault;

impl Catalog for Fault {
    fn info(&self) -> WorkloadInfo {
        let mode = |(name, _): &(&str, Mode)| ParamValue::Text((*name).into());
        WorkloadInfo {
            name: "fault".into(),
            summary: "misbehaves on purpose, to test a harness".into(),
            definition: 1,
            parameters: vec![ParameterInfo {
                name: "mode".into(),
                kind: ParameterKind::Text,
                default: None,
                minimum: None,
                choices: MODES.iter().map(mode).collect(),
                devices: vec![],
                optional: false,
            }],
            timing: vec![TimingMode::Hot],
            devices: vec![DeviceKind::Cpu],
        }
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let name = case.params.get("mode").and_then(ParamValue::as_str);
        let mode = MODES.iter().find(|(known, _)| Some(*known) == name);
        match mode
            .ok_or_else(|| Failure::Failed("parameter `mode` names no fault".into()))?
            .1
        {
            Mode::HangPrepare => hang(),
            Mode::Skip => Err(Failure::Skipped("skipped on purpose".into())),
            mode => {
                let prepared = Prepared {
                    deterministic: true,
                    ..Prepared::default()
                };
                Ok(Box::new(Faulty { mode, prepared }))
            }
        }
    }
}

struct Faulty {
    mode: Mode,
    prepared: Prepared,
}

impl Workload for Faulty {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        match self.mode {
            Mode::Crash => std::process::abort(),
            Mode::Panic => panic!("on purpose"),
            Mode::Hang => hang(),
            Mode::Hog => Ok(hog()),
            Mode::Stderr => complain(),
            mode => {
                write_past_the_loop(mode).map_err(|e| Failure::Failed(e.to_string()))?;
                thread::sleep(Duration::from_micros(iterations));
                Ok(Measured::default())
            }
        }
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        Ok(Verification {
            passed: self.mode != Mode::Wrong,
            error: Some(f64::from(self.mode == Mode::Wrong)),
            tolerance: Some(0.0),
            output: None,
            detail: "wrong on purpose, if at all".into(),
        })
    }
}

fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_hours(1));
    }
}

fn hog() -> Measured {
    // Ones, for zeros would take no memory before they are written.
    black_box(vec![1_u8; 1 << 30]);
    Measured::default()
}

fn complain() -> Result<Measured, Failure> {
    for line in 1..=3 {
        eprintln!("fault: line {line} of 3 on standard error");
    }
    Err(Failure::Failed(
        "failed on purpose, after writing to standard error".into(),
    ))
}

fn write_past_the_loop(mode: Mode) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let now = monotonic_ns();
    match mode {
        Mode::Rubbish => writeln!(out, "Segmentation fault? No, rubbish on purpose.")?,
        Mode::HugeLine => huge_line(&mut out)?,
        Mode::TooManySamples => {
            for later in 0..=u64::from(MAX_SAMPLES_PER_CHUNK) {
                sample(&mut out, now + later, "1")?;
            }
        }
        Mode::ZeroTime => sample(&mut out, now, "0")?,
        Mode::NegativeTime => sample(&mut out, now, "-1")?,
        Mode::NanTime => sample(&mut out, now, "NaN")?,
        Mode::ClockBack => {
            sample(&mut out, now, "1")?;
            sample(&mut out, now - 1, "1")?;
        }
        Mode::Truncated => {
            sample(&mut out, now, "1")?;
            out.flush()?;
            std::process::exit(0);
        }
        _ => {}
    }
    out.flush()
}

fn sample(out: &mut impl Write, start_ns: u64, host_ns: &str) -> io::Result<()> {
    writeln!(
        out,
        r#"{{"v":{PROTOCOL_VERSION},"kind":"sample","start_ns":{start_ns},"iterations":1,"host_ns":{host_ns}}}"#
    )
}

fn huge_line(out: &mut impl Write) -> io::Result<()> {
    static PIECE: [u8; 1 << 16] = [b'x'; 1 << 16];
    for _ in 0..10_000_000_000_u64 / PIECE.len() as u64 {
        out.write_all(&PIECE)?;
    }
    writeln!(out)
}
