//! A kernel of the user's own as a workload: a CUDA source and how it is launched, with every size worked out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bound::Bound;
use crate::digest::Digest;
use crate::message::Work;

/// Name of the built-in workload that runs a [`KernelSpec`].
pub const KERNEL_WORKLOAD: &str = "kernel";

/// Most bytes of a source.
pub const MAX_SOURCE_BYTES: usize = 256 << 10;

/// A kernel, its buffers, and how its output is checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelSpec {
    /// The source's file: CUDA C++17. It may include `common/cuda.cuh`, `common/half.cuh`, `common/philox.cuh` and nothing else.
    pub file: String,
    /// Everything it allocates.
    pub buffers: Vec<KernelBuffer>,
    /// The launch that is timed.
    pub launch: KernelLaunch,
    /// Work of one iteration.
    #[serde(default)]
    pub work: Work,
    /// What bounds it; a level that is absent follows from the size of the buffers.
    #[serde(default, skip_serializing_if = "Bound::is_empty")]
    pub bound: Bound,
    /// Whether the same inputs always give the same output bits.
    #[serde(default)]
    pub deterministic: bool,
    /// How its output is checked.
    pub check: KernelCheck,
}

impl KernelSpec {
    /// Whether its check looks at something that the kernel writes; else says what is missing.
    ///
    /// # Errors
    /// If no buffer is an output, or if the one that an expression gives is none: a kernel that does nothing would pass.
    pub fn expect_output(&self) -> Result<(), String> {
        let is_output =
            |buffer: &&KernelBuffer| matches!(buffer.role, BufferRole::Output | BufferRole::InOut);
        if !self.buffers.iter().any(|buffer| is_output(&buffer)) {
            return Err(
                "no buffer has the role `output` or `in_out`: nothing that the kernel writes would be checked".into(),
            );
        }
        let KernelCheck::Expression { buffer: name, .. } = &self.check else {
            return Ok(());
        };
        let checked = self.buffers.iter().find(|buffer| buffer.name == *name);
        match checked {
            Some(buffer) if !is_output(&buffer) => Err(format!(
                "the check's buffer `{name}` has neither the role `output` nor `in_out`: nothing that the kernel writes would be checked"
            )),
            _ => Ok(()),
        }
    }
}

/// A buffer of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelBuffer {
    /// Its name, by which arguments and checks refer to it.
    pub name: String,
    /// Type of its elements: `f64`, `f32`, `f16`, `bf16`, `u64`, `u32`, `i32`, `i8`, `u8`.
    pub dtype: String,
    /// How many elements.
    pub len: u64,
    /// What it is for.
    pub role: BufferRole,
    /// What an input holds.
    pub fill: BufferFill,
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BufferRole {
    /// Read only.
    #[default]
    Input,
    /// Written by every iteration.
    Output,
    /// Read and changed: put back before every sample, outside the timed region.
    InOut,
    /// Neither: what is in it afterwards is nobody's business.
    Scratch,
}

/// What an input holds: a function of the case's seed and the place of the buffer in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BufferFill {
    /// Numbers uniform on [-1, 1), or random bits in a buffer of integers.
    #[default]
    Random,
    /// Numbers uniform on [0, 1); for integers as `random`.
    Unit,
    /// Integers of 32 bits below this bound.
    Below(u32),
    /// Zeros.
    Zero,
}

/// A launch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelLaunch {
    /// The kernel, as a C++ name: `saxpy<float>`.
    pub kernel: String,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    #[serde(default)]
    pub shared_bytes: u32,
    /// The kernel's arguments, in order.
    pub args: Vec<KernelArg>,
}

/// An argument of a kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KernelArg {
    /// Address of a buffer, by its name.
    Buffer(String),
    /// `int`
    I32(i32),
    /// `unsigned int`
    U32(u32),
    /// `unsigned long long`, or `size_t`
    U64(crate::U64),
    /// `float`
    F32(f32),
    /// `double`
    F64(f64),
}

/// How the output of a kernel is checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KernelCheck {
    /// Another kernel of the same source, launched once on copies of its own: every output must be as near to that as this.
    Reference {
        /// The launch.
        launch: KernelLaunch,
        /// Largest difference of an element, relative to the largest magnitude of the buffer.
        tolerance: f64,
    },
    /// An expression of the elements at the same place, in `f64`.
    Expression {
        /// The output that it gives.
        buffer: String,
        /// The expression: names of buffers, and `i`, the place, from 0.
        expression: String,
        /// Largest difference of an element, relative to the largest magnitude of the buffer.
        tolerance: f64,
    },
    /// The digest that the outputs must have.
    Digest(Digest),
}
