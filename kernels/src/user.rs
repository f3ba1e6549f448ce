//! A kernel of the user's own: a program made of what a suite says, and then treated as any other.

use std::collections::BTreeMap;
use std::fs;

use assay_protocol::kernel::{
    BufferFill, BufferRole, KernelArg, KernelBuffer, KernelCheck, KernelLaunch, MAX_SOURCE_BYTES,
};
use assay_protocol::{
    CaseSpec, Catalog, DeviceKind, Failure, KERNEL_WORKLOAD, KernelSpec, TimingMode, Workload,
    WorkloadInfo,
};
use exmex::Express as _;

use crate::buffer::Buffer;
use crate::check;
use crate::device;
use crate::element::DType;
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Role, Source, Step, Traffic};

/// Types of buffers.
const DTYPES: &[DType] = &[
    DType::F64,
    DType::F32,
    DType::F16,
    DType::Bf16,
    DType::U64,
    DType::U32,
    DType::I32,
    DType::I8,
    DType::U8,
];

/// The workload that runs kernels of the user's own.
pub struct UserKernel;

impl Catalog for UserKernel {
    fn info(&self) -> WorkloadInfo {
        WorkloadInfo {
            name: KERNEL_WORKLOAD.into(),
            summary: "a kernel of your own, from a CUDA source that a suite names".into(),
            definition: 1,
            parameters: vec![],
            timing: vec![
                TimingMode::Hot,
                TimingMode::Cold,
                TimingMode::Graph,
                TimingMode::Host,
            ],
            devices: vec![DeviceKind::Cuda],
        }
    }

    fn prepare(&self, case: &CaseSpec) -> Result<Box<dyn Workload>, Failure> {
        let spec = case.kernel.as_ref();
        let spec = spec.ok_or_else(|| failed("field `kernel` of the case is missing".into()))?;
        device::prepare(case, program(spec)?)
    }
}

fn failed(reason: String) -> Failure {
    Failure::Failed(reason)
}

/// The program of a kernel. Its source is read from its file, and kept as long as the process lives: a worker serves few.
pub fn program(spec: &KernelSpec) -> Result<Program, Failure> {
    spec.expect_sound().map_err(failed)?;
    let source = read(&spec.file)?;
    let mut program = Program::new(spec.work.clone());
    program.traffic = spec.bound.level.map_or(Traffic::Footprint, Traffic::Level);
    program.unit = spec.bound.unit;
    program.deterministic = spec.deterministic;
    let mut places = BTreeMap::new();
    for (stream, buffer) in spec.buffers.iter().enumerate() {
        places.insert(
            buffer.name.clone(),
            add(&mut program, buffer, stream as u64)?,
        );
    }
    program.launch(launch(source, &spec.launch, &places)?);
    set_check(&mut program, spec, source, places)?;
    Ok(program)
}

fn read(file: &str) -> Result<&'static Source, Failure> {
    let size = fs::metadata(file)
        .map_err(|error| failed(format!("{file}: {error}")))?
        .len();
    if size > MAX_SOURCE_BYTES as u64 {
        return Err(failed(format!(
            "{file} has {size} bytes; at most {MAX_SOURCE_BYTES}"
        )));
    }
    let text = fs::read_to_string(file).map_err(|error| failed(format!("{file}: {error}")))?;
    Ok(Box::leak(Box::new(Source {
        path: Box::leak(file.to_owned().into_boxed_str()),
        text: Box::leak(text.into_boxed_str()),
        emulated: true,
        architectures: &[],
    })))
}

fn dtype(buffer: &KernelBuffer) -> Result<DType, Failure> {
    DType::parse(&buffer.dtype, DTYPES).ok_or_else(|| {
        let names: Vec<_> = DTYPES.iter().map(|dtype| dtype.name()).collect();
        failed(format!(
            "buffer `{}`: `{}` is none of {}",
            buffer.name,
            buffer.dtype,
            names.join(", ")
        ))
    })
}

