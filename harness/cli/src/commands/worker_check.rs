//! `assay worker-check`: a program is run against the worker protocol, and told what it gets wrong.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use assay_protocol::{
    CaseSpec, DeviceKind, DeviceSelector, Exchange, Hello, MetricKind, ParamValue, ParameterInfo,
    ParameterKind, Params, Prepared, Reply, Request, SampleRequest, TimingMode, U64, WorkloadInfo,
    lacking,
};

use crate::errors::Exit;
use crate::execute::worker::WorkerProcess;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this workload of the worker; may be given again.
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// A parameter's value in place of its default: name=value; may be given again.
    #[arg(long, value_name = "NAME=VALUE")]
    param: Vec<String>,
    /// Longest time for one answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    timeout: u64,
    /// Program and arguments of the worker.
    #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Counts of what was checked.
struct Tally {
    faults: usize,
    checks: usize,
}

impl Tally {
    fn check(&mut self, what: &str, result: Result<(), String>) -> bool {
        self.checks += 1;
        let Err(fault) = result else {
            crate::say!("ok      {what}");
            return true;
        };
        self.faults += 1;
        crate::say!("FAULT   {what}: {fault}");
        false
    }
}

pub fn run(args: &Args) -> Result<Exit> {
    let mut tally = Tally {
        faults: 0,
        checks: 0,
    };
    check_worker(args, &mut tally)?;
    crate::say!("{} checks, {} faults", tally.checks, tally.faults);
    Ok(if tally.faults == 0 {
        Exit::Fine
    } else {
        Exit::Found
    })
}

fn check_worker(args: &Args, tally: &mut Tally) -> Result<()> {
    let mut worker = start(args)?;
    let hello = worker.hello();
    let said = hello.as_ref().map(|_| ()).map_err(ToString::to_string);
    if !tally.check("hello: says who it is and what it can run", said) {
        return Ok(());
    }
    let Ok(hello) = hello else { return Ok(()) };
    tally.check(
        "hello: offers at least one workload on some device, names each once",
        catalog(&hello),
    );
    drop(worker);
    for info in chosen(args, &hello) {
        check_workload(args, info, tally)?;
    }
    check_manners(args, tally)
}

fn start(args: &Args) -> Result<WorkerProcess> {
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    WorkerProcess::spawn(command, None)
        .with_context(|| format!("cannot start `{}`", args.command[0].to_string_lossy()))
}

fn catalog(hello: &Hello) -> Result<(), String> {
    let mut names: Vec<&str> = hello
        .workloads
        .iter()
        .map(|info| info.name.as_str())
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    match (count, names.len(), hello.devices.len()) {
        (0, _, _) => Err("its list of workloads is empty".into()),
        (_, _, 0) => Err("its list of devices is empty".into()),
        (all, distinct, _) if all != distinct => Err("two workloads have one name".into()),
        _ => Ok(()),
    }
}

fn chosen<'a>(args: &Args, hello: &'a Hello) -> Vec<&'a WorkloadInfo> {
    let is_checked = |info: &&WorkloadInfo| {
        // Fault injection misbehaves on purpose, and a command needs to be named.
        let special = ["fault", assay_protocol::COMMAND_WORKLOAD].contains(&info.name.as_str());
        if args.workload.is_empty() {
            !special
        } else {
            args.workload.contains(&info.name)
        }
    };
    hello.workloads.iter().filter(is_checked).collect()
}

