//! Launches of kernels that do nothing: what it costs to get one to the device, alone or as part of a graph.
//!
//! | op           | one iteration                                              | items   |
//! |--------------|------------------------------------------------------------|---------|
//! | launch-empty | a launch of one thread of an empty kernel                  | 1       |
//! | launch-graph | `nodes` such launches in a row, in mode `graph` one launch | `nodes` |
//!
//! In mode `host` a sample is a launch and the wait for its end; in mode `hot` launches follow each other on the device,
//! after all of them were enqueued; in mode `graph` the same as a graph. An empty kernel leaves nothing
//! to compare. Hence the kernel `count`, which counts its launches in memory: it costs a little more, and is verified.

use assay_protocol::{DeviceKind, Failure, Work};

use crate::element::DType;
use crate::ops::{Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Program, Source, Traffic, cuda_source};

static SOURCE: Source = cuda_source!("system/launch.cu");
/// Launches that a queue of the driver holds for sure.
const MOST_NODES: usize = 512;

/// Launches of kernels that do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launches {
    /// One.
    Empty,
    /// Several in a row.
    Graph,
}

impl Op for Launches {
    fn info(&self) -> OpInfo {
        let kernel = parameters::choice("kernel", &["empty", "count"]);
        let (name, summary, parameters) = match self {
            Self::Empty => ("launch-empty", "launch of an empty kernel", vec![kernel]),
            Self::Graph => (
                "launch-graph",
                "launches of empty kernels in a row, as one graph in mode graph",
                vec![kernel, parameters::integer_or("nodes", 32)],
            ),
        };
        OpInfo {
            name,
            summary,
            parameters,
            devices: &[DeviceKind::Cuda],
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let nodes = match self {
            Self::Empty => 1,
            Self::Graph => arguments.at_most("nodes", MOST_NODES)?,
        };
        let counts = arguments.choice("kernel", &[("empty", false), ("count", true)])?;
        let mut program = Program::new(Work {
            items: Some(nodes as u64),
            formula: match self {
                Self::Empty => "items = 1 launch".into(),
                Self::Graph => "items = nodes launches".into(),
            },
            ..Work::default()
        });
        program.traffic = Traffic::Unbounded;
        if counts {
            count(&mut program, nodes as u64);
        } else {
            program.check(|_| Checked::exact(0, "an empty kernel leaves nothing to compare"));
        }
        for _ in 0..nodes {
            program.launch(if counts {
                Launch::new(&SOURCE, "launch_count", 1, 1).args([Arg::Buffer(0)])
            } else {
                Launch::new(&SOURCE, "launch_empty", 1, 1)
            });
        }
        Ok(program)
    }
}

/// Gives a program its counter, and the check of that.
fn count(program: &mut Program, nodes: u64) {
    let counter = program.in_out("counter", DType::U32, 1, Fill::Zero);
    // The counter holds more than any sample has launches.
    program.most_iterations = u64::from(u32::MAX) / nodes;
    program.check(move |outcome| {
        let expected = u64::from(outcome.initial::<u32>(counter)[0]) + nodes * outcome.iterations;
        let found = u64::from(outcome.get::<u32>(counter)[0]);
        Checked::exact(
            found.abs_diff(expected) as usize,
            "launches that left no trace, or one too many",
        )
    });
}