fn add(program: &mut Program, buffer: &KernelBuffer, stream: u64) -> Result<usize, Failure> {
    let dtype = dtype(buffer)?;
    let name = buffer.name.clone();
    let len =
        usize::try_from(buffer.len).map_err(|_| failed(format!("buffer `{name}` is too long")))?;
    let fill = fill(buffer, dtype, stream)?;
    let (role, fill) = match buffer.role {
        BufferRole::Input => (Role::Input, fill),
        BufferRole::InOut => (Role::InOut, fill),
        BufferRole::Output => (Role::Output, Fill::Poison),
        BufferRole::Scratch => (Role::Scratch, Fill::Poison),
    };
    Ok(program.add(name, dtype, len, role, fill))
}

fn fill(buffer: &KernelBuffer, dtype: DType, stream: u64) -> Result<Fill, Failure> {
    let is_real = is_real(dtype);
    Ok(match buffer.fill {
        BufferFill::Zero => Fill::Zero,
        BufferFill::Random if is_real => Fill::signed(stream),
        BufferFill::Unit if is_real => Fill::Unit { stream },
        BufferFill::Random | BufferFill::Unit => Fill::Words { stream },
        BufferFill::Below(bound) if dtype == DType::U32 && bound > 0 => {
            Fill::Below { stream, bound }
        }
        BufferFill::Below(_) => {
            return Err(failed(format!(
                "buffer `{}`: `below` is for u32 and a bound of at least 1",
                buffer.name
            )));
        }
    })
}

fn launch(
    source: &'static Source,
    from: &KernelLaunch,
    places: &BTreeMap<String, usize>,
) -> Result<Launch, Failure> {
    let arg = |arg: &KernelArg| match arg {
        KernelArg::Buffer(name) => places
            .get(name)
            .map(|place| Arg::Buffer(*place))
            .ok_or_else(|| failed(format!("`{}`: no buffer is called `{name}`", from.kernel))),
        KernelArg::I32(value) => Ok(Arg::I32(*value)),
        KernelArg::U32(value) => Ok(Arg::U32(*value)),
        KernelArg::U64(value) => Ok(Arg::U64(value.0)),
        KernelArg::F32(value) => Ok(Arg::F32(*value)),
        KernelArg::F64(value) => Ok(Arg::F64(*value)),
    };
    Ok(Launch {
        source,
        kernel: from.kernel.clone(),
        grid: from.grid,
        block: from.block,
        shared_bytes: from.shared_bytes,
        args: from.args.iter().map(arg).collect::<Result<_, _>>()?,
    })
}

fn set_check(
    program: &mut Program,
    spec: &KernelSpec,
    source: &'static Source,
    places: BTreeMap<String, usize>,
) -> Result<(), Failure> {
    match &spec.check {
        KernelCheck::Reference { launch, tolerance } => {
            reference(program, spec, (source, launch), places, *tolerance)
        }
        KernelCheck::Expression {
            buffer,
            expression,
            tolerance,
        } => by_expression(program, (buffer, expression), &places, *tolerance),
        KernelCheck::Digest(expected) => {
            let (expected, outputs) = (*expected, device::outputs(program));
            program.check(move |outcome| {
                let found = device::digest_of(outcome.buffers, &outputs);
                Checked::exact(
                    usize::from(found != Some(expected)),
                    "1 if the digest of the outputs is another than the suite's",
                )
            });
            Ok(())
        }
    }
}

/// Makes every element one that no right output has, and that the kernel's own output does not begin with: what neither kernel writes is
/// not alike in both. What is no number is like nothing.
fn poison_otherwise(buffer: &mut Buffer) {
    let dtype = buffer.dtype();
    let turn = if is_real(dtype) { 0 } else { 0xFF };
    let pattern = dtype.poison();
    for element in buffer.bytes_mut().chunks_exact_mut(pattern.len()) {
        let bytes = element.iter_mut().zip(pattern);
        bytes.for_each(|(byte, poison)| *byte = poison ^ turn);
    }
}

fn is_real(dtype: DType) -> bool {
    matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::Bf16)
}

