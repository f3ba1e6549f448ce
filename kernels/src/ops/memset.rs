//! Setting memory: writes alone.
//!
//! All words of an array are set to one value. Work with `elements` words of 4 bytes, each written once: `4 elements` bytes
//! (no line is counted as read, whether or not the hardware fetches it first). On CUDA devices `variant` is the
//! driver's own (`driver`), or a kernel that stores 16 bytes (`vector`) or one word (`scalar`) at a time; on the
//! host it is the C library's. The result is exact.

use assay_protocol::{Failure, Work};

use super::{EVERYWHERE, Op, OpInfo};
use crate::buffer::granule;
use crate::check;
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Launch, Outcome, Program, Source, Step, blocks, cuda_source};
use crate::store::{self, Around};

static SOURCE: Source = cuda_source!("memory/memset.cu");
/// What every byte is set to: not what memory usually holds, and not poison.
const BYTE: u8 = 0x5a;
const WORD: u32 = u32::from_ne_bytes([BYTE; 4]);

/// Sets memory.
pub struct Memset;

#[derive(Clone, Copy, Debug)]
enum Variant {
    Driver,
    Vector,
    Scalar,
}

impl Op for Memset {
    fn info(&self) -> OpInfo {
        let variant = parameters::choice("variant", &["driver", "vector", "scalar"]);
        OpInfo {
            name: "memset",
            summary: "sets words of 4 bytes to one value",
            parameters: vec![
                parameters::integer("elements"),
                parameters::on_cuda(variant),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let elements = arguments.size("elements")?;
        let variants = [
            ("driver", Variant::Driver),
            ("vector", Variant::Vector),
            ("scalar", Variant::Scalar),
        ];
        let variant = arguments.cuda_choice("variant", &variants)?;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product("`elements`", &[elements as u64, 4])?),
            flops: Some(0),
            items: Some(elements as u64),
            formula: "bytes = 4 n, flops = 0, items = n; n = elements".into(),
        });
        let out = program.output("out", DType::U32, elements);
        program.on_cpu(move |team, buffers, iterations| {
            let bytes = buffers.0[out].bytes_mut();
            let around = store::goes_around(bytes.len() as u64);
            let parts = team.split_mut(bytes, granule::<u8>());
            team.time(iterations, parts, |_, part| {
                if around {
                    fill_around(part);
                } else {
                    part.fill(BYTE);
                }
            })
        });
        program.cuda.push(step(variant, elements, out));
        program.check(move |outcome| check(outcome, out));
        Ok(program)
    }
}

/// A cache line is known to be whole before it is sent off: there is nothing to read.
fn fill_around(part: &mut [u8]) {
    let line = [BYTE; store::LINE];
    let whole = part.len() / line.len() * line.len();
    let (lines, rest) = part.split_at_mut(whole);
    let mut lines = Around::new(lines);
    for first in (0..whole).step_by(line.len()) {
        lines.put(first, &line);
    }
    rest.fill(BYTE);
}

fn step(variant: Variant, elements: usize, out: usize) -> Step {
    const THREADS: u32 = 256;
    const PER_THREAD: usize = 4;
    let (kernel, per_item) = match variant {
        Variant::Driver => {
            return Step::Set {
                buffer: out,
                byte: BYTE,
            };
        }
        Variant::Vector => ("set_vector", 4),
        Variant::Scalar => ("set_scalar", 1),
    };
    let per_block = PER_THREAD * per_item * THREADS as usize;
    let grid = blocks(elements, per_block, u32::MAX);
    let args = [Arg::Buffer(out), Arg::U32(WORD), Arg::size(elements)];
    Step::Launch(Launch::new(&SOURCE, kernel, grid, THREADS).args(args))
}

fn check(outcome: &Outcome, out: usize) -> Checked {
    let out = outcome.get::<u32>(out);
    Checked {
        error: check::worst(out.len(), |i| f64::from(out[i] != WORD)),
        tolerance: 0.0,
        detail: "1 if any word has another value, else 0".into(),
    }
}
