//! Programs: what a case of an op allocates, does and checks, before any device is chosen.
//!
//! An op makes a program of its parameters; the frame does the rest, the same for every op. It allocates and
//! fills the buffers on the device, times the case there, brings the outputs back and has them checked
//! against the reference. Tests run the same programs' kernels in emulation, and compile them for every
//! architecture.

mod steps;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use assay_protocol::{ArithmeticUnit, Failure, MemoryLevel, Verification, Work};

use crate::buffer::{Buffer, Buffers};
use crate::device::Team;
use crate::element::{DType, Element};

pub use steps::Steps;

/// A case of an op.
pub struct Program {
    /// Work of one iteration, as the algorithm defines it.
    pub work: Work,
    /// Where its bytes come from.
    pub traffic: Traffic,
    /// The unit that does its arithmetic, where that bounds it.
    pub unit: Option<ArithmeticUnit>,
    /// Whether the same inputs always give the same output bits.
    pub deterministic: bool,
    /// An output whose different bit patterns over the samples are counted, as metric `distinct_outputs`.
    pub distinct: Option<usize>,
    /// Most iterations between two restorations: one, where they change their inputs and the op says no more.
    pub most_iterations: u64,
    /// Everything it allocates. Steps and kernels name buffers by their place in this list.
    pub buffers: Vec<BufferSpec>,
    /// Runs it on the host; absent where there is no such implementation, or where it is one of steps.
    cpu: Option<CpuKernel>,
    /// One iteration on the host, in order, where it is made of steps; each with its family.
    cpu_steps: Vec<(&'static str, CpuStep)>,
    /// What steps belong to, on either kind of device, from which of those for CUDA devices on.
    families: Vec<(usize, &'static str)>,
    /// One iteration on a CUDA device, in order; empty where there is no such implementation.
    pub cuda: Vec<Step>,
    /// What is done once on a CUDA device before the first iteration, untimed.
    pub setup: Vec<Step>,
    /// Compares the outputs with the reference.
    pub check: Check,
}

/// Runs a program on the host `iterations` times, at least once, and returns the nanoseconds that it took.
pub type CpuKernel = Box<dyn FnMut(&Team, &mut Buffers, u64) -> u64>;

/// One step of an iteration on the host.
pub type CpuStep = Box<dyn FnMut(&Team, &mut Buffers)>;

/// Compares what a program left in its buffers with the reference.
pub type Check = Box<dyn Fn(&Outcome) -> Checked>;

/// Where the bytes of an iteration come from, which decides what ceiling they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traffic {
    /// From the smallest cache that holds all buffers, or from memory.
    #[default]
    Footprint,
    /// From one level, whatever the size of the buffers.
    Level(MemoryLevel),
    /// They are few, or come from nowhere in particular: no ceiling of bytes applies.
    Unbounded,
}

/// A buffer that a program allocates.
pub struct BufferSpec {
    /// Its name, unique within the program: `a`, `out`.
    pub name: Cow<'static, str>,
    /// Type of its elements.
    pub dtype: DType,
    /// How many; none is allowed.
    pub len: usize,
    /// What it is for.
    pub role: Role,
    /// What it holds before the first iteration.
    pub fill: Fill,
}

impl BufferSpec {
    /// Its size.
    pub fn bytes(&self) -> usize {
        self.len.saturating_mul(self.dtype.bytes())
    }
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Read only: its digest identifies the inputs.
    Input,
    /// Written by every iteration, without looking at what was in it.
    Output,
    /// Read and changed: put back before every sample, outside the timed region.
    InOut,
    /// Neither: what is in it afterwards is nobody's business.
    Scratch,
    /// Written once, by [`Program::setup`]: what outputs are compared with.
    Reference,
}

/// What a buffer holds before the first iteration. Random numbers are a pure function of seed, stream and place, on
/// any device.
pub enum Fill {
    /// Zeros.
    Zero,
    /// What no right output has.
    Poison,
    /// Numbers uniform on [-scale, scale) with 24 random bits. `scale` is a power of two.
    Signed {
        /// Random stream, one per input.
        stream: u64,
        /// Largest magnitude.
        scale: f32,
    },
    /// Numbers uniform on [0, 1) with 24 random bits: `x / 2 + 1/2` of a signed one.
    Unit {
        /// Random stream.
        stream: u64,
    },
    /// Random bits: for an element of 64 bits two words, the lower first; for one of 8 bits the low byte of a word.
    Words {
        /// Random stream.
        stream: u64,
    },
    /// Random integers of 32 bits below a bound: `(word * bound) >> 32`.
    Below {
        /// Random stream.
        stream: u64,
        /// The bound, at least 1.
        bound: u32,
    },
    /// What a function of the host makes, given the seed: structures that are not random number by number.
    Host(HostFill),
}

/// Fills a buffer on the host, given the seed.
pub type HostFill = Box<dyn Fn(&mut Buffer, u64)>;

impl Fill {
    /// Numbers uniform on [-1, 1).
    pub const fn signed(stream: u64) -> Self {
        Self::Signed { stream, scale: 1.0 }
    }
}

/// One step of an iteration on a CUDA device.
pub enum Step {
    /// Launches a kernel.
    Launch(Launch),
    /// Sets every byte of a buffer.
    Set {
        /// The buffer.
        buffer: usize,
        /// The byte.
        byte: u8,
    },
    /// Copies all of a buffer into another of the same size.
    Copy {
        /// Read.
        from: usize,
        /// Written.
        to: usize,
    },
    /// Calls a library of the vendor's.
    Library(Box<dyn crate::device::LibraryCall>),
}

/// A launch of a kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Where the kernel is written.
    pub source: &'static Source,
    /// The kernel, as a C++ name: `triad<float>`.
    pub kernel: String,
    /// Blocks in x, y, z; nothing is launched where one is 0.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// The kernel's arguments, in order.
    pub args: Vec<Arg>,
}

