//! Bandwidth against occupancy: a copy whose blocks per multiprocessor are limited by shared memory that it does not use.
//!
//! Bytes `2 n sizeof T` (each element read once, written once), `n = elements`, T = f32. How many blocks of 256 threads a
//! multiprocessor holds is among the facts of the case.

use assay_protocol::{DeviceKind, Failure, ParameterInfo, Work};

use crate::check;
use crate::element::DType;
use crate::ops::{Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("system/occupancy.cu");
const THREADS: u32 = 256;
const PER_BLOCK: usize = 4 * THREADS as usize;
/// More than a block can have on any device.
const MOST_KIB: usize = 1024;

/// The copy.
#[derive(Clone, Copy, Debug)]
pub struct OccupancySweep;

impl Op for OccupancySweep {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "occupancy-sweep",
            summary: "copy with blocks per multiprocessor limited by shared memory",
            parameters: vec![
                parameters::integer("elements"),
                ParameterInfo {
                    minimum: Some(0),
                    ..parameters::integer_or("shared_kib", 0)
                },
            ],
            devices: &[DeviceKind::Cuda],
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let elements = arguments.size("elements")?;
        let shared_kib = match arguments.size("shared_kib")? {
            0 => 0,
            _ => arguments.at_most("shared_kib", MOST_KIB)?,
        };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product("`elements`", &[elements as u64, 8])?),
            items: Some(elements as u64),
            flops: Some(0),
            formula: "bytes = 2 n sizeof(T), flops = 0, items = n; n = elements".into(),
        });
        let from = program.input("in", DType::F32, elements, Fill::signed(0));
        let to = program.output("out", DType::F32, elements);
        let launch = Launch::new(
            &SOURCE,
            "occupancy_copy",
            blocks(elements, PER_BLOCK, u32::MAX),
            THREADS,
        );
        program.launch(Launch {
            shared_bytes: (shared_kib << 10) as u32,
            ..launch.args([Arg::Buffer(to), Arg::Buffer(from), Arg::size(elements)])
        });
        program.check(move |outcome| {
            let (from, to) = (outcome.get::<f32>(from), outcome.get::<f32>(to));
            let differs = |i: usize| f64::from(u8::from(from[i].to_bits() != to[i].to_bits()));
            Checked {
                error: check::worst(to.len(), differs),
                tolerance: 0.0,
                detail: "1 if an element is not what was copied".into(),
            }
        });
        Ok(program)
    }
}