/// Every output gets a twin that the reference kernel writes, once.
fn reference(
    program: &mut Program,
    spec: &KernelSpec,
    (source, from): (&'static Source, &KernelLaunch),
    mut places: BTreeMap<String, usize>,
    tolerance: f64,
) -> Result<(), Failure> {
    let mut pairs = vec![];
    for (stream, buffer) in spec.buffers.iter().enumerate() {
        if !matches!(buffer.role, BufferRole::Output | BufferRole::InOut) {
            continue;
        }
        let dtype = dtype(buffer)?;
        let fill = if buffer.role == BufferRole::InOut {
            fill(buffer, dtype, stream as u64)?
        } else {
            Fill::Host(Box::new(|buffer, _| poison_otherwise(buffer)))
        };
        let twin = program.add(
            format!("{}.reference", buffer.name),
            dtype,
            buffer.len as usize,
            Role::Reference,
            fill,
        );
        pairs.extend(
            places
                .insert(buffer.name.clone(), twin)
                .map(|output| (output, twin)),
        );
    }
    let launch = launch(source, from, &places)?;
    program.setup.push(Step::Launch(launch));
    program.check(move |outcome| {
        if pairs
            .iter()
            .all(|(output, twin)| is_unchanged(outcome, *output, *twin))
        {
            return Checked::exact(1, "the reference kernel changed nothing");
        }
        let error = pairs.iter().map(|(output, twin)| {
            let expected = &outcome.buffers.0[*twin];
            difference(outcome, *output, |i| expected.value(i))
        });
        Checked {
            error: error.fold(0.0, f64::max),
            tolerance,
            detail:
                "largest difference from the reference kernel, relative to the largest magnitude"
                    .into(),
        }
    });
    Ok(())
}

/// Whether the reference kernel left its copy of a buffer that it was to change as it was.
fn is_unchanged(outcome: &Outcome, output: usize, twin: usize) -> bool {
    let (before, after) = (outcome.initial.get(&output), &outcome.buffers.0[twin]);
    before.is_some_and(|before| !before.is_empty() && before.bytes() == after.bytes())
}

fn by_expression(
    program: &mut Program,
    (buffer, expression): (&str, &str),
    places: &BTreeMap<String, usize>,
    tolerance: f64,
) -> Result<(), Failure> {
    let output = *places.get(buffer).ok_or_else(|| {
        failed(format!(
            "the check's buffer `{buffer}` is none of the buffers"
        ))
    })?;
    let parsed = exmex::parse::<f64>(expression)
        .map_err(|error| failed(format!("expression `{expression}`: {error}")))?;
    let mut variables = vec![];
    for name in parsed.var_names() {
        let place = places.get(name).copied();
        if name != "i" && place.is_none() {
            return Err(failed(format!(
                "expression `{expression}`: `{name}` is no buffer, and not i"
            )));
        }
        variables.push(place);
    }
    program.check(move |outcome| {
        let exact = |i: usize| {
            let value = |place: &Option<usize>| match place {
                None => i as f64,
                Some(place) => before(outcome, *place, i),
            };
            let values: Vec<f64> = variables.iter().map(value).collect();
            parsed.eval(&values).unwrap_or(f64::NAN)
        };
        Checked {
            error: difference(outcome, output, exact),
            tolerance,
            detail: "largest difference from the expression, relative to the largest magnitude"
                .into(),
        }
    });
    Ok(())
}

/// Element `i` as it was before the last sample; 0 beyond the end.
fn before(outcome: &Outcome, place: usize, i: usize) -> f64 {
    let buffer = outcome
        .initial
        .get(&place)
        .unwrap_or(&outcome.buffers.0[place]);
    if i < buffer.len() {
        buffer.value(i)
    } else {
        0.0
    }
}

/// Largest difference of an output from what it should be, over the largest magnitude of that; infinite where something is
/// no number.
fn difference(outcome: &Outcome, output: usize, exact: impl Fn(usize) -> f64 + Sync) -> f64 {
    let found = &outcome.buffers.0[output];
    let largest = check::worst(found.len(), |i| exact(i).abs());
    let distance = check::worst(found.len(), |i| (found.value(i) - exact(i)).abs());
    if distance == 0.0 {
        0.0
    } else if distance.is_finite() {
        distance / largest
    } else {
        // Not by the magnitude, which may be as infinite.
        f64::INFINITY
    }
}