impl Launch {
    /// A launch of `blocks` blocks of `threads` threads.
    pub fn new(
        source: &'static Source,
        kernel: impl Into<String>,
        blocks: u32,
        threads: u32,
    ) -> Self {
        Self {
            source,
            kernel: kernel.into(),
            grid: [blocks, 1, 1],
            block: [threads, 1, 1],
            shared_bytes: 0,
            args: vec![],
        }
    }

    /// The same with these arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = Arg>) -> Self {
        self.args.extend(args);
        self
    }
}

/// Blocks that cover `items` with `per_block` each, at most `most`: kernels stride over the rest.
pub fn blocks(items: usize, per_block: usize, most: u32) -> u32 {
    u32::try_from(items.div_ceil(per_block))
        .unwrap_or(u32::MAX)
        .min(most)
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// Address of a buffer.
    Buffer(usize),
    /// Address of a byte within a buffer.
    BufferAt {
        /// The buffer.
        buffer: usize,
        /// Bytes behind its beginning.
        byte: usize,
    },
    /// `unsigned int`
    U32(u32),
    /// `int`
    I32(i32),
    /// `unsigned long long`
    U64(u64),
    /// `float`
    F32(f32),
    /// `double`
    F64(f64),
}

impl Arg {
    /// Bytes of the parameter that takes it.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::U32(_) | Self::I32(_) | Self::F32(_) => 4,
            Self::Buffer(_) | Self::BufferAt { .. } | Self::U64(_) | Self::F64(_) => 8,
        }
    }

    /// A size or count, as kernels take it: 64 bits.
    pub const fn size(count: usize) -> Self {
        Self::U64(count as u64)
    }
}

/// A CUDA source.
#[derive(Debug)]
pub struct Source {
    /// Its path below `kernels/cuda`.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
    /// Whether the emulation can run it: no waits between blocks. Instructions of tensor cores are written out there.
    pub emulated: bool,
    /// Architectures that it is for, as `90a`; empty for all.
    pub architectures: &'static [&'static str],
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Source {
    /// Whether it is made for an architecture, as `90a`.
    pub fn supports(&self, architecture: &str) -> bool {
        self.architectures.is_empty() || self.architectures.contains(&architecture)
    }
}

/// A CUDA source below `kernels/cuda`, for every architecture and for the emulation.
macro_rules! cuda_source {
    ($path:literal) => {
        $crate::program::cuda_source!($path, emulated: true, architectures: &[])
    };
    ($path:literal, emulated: $emulated:expr, architectures: $architectures:expr) => {
        $crate::program::Source {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/cuda/", $path)),
            emulated: $emulated,
            architectures: $architectures,
        }
    };
}
pub(crate) use cuda_source;

/// What a program left behind, on the host.
pub struct Outcome<'a> {
    /// Every buffer after the last iteration.
    pub buffers: &'a Buffers,
    /// Buffers that iterations change, as they were before the last sample, by their number.
    pub initial: &'a BTreeMap<usize, Buffer>,
    /// Iterations since then.
    pub iterations: u64,
}

impl Outcome<'_> {
    /// The elements of a buffer.
    ///
    /// # Panics
    /// If there is none of that number, or if it holds another type.
    pub fn get<T: Element>(&self, index: usize) -> &[T] {
        self.buffers.get(index)
    }

    /// What a [`Role::InOut`] buffer held before the last sample.
    ///
    /// # Panics
    /// If the buffer has another role or type.
    pub fn initial<T: Element>(&self, index: usize) -> &[T] {
        self.initial[&index].get()
    }
}

/// How an outcome compares with the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Largest error, in the measure that the tolerance has; infinite where something is no number.
    pub error: f64,
    /// Largest error that is right.
    pub tolerance: f64,
    /// What was compared.
    pub detail: String,
}

impl Checked {
    /// A comparison of bits: the error is how many elements differ.
    pub fn exact(different: usize, detail: &str) -> Self {
        Self {
            error: different as f64,
            tolerance: 0.0,
            detail: detail.into(),
        }
    }
}

