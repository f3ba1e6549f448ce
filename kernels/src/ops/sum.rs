//! Sums to one number: `sum` in a fixed or a free order, and STREAM's `dot`.
//!
//! A reduction must say whether its bits can be relied on. The `tree` sum has one shape for every length
//! ([`super::reduce`]): the same bits from any number of threads. The `free` sum takes blocks
//! as threads come free and adds the threads' partial sums in the order in which they finish; its
//! bits may differ from one iteration to the next. `stream-dot` (`BabelStream`: `sum += a b`) is
//! of the first kind. Inputs are uniform on [0, 1), so that a block left out is
//! never hidden by cancellation.
//!
//! Work with `n` elements of type `T`: sum `n sizeof T` bytes and `n` flops; dot `2 n sizeof T` and `2 n`.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use assay_protocol::{DeviceKind, Failure, Work};

use super::reduce::{self, BLOCK, block_dot, block_sum};
use super::{Op, OpInfo};
use crate::bound::tolerance;
use crate::buffer::Buffer;
use crate::check;
use crate::device::{Member, Team};
use crate::element::{DType, Real, with_real};
use crate::parameters::{self, Arguments};
use crate::program::{Checked, Fill, Outcome, Program};

/// Elements that a thread of the free sum takes at a time.
const GRAB: usize = 4 * BLOCK;
const DTYPES: &[DType] = &[DType::F32, DType::F64];

/// A reduction to one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// `sum(a)`
    Sum,
    /// `sum(a b)`
    Dot,
}

impl Op for Reduction {
    fn info(&self) -> OpInfo {
        let elements = parameters::integer("elements");
        let dtype = parameters::dtype(DTYPES);
        let variant = parameters::choice("variant", &["tree", "free"]);
        let (name, summary, parameters) = match self {
            Self::Sum => (
                "sum",
                "sum of all elements, in a fixed (tree) or a free order",
                vec![elements, dtype, variant],
            ),
            Self::Dot => (
                "stream-dot",
                "STREAM dot: sum += a b",
                vec![elements, dtype],
            ),
        };
        OpInfo {
            name,
            summary,
            parameters,
            devices: &[DeviceKind::Cpu],
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        with_real!(
            arguments.dtype(DTYPES)?,
            [F32 = f32, F64 = f64],
            program(*self, arguments)
        )
    }
}

fn program<T: Real>(op: Reduction, arguments: &Arguments) -> Result<Program, Failure> {
    let elements = arguments.size("elements")?;
    let free =
        op == Reduction::Sum && arguments.choice("variant", &[("tree", false), ("free", true)])?;
    let names: &[&'static str] = if op == Reduction::Sum {
        &["a"]
    } else {
        &["a", "b"]
    };
    let mut program = Program::new(work::<T>(names.len() as u64, elements as u64)?);
    program.deterministic = !free;
    for (stream, name) in names.iter().enumerate() {
        program.input(
            name,
            T::DTYPE,
            elements,
            Fill::Unit {
                stream: stream as u64,
            },
        );
    }
    let out = program.output("sum", T::DTYPE, 1);
    if free {
        program.distinct = Some(out);
    }
    program.on_cpu(move |team, buffers, iterations| {
        let (inputs, out) = buffers.split_last_mut(out);
        let terms = Terms(inputs.iter().map(Buffer::get::<T>).collect());
        let (host_ns, sum) = if free {
            terms.run_free(team, iterations)
        } else {
            terms.run_tree(team, iterations)
        };
        out.get_mut::<T>()[0] = sum;
        host_ns
    });
    program.check(move |outcome| check::<T>(outcome, out, free));
    Ok(program)
}

fn work<T: Real>(arrays: u64, elements: u64) -> Result<Work, Failure> {
    let bytes = parameters::product("`elements`", &[arrays, elements, size_of::<T>() as u64])?;
    let times = if arrays == 1 {
        String::new()
    } else {
        format!("{arrays} ")
    };
    Ok(Work {
        bytes: Some(bytes),
        flops: Some(arrays * elements),
        items: Some(elements),
        formula: format!("bytes = {times}n sizeof(T), flops = {times}n, items = n; n = elements"),
    })
}

/// One array to sum, or two to multiply and sum.
struct Terms<'a, T>(Vec<&'a [T]>);

