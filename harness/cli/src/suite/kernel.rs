//! A kernel of the user's own, as a suite declares it: sizes are expressions of the axes.

use assay_protocol::kernel::{BufferFill, BufferRole};
use assay_protocol::{ArithmeticUnit, Digest, MemoryLevel};
use schemars::JsonSchema;
use serde::Deserialize;

/// A kernel and how it is launched and checked. Expressions have `+ - * / ^`, `min`, `max`, `ceil`, `floor`, `round`, `sqrt`,
/// `log2` and more, and the names of the benchmark's axes and parameters: `ceil(n / block)`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelDeclaration {
    /// The source, `{dir}/saxpy.cu`: pinned by its digest.
    pub file: String,
    /// The kernel, as a C++ name; `{axis}` stands for an axis's value: `saxpy<float, {unroll}>`.
    pub name: String,
    /// Blocks in x, y, z: one to three expressions.
    pub grid: Vec<Number>,
    /// Threads of a block in x, y, z: one to three expressions.
    pub block: Vec<Number>,
    /// Bytes of dynamic shared memory.
    #[serde(default = "Number::zero")]
    pub shared_bytes: Number,
    /// Everything it allocates.
    pub buffers: Vec<BufferDeclaration>,
    /// Its arguments: names of buffers, or `TYPE: EXPRESSION` with one of i32, u32, u64, f32, f64.
    pub args: Vec<String>,
    /// Work of one iteration.
    #[serde(default)]
    pub work: WorkDeclaration,
    /// How its output is checked.
    pub check: CheckDeclaration,
    /// Whether the same inputs always give the same output bits.
    #[serde(default)]
    pub deterministic: bool,
}

/// A number, or an expression of the axes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Number {
    /// An integer.
    Int(u64),
    /// An expression.
    Expression(String),
}

impl Number {
    fn zero() -> Self {
        Self::Int(0)
    }
}

/// A buffer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BufferDeclaration {
    /// Its name.
    pub name: String,
    /// Type of its elements: f64, f32, f16, bf16, u64, u32, i32, i8, u8.
    pub dtype: String,
    /// How many elements.
    pub len: Number,
    /// input, output, `in_out` or scratch.
    #[serde(default)]
    pub role: BufferRole,
    /// What an input holds: random (the default), unit, zero, or { below = N }.
    #[serde(default)]
    pub fill: BufferFill,
}

/// Work of one iteration, as expressions, and what bounds it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkDeclaration {
    /// Bytes moved: each input read once, each output written once.
    pub bytes: Option<Number>,
    /// Floating-point operations.
    pub flops: Option<Number>,
    /// Items processed.
    pub items: Option<Number>,
    /// The memory level that its bytes come from; absent: by the size of the buffers.
    pub level: Option<MemoryLevel>,
    /// The unit that does its arithmetic.
    pub unit: Option<ArithmeticUnit>,
}

/// How the output is checked: one of the three.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckDeclaration {
    /// A kernel of the same source whose outputs are right.
    pub reference: Option<ReferenceDeclaration>,
    /// `out = 2.5 * x + y`: an output, and an expression of the elements of buffers at the same place (and of `i`, the
    /// place, and the axes), in f64.
    pub expression: Option<String>,
    /// Digest of the outputs.
    pub output: Option<Digest>,
    /// Largest difference of an element, relative to the largest magnitude of its buffer.
    pub tolerance: Option<f64>,
}

/// A reference kernel. What is absent is as in the kernel that is timed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceDeclaration {
    /// The kernel, as a C++ name.
    pub name: String,
    /// Blocks.
    pub grid: Option<Vec<Number>>,
    /// Threads of a block.
    pub block: Option<Vec<Number>>,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: Option<Number>,
    /// Arguments.
    pub args: Option<Vec<String>>,
}