impl Program {
    /// A program without buffers and implementations, whose check fails: an op adds them.
    pub fn new(work: Work) -> Self {
        let unchecked = Checked {
            error: f64::INFINITY,
            tolerance: 0.0,
            detail: "nothing was compared".into(),
        };
        Self {
            work,
            traffic: Traffic::Footprint,
            unit: None,
            deterministic: true,
            distinct: None,
            most_iterations: u64::MAX,
            buffers: vec![],
            cpu: None,
            cpu_steps: vec![],
            families: vec![],
            cuda: vec![],
            setup: vec![],
            check: Box::new(move |_| unchecked.clone()),
        }
    }

    /// Adds a buffer of any kind, and gives its number.
    pub fn add(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        dtype: DType,
        len: usize,
        role: Role,
        fill: Fill,
    ) -> usize {
        if role == Role::InOut {
            self.most_iterations = 1;
        }
        self.buffers.push(BufferSpec {
            name: name.into(),
            dtype,
            len,
            role,
            fill,
        });
        self.buffers.len() - 1
    }

    /// Adds an input, and gives its number.
    pub fn input(&mut self, name: &'static str, dtype: DType, len: usize, fill: Fill) -> usize {
        self.add(name, dtype, len, Role::Input, fill)
    }

    /// Adds an output, poisoned before the first iteration, and gives its number.
    pub fn output(&mut self, name: &'static str, dtype: DType, len: usize) -> usize {
        self.add(name, dtype, len, Role::Output, Fill::Poison)
    }

    /// Adds a buffer that iterations read and change, and gives its number. From then on a sample is one iteration, unless
    /// [`Self::most_iterations`] is raised.
    pub fn in_out(&mut self, name: &'static str, dtype: DType, len: usize, fill: Fill) -> usize {
        self.add(name, dtype, len, Role::InOut, fill)
    }

    /// Adds a buffer that is of no interest afterwards, poisoned at first, and gives its number.
    pub fn scratch(&mut self, name: &'static str, dtype: DType, len: usize) -> usize {
        self.add(name, dtype, len, Role::Scratch, Fill::Poison)
    }

    /// Adds counters that each iteration finds at zero and leaves so, and gives its number.
    pub fn counters(&mut self, name: &'static str, len: usize) -> usize {
        self.add(name, DType::U32, len, Role::Scratch, Fill::Zero)
    }

    /// Sets the implementation for the host: one that times its own iterations.
    pub fn on_cpu(&mut self, kernel: impl FnMut(&Team, &mut Buffers, u64) -> u64 + 'static) {
        self.cpu = Some(Box::new(kernel));
    }

    /// Whether there is an implementation for the host.
    pub fn runs_on_cpu(&self) -> bool {
        self.cpu.is_some() || !self.cpu_steps.is_empty()
    }

    /// Takes the implementation for the host out of it.
    pub fn take_cpu(&mut self) -> Option<CpuKernel> {
        let mut steps = std::mem::take(&mut self.cpu_steps);
        if steps.is_empty() {
            return self.cpu.take();
        }
        Some(Box::new(move |team, buffers, iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                for (_, step) in &mut steps {
                    step(team, black_box(&mut *buffers));
                }
            }
            u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
        }))
    }

    /// Adds a launch to the implementation for CUDA devices.
    pub fn launch(&mut self, launch: Launch) {
        self.cuda.push(Step::Launch(launch));
    }

    /// Sets the comparison with the reference.
    pub fn check(&mut self, check: impl Fn(&Outcome) -> Checked + 'static) {
        self.check = Box::new(check);
    }

    /// Its buffers on the host, filled.
    pub fn host_buffers(&self, team: &Team, seed: u64) -> Result<Buffers, Failure> {
        crate::fill::buffers(team, &self.buffers, seed)
    }

    /// Judges what it left in its buffers `iterations` after those that it changes were last as in `initial`, if its inputs are what they
    /// were.
    pub fn judge(
        &self,
        buffers: &Buffers,
        initial: &BTreeMap<usize, Buffer>,
        iterations: u64,
    ) -> Verification {
        crate::device::verify(self, buffers, initial, &BTreeMap::new(), iterations)
    }

    /// The launches of the implementation for CUDA devices, those of its setup among them.
    pub fn launches(&self) -> impl Iterator<Item = &Launch> {
        self.setup
            .iter()
            .chain(&self.cuda)
            .filter_map(|step| match step {
                Step::Launch(launch) => Some(launch),
                _ => None,
            })
    }

    /// Bytes of all buffers.
    pub fn footprint(&self) -> u64 {
        self.bytes_of(|_| true)
    }

    /// Bytes that a case allocates: those of all buffers, and of the copies of what iterations change.
    pub fn allocated(&self) -> u64 {
        let copies = self.bytes_of(|buffer| buffer.role == Role::InOut);
        self.footprint().saturating_add(copies)
    }

    fn bytes_of(&self, counts: impl Fn(&BufferSpec) -> bool) -> u64 {
        let counted = self.buffers.iter().filter(|buffer| counts(buffer));
        counted.fold(0, |sum, buffer| sum.saturating_add(buffer.bytes() as u64))
    }
}