impl<T: Real> Terms<'_, T> {
    fn len(&self) -> usize {
        self.0[0].len()
    }

    /// Sum over the elements `first..end`, a block.
    fn block(&self, first: usize, end: usize) -> T {
        match self.0.as_slice() {
            [a, b] => block_dot(&a[first..end], &b[first..end]),
            _ => block_sum(&self.0[0][first..end]),
        }
    }

    fn run_tree(&self, team: &Team, iterations: u64) -> (u64, T) {
        let len = self.len();
        // A block of nothing has a sum, too.
        let blocks = len.div_ceil(BLOCK).max(1);
        let partials: Vec<_> = (0..blocks).map(|_| Shared::new(T::default())).collect();
        let result = Shared::new(T::default());
        let threads = team.threads();
        let shares = (0..threads).map(|i| blocks * i / threads..blocks * (i + 1) / threads);
        let host_ns = team.time(iterations, shares.collect(), |member, share| {
            for block in share.clone() {
                let first = block * BLOCK;
                partials[block].set(self.block(first, len.min(first + BLOCK)));
            }
            member.meet();
            if member.index == 0 {
                result.set(reduce::tree(&|i| partials[i].get(), 0, blocks));
            }
        });
        (host_ns, result.get())
    }

    fn run_free(&self, team: &Team, iterations: u64) -> (u64, T) {
        let rounds = [Round::new(), Round::new()];
        let host_ns = team.time(iterations, vec![(); team.threads()], |member, ()| {
            self.free_iteration(member, &rounds);
        });
        let last = (iterations - 1) % 2;
        (host_ns, rounds[last as usize].total.get())
    }

    /// One iteration uses one of two rounds, and clears the other for the next.
    fn free_iteration(&self, member: &Member, rounds: &[Round<T>; 2]) {
        let turn = (member.iteration % 2) as usize;
        if member.index == 0 {
            rounds[1 - turn].clear();
        }
        let mut partial = T::default();
        let len = self.len();
        while let Some(first) = rounds[turn].grab(len) {
            for first in (first..len.min(first + GRAB)).step_by(BLOCK) {
                partial = partial + self.block(first, len.min(first + BLOCK));
            }
        }
        rounds[turn].total.add(partial);
    }
}

fn check<T: Real>(outcome: &Outcome, out: usize, free: bool) -> Checked {
    let a = outcome.get::<T>(0);
    let b = (out == 2).then(|| outcome.get::<T>(1));
    let factor = |i: usize| b.map_or(1.0, |b| b[i].into());
    let (exact, condition) = reduce::reference(a.len(), |i| (a[i].into(), factor(i)));
    let found: f64 = outcome.get::<T>(out)[0].into();
    let error = check::worst(1, |_| check::relative(found, exact, condition));
    // A product rounds once more.
    let products = u64::from(b.is_some());
    let height = if free {
        free_height(a.len())
    } else {
        reduce::height(a.len())
    };
    Checked {
        error,
        tolerance: tolerance::<T>(products + height, 2),
        detail: "|sum - exact| / sum of magnitudes; bound gamma_h, h roundings on the longest path"
            .into(),
    }
}

/// Additions on the longest path through the free sum: one thread might take all blocks, and others none.
fn free_height(len: usize) -> u64 {
    const MOST_THREADS: usize = 1024;
    let blocks = len.div_ceil(BLOCK);
    reduce::block_height(len) + (blocks + blocks.min(MOST_THREADS)) as u64
}

/// A number that threads share. Ordering comes from the team's barriers, not from here.
struct Shared<T>(AtomicU64, PhantomData<T>);

impl<T: Real> Shared<T> {
    fn new(value: T) -> Self {
        Self(AtomicU64::new(value.to_word()), PhantomData)
    }

    fn get(&self) -> T {
        T::from_word(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, value: T) {
        self.0.store(value.to_word(), Ordering::Relaxed);
    }

    fn add(&self, value: T) {
        let add = |word| (T::from_word(word) + value).to_word();
        self.0.update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

/// What the threads share in one iteration of the free sum.
struct Round<T> {
    next: AtomicUsize,
    total: Shared<T>,
}

impl<T: Real> Round<T> {
    fn new() -> Self {
        Self {
            next: AtomicUsize::new(0),
            total: Shared::new(T::default()),
        }
    }

    fn clear(&self) {
        self.next.store(0, Ordering::Relaxed);
        self.total.set(T::default());
    }

    /// The first of the next elements that nobody has taken, if any are left.
    fn grab(&self, len: usize) -> Option<usize> {
        let first = self.next.fetch_add(GRAB, Ordering::Relaxed);
        (first < len).then_some(first)
    }
}