/// One workload, twice over in one process and once more in another, which must agree.
fn check_workload(args: &Args, info: &WorkloadInfo, tally: &mut Tally) -> Result<()> {
    let name = &info.name;
    let case = match case_of(args, info) {
        Ok(case) => case,
        Err(why) => {
            tally.check(&format!("{name}: describes its parameters"), Err(why));
            return Ok(());
        }
    };
    let mut rounds = Vec::new();
    for visit in ["first visit", "second process"] {
        let mut worker = start(args)?;
        let mut talk = Talk {
            worker: &mut worker,
            timeout: Duration::from_secs(args.timeout),
            last_end_ns: 0,
        };
        if !tally.check(&format!("{name}: {visit}: hello"), talk.hello()) {
            return Ok(());
        }
        let round = talk.round(&case);
        let result = round.as_ref().map(|_| ()).map_err(Clone::clone);
        if !tally.check(
            &format!("{name}: {visit}: prepare, sample, sample, verify, teardown"),
            result,
        ) {
            return Ok(());
        }
        rounds.extend(round.ok().flatten());
    }
    if let [first, second] = &rounds[..] {
        tally.check(
            &format!("{name}: the same seed gives the same inputs"),
            same_inputs(first, second),
        );
        if first.prepared.deterministic {
            let same = first.output == second.output;
            let fault = "declared deterministic, but two processes gave different output digests";
            tally.check(
                &format!("{name}: the same inputs give the same output"),
                if same { Ok(()) } else { Err(fault.into()) },
            );
        }
    } else {
        crate::say!("skipped {name}: it cannot run here");
    }
    Ok(())
}

fn same_inputs(first: &Round, second: &Round) -> Result<(), String> {
    if first.prepared.inputs == second.prepared.inputs {
        Ok(())
    } else {
        Err("two processes declared different input digests for one case".into())
    }
}

/// A case of a workload: each parameter at its default, its first choice, or a small value.
fn case_of(args: &Args, info: &WorkloadInfo) -> Result<CaseSpec, String> {
    let given: BTreeMap<&str, &str> = args
        .param
        .iter()
        .filter_map(|text| text.split_once('='))
        .collect();
    let value = |parameter: &ParameterInfo| {
        let value = match given.get(parameter.name.as_str()) {
            Some(text) => parse(parameter.kind, text)?,
            None => usual(parameter),
        };
        Ok((parameter.name.clone(), value))
    };
    let is_asked = |of: &&ParameterInfo| !of.optional || given.contains_key(of.name.as_str());
    let params: Params = info
        .parameters
        .iter()
        .filter(is_asked)
        .map(value)
        .collect::<Result<_, String>>()?;
    let timing = info.timing.first().ok_or("it names no timing mode")?;
    let kind = info.devices.first().ok_or("it names no kind of device")?;
    let which = assay_protocol::case::Which::Any;
    let device = DeviceSelector {
        kind: if info.devices.contains(&DeviceKind::Cpu) {
            DeviceKind::Cpu
        } else {
            *kind
        },
        which,
    };
    Ok(CaseSpec {
        workload: info.name.clone(),
        params,
        seed: U64(7),
        device,
        timing: *timing,
        command: None,
        kernel: None,
    })
}

fn usual(parameter: &ParameterInfo) -> ParamValue {
    let fallback = || match parameter.kind {
        ParameterKind::Bool => ParamValue::Bool(false),
        ParameterKind::Int => ParamValue::Int(64),
        ParameterKind::Float => ParamValue::Float(0.5),
        ParameterKind::Text => ParamValue::Text("x".into()),
    };
    parameter
        .default
        .clone()
        .or_else(|| parameter.choices.first().cloned())
        .unwrap_or_else(fallback)
}

fn parse(kind: ParameterKind, text: &str) -> Result<ParamValue, String> {
    let wrong = || format!("--param: {text} is no {kind:?}").to_lowercase();
    match kind {
        ParameterKind::Bool => text.parse().map(ParamValue::Bool).map_err(|_| wrong()),
        ParameterKind::Int => text.parse().map(ParamValue::Int).map_err(|_| wrong()),
        ParameterKind::Float => text.parse().map(ParamValue::Float).map_err(|_| wrong()),
        ParameterKind::Text => Ok(ParamValue::Text(text.into())),
    }
}

/// What a visit to a case gave.
struct Round {
    prepared: Prepared,
    output: Option<assay_protocol::Digest>,
}

/// A conversation that names what goes wrong.
struct Talk<'a> {
    worker: &'a mut WorkerProcess,
    timeout: Duration,
    last_end_ns: u64,
}

