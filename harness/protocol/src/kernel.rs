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

/// Most threads of a block.
pub const MAX_BLOCK_THREADS: u64 = 1024;

/// Types that a buffer's elements may have.
pub const BUFFER_DTYPES: [&str; 9] = ["f64", "f32", "f16", "bf16", "u64", "u32", "i32", "i8", "u8"];

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
    /// Whether it can be launched as it says, and its check looks at everything that the kernel writes; else says what is wrong.
    ///
    /// # Errors
    /// If names are not those of buffers, types are none, a launch has no threads or more than there may be, or if an output is empty, absent,
    /// or not looked at: a kernel that does nothing would pass.
    pub fn expect_sound(&self) -> Result<(), String> {
        self.expect_buffers()?;
        self.expect_launch(&self.launch)?;
        if let KernelCheck::Reference { launch, .. } = &self.check {
            self.expect_launch(launch)?;
        }
        self.expect_output()
    }

    fn expect_buffers(&self) -> Result<(), String> {
        for (place, buffer) in self.buffers.iter().enumerate() {
            let KernelBuffer { name, dtype, .. } = buffer;
            if self.buffers[..place]
                .iter()
                .any(|other| other.name == *name)
            {
                return Err(format!("two buffers are called `{name}`"));
            }
            if !BUFFER_DTYPES.contains(&dtype.as_str()) {
                let dtypes = BUFFER_DTYPES.join(", ");
                return Err(format!("buffer `{name}`: `{dtype}` is none of {dtypes}"));
            }
            if buffer.is_output() && buffer.len == 0 {
                return Err(format!(
                    "buffer `{name}` has no elements: nothing that the kernel writes there would be checked"
                ));
            }
        }
        Ok(())
    }

    fn expect_launch(&self, launch: &KernelLaunch) -> Result<(), String> {
        let KernelLaunch {
            kernel,
            grid,
            block,
            ..
        } = launch;
        let threads = block.iter().map(|side| u64::from(*side)).product::<u64>();
        if grid.contains(&0) || !(1..=MAX_BLOCK_THREADS).contains(&threads) {
            return Err(format!(
                "`{kernel}`: expected at least one block, of 1 to {MAX_BLOCK_THREADS} threads; found a grid of {grid:?} blocks of {block:?}"
            ));
        }
        for arg in &launch.args {
            if let KernelArg::Buffer(name) = arg
                && self.buffer(name).is_none()
            {
                return Err(format!("`{kernel}`: no buffer is called `{name}`"));
            }
        }
        Ok(())
    }

    fn expect_output(&self) -> Result<(), String> {
        const UNCHECKED: &str = "nothing that the kernel writes would be checked";
        if !self.buffers.iter().any(KernelBuffer::is_output) {
            return Err(format!(
                "no buffer has the role `output` or `in_out`: {UNCHECKED}"
            ));
        }
        let KernelCheck::Expression { buffer: name, .. } = &self.check else {
            return Ok(());
        };
        match self.buffer(name) {
            None => Err(format!(
                "the check's buffer `{name}` is none of the buffers"
            )),
            Some(buffer) if !buffer.is_output() => Err(format!(
                "the check's buffer `{name}` has neither the role `output` nor `in_out`: {UNCHECKED}"
            )),
            Some(_) => self.expect_one_output(name),
        }
    }

    /// An expression is of one output, and others would pass whatever is in them.
    fn expect_one_output(&self, name: &str) -> Result<(), String> {
        let mut others = self.buffers.iter().filter(|buffer| buffer.name != name);
        match others.find(|buffer| buffer.is_output()) {
            Some(other) => Err(format!(
                "the check is an expression of `{name}`, and buffer `{}` would not be checked: give a `reference` or the digest of the `output`",
                other.name
            )),
            None => Ok(()),
        }
    }

    fn buffer(&self, name: &str) -> Option<&KernelBuffer> {
        self.buffers.iter().find(|buffer| buffer.name == name)
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

impl KernelBuffer {
    /// Whether the kernel's result is in it.
    fn is_output(&self) -> bool {
        matches!(self.role, BufferRole::Output | BufferRole::InOut)
    }
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

#[cfg(test)]
mod tests {
    use super::{
        BUFFER_DTYPES, BufferFill, BufferRole, KernelArg, KernelBuffer, KernelCheck, KernelLaunch,
        KernelSpec,
    };
    use crate::bound::Bound;
    use crate::message::Work;

    fn buffer(name: &str, role: BufferRole) -> KernelBuffer {
        KernelBuffer {
            name: name.into(),
            dtype: "f32".into(),
            len: 9,
            role,
            fill: BufferFill::Random,
        }
    }

    fn launch() -> KernelLaunch {
        KernelLaunch {
            kernel: "saxpy<float>".into(),
            grid: [2, 1, 1],
            block: [32, 16, 2],
            shared_bytes: 0,
            args: vec![KernelArg::Buffer("y".into()), KernelArg::F32(2.5)],
        }
    }

    /// `y = 2.5 * x`.
    fn saxpy() -> KernelSpec {
        KernelSpec {
            file: "saxpy.cu".into(),
            buffers: vec![
                buffer("x", BufferRole::Input),
                buffer("y", BufferRole::Output),
            ],
            launch: launch(),
            work: Work::default(),
            bound: Bound::default(),
            deterministic: true,
            check: KernelCheck::Expression {
                buffer: "y".into(),
                expression: "2.5 * x".into(),
                tolerance: 1e-6,
            },
        }
    }

    #[test]
    fn what_cannot_be_launched_or_would_not_be_checked_is_refused() {
        type Change = fn(&mut KernelSpec);
        let cases: [(Change, &str); 11] = [
            (
                |spec| spec.buffers[0].dtype = "f99".into(),
                "buffer `x`: `f99` is none of f64, f32",
            ),
            (
                |spec| spec.buffers[0].name = "y".into(),
                "two buffers are called `y`",
            ),
            (|spec| spec.buffers[1].len = 0, "buffer `y` has no elements"),
            (
                |spec| spec.launch.args.push(KernelArg::Buffer("q".into())),
                "`saxpy<float>`: no buffer is called `q`",
            ),
            (
                |spec| spec.launch.block = [0, 1, 1],
                "of 1 to 1024 threads; found a grid of [2, 1, 1] blocks of [0, 1, 1]",
            ),
            (
                |spec| spec.launch.block = [25_600, 1, 1],
                "blocks of [25600, 1, 1]",
            ),
            (|spec| spec.launch.grid = [1, 0, 1], "a grid of [1, 0, 1]"),
            (
                |spec| spec.buffers[1].role = BufferRole::Scratch,
                "no buffer has the role `output` or `in_out`",
            ),
            (
                |spec| spec.buffers.push(buffer("z", BufferRole::InOut)),
                "buffer `z` would not be checked",
            ),
            (
                |spec| {
                    spec.check = KernelCheck::Expression {
                        buffer: "z".into(),
                        expression: "x".into(),
                        tolerance: 0.0,
                    };
                },
                "the check's buffer `z` is none of the buffers",
            ),
            (
                |spec| {
                    let mut launch = launch();
                    launch.block[2] = 3;
                    spec.check = KernelCheck::Reference {
                        launch,
                        tolerance: 0.0,
                    };
                },
                "blocks of [32, 16, 3]",
            ),
        ];
        saxpy().expect_sound().unwrap();
        for (change, words) in cases {
            let mut spec = saxpy();
            change(&mut spec);
            let refused = spec.expect_sound().unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn a_reference_looks_at_every_output() {
        let mut spec = saxpy();
        spec.buffers.push(buffer("z", BufferRole::Output));
        spec.check = KernelCheck::Reference {
            launch: launch(),
            tolerance: 0.0,
        };
        spec.expect_sound().unwrap();
        for dtype in BUFFER_DTYPES {
            spec.buffers[0].dtype = dtype.into();
            spec.expect_sound().unwrap();
        }
    }
}