impl Talk<'_> {
    fn hello(&mut self) -> Result<(), String> {
        self.worker
            .hello()
            .map(|_| ())
            .map_err(|lost| lost.to_string())
    }

    /// All steps of one visit; `None` where the case cannot run here.
    fn round(&mut self, case: &CaseSpec) -> Result<Option<Round>, String> {
        let prepared = match self.ask(
            &Request::Prepare { case: case.clone() },
            &Prepared::default(),
        )? {
            Reply::Prepared(prepared) => prepared,
            Reply::Skipped { .. } => return Ok(None),
            other => return Err(refusal("prepare", &other)),
        };
        let min_sample_ns = if case.timing == TimingMode::Host {
            0
        } else {
            20_000
        };
        for max_samples in [1, 5] {
            let request = SampleRequest {
                max_samples,
                max_ns: 2_000_000_000,
                min_sample_ns,
            };
            match self.ask(&Request::Sample(request), &prepared)? {
                Reply::Sampled { .. } => {}
                other => return Err(refusal("sample", &other)),
            }
        }
        let output = match self.ask(&Request::Verify, &prepared)? {
            Reply::Verified(verification) if verification.passed => verification.output,
            Reply::Verified(verification) => {
                return Err(format!(
                    "verify: its own output is wrong: {}",
                    verification.detail
                ));
            }
            other => return Err(refusal("verify", &other)),
        };
        match self.ask(&Request::Teardown, &prepared)? {
            Reply::TornDown { values } => {
                let lacks = lacking(&prepared.metrics, MetricKind::Case, &values).next();
                if let Some(name) = lacks {
                    return Err(format!("teardown: `{name}` was declared and has no value"));
                }
                Ok(Some(Round { prepared, output }))
            }
            other => Err(refusal("teardown", &other)),
        }
    }

    fn ask(&mut self, request: &Request, prepared: &Prepared) -> Result<Reply, String> {
        let mut exchange = Exchange::new(request, &prepared.metrics, self.last_end_ns);
        let reply = self
            .worker
            .ask(request, &mut exchange, self.timeout, |_| {});
        self.last_end_ns = exchange.last_end_ns();
        reply.map_err(|lost| format!("{}: {lost}", request.name()))
    }
}

fn refusal(step: &str, reply: &Reply) -> String {
    match reply {
        Reply::Failed { reason } => format!("{step}: failed: {reason}"),
        Reply::Skipped { reason } => format!("{step}: skipped: {reason}"),
        other => format!("{step}: answered with `{}`", other.kind()),
    }
}

/// How it takes what it cannot do, and the end.
fn check_manners(args: &Args, tally: &mut Tally) -> Result<()> {
    let mut worker = start(args)?;
    let mut talk = Talk {
        worker: &mut worker,
        timeout: Duration::from_secs(args.timeout),
        last_end_ns: 0,
    };
    talk.hello().map_err(anyhow::Error::msg)?;
    let unknown = CaseSpec {
        workload: "no-such-workload".into(),
        params: Params::new(),
        seed: U64(0),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    };
    let answered = match talk.ask(&Request::Prepare { case: unknown }, &Prepared::default()) {
        Ok(Reply::Failed { .. } | Reply::Skipped { .. }) => Ok(()),
        Ok(other) => Err(format!(
            "answered with `{}`, not with `failed`",
            other.kind()
        )),
        Err(fault) => Err(fault),
    };
    tally.check("an unknown workload is answered with `failed`", answered);
    let premature = match talk.ask(&Request::Verify, &Prepared::default()) {
        Ok(Reply::Failed { .. }) => Ok(()),
        Ok(other) => Err(format!(
            "answered with `{}`, not with `failed`",
            other.kind()
        )),
        Err(fault) => Err(fault),
    };
    tally.check(
        "`verify` before `prepare` is answered with `failed`",
        premature,
    );
    let status = worker.end();
    let fine = if status == "exit status: 0" {
        Ok(())
    } else {
        Err(format!("ended with {status}"))
    };
    tally.check("it exits with 0 soon after its input ends", fine);
    Ok(())
}
