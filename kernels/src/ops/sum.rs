//! Sums to one number: `sum` in a fixed or a free order, and STREAM's `dot`.
//!
//! A reduction must say whether its bits can be relied on. On the host the `tree` sum has one shape for every length
//! ([`super::reduce`]): the same bits from any number of threads. The `free` sum takes blocks
//! as threads come free and adds the threads' partial sums in the order in which they finish; its
//! bits may differ from one iteration to the next. On CUDA devices `fixed` has the shape of the host's `tree`, and its
//! bits, on any device; `tree` adds up blocks' sums in a second kernel, in an order that goes with the size of blocks;
//! `atomic` lets blocks add to the result as they finish. `stream-dot` (`BabelStream`: `sum += a b`) is of the fixed
//! kind everywhere. Inputs are uniform on [0, 1), so that a block left out is never hidden by cancellation; nor is it by the tolerance
//! at the sizes of the suites, 2^27 elements and less, since of sums in a free order, whose worst cases have thousands of roundings in a
//! row, what is likely is allowed and no more.
//!
//! Work with `n` elements of type `T`: sum `n sizeof T` bytes and `n` flops; dot `2 n sizeof T` and `2 n`.

pub(crate) mod cuda;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use assay_protocol::{Failure, Work};

use super::reduce::{self, BLOCK, block_dot, block_sum};
use super::{EVERYWHERE, Op, OpInfo};
use crate::bound::{gamma, likely_gamma};
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

/// The order of additions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// A balanced tree over blocks of one size, the same on the host and on CUDA devices.
    Blocks,
    /// As threads of the host come free.
    Free,
    /// Runs of elements, then their sums, on CUDA devices.
    Runs,
    /// Runs of elements, as blocks of a CUDA device finish.
    Atomic,
}

impl Order {
    const ON_CPU: &[(&str, Self)] = &[("tree", Self::Blocks), ("free", Self::Free)];
    const ON_CUDA: &[(&str, Self)] = &[
        ("tree", Self::Runs),
        ("fixed", Self::Blocks),
        ("atomic", Self::Atomic),
    ];

    fn is_free(self) -> bool {
        matches!(self, Self::Free | Self::Atomic)
    }

    fn of(op: Reduction, arguments: &Arguments) -> Result<Self, Failure> {
        match op {
            Reduction::Dot => Ok(Self::Blocks),
            Reduction::Sum if arguments.is_cuda() => arguments.choice("variant", Self::ON_CUDA),
            Reduction::Sum => arguments.choice("variant", Self::ON_CPU),
        }
    }

    /// Additions on the longest path through a sum of `n` elements.
    fn height<T: Real>(self, n: usize) -> u64 {
        match self {
            Self::Blocks => reduce::height(n),
            Self::Free => free_height(n),
            Self::Runs => cuda::runs_height::<T>(n),
            Self::Atomic => cuda::atomic_height::<T>(n),
        }
    }
}

impl Op for Reduction {
    fn info(&self) -> OpInfo {
        let elements = parameters::integer("elements");
        let dtype = parameters::dtype(DTYPES);
        let variant = |orders: &[(&str, Order)]| {
            let names: Vec<_> = orders.iter().map(|(name, _)| *name).collect();
            parameters::choice("variant", &names)
        };
        let (name, summary, parameters) = match self {
            Self::Sum => (
                "sum",
                "sum of all elements, in a fixed or a free order",
                vec![
                    elements,
                    dtype,
                    parameters::on_cpu(variant(Order::ON_CPU)),
                    parameters::on_cuda(variant(Order::ON_CUDA)),
                ],
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
            devices: EVERYWHERE,
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
    let order = Order::of(op, arguments)?;
    let names: &[&'static str] = if op == Reduction::Sum {
        &["a"]
    } else {
        &["a", "b"]
    };
    let mut program = Program::new(work::<T>(names.len() as u64, elements as u64)?);
    program.deterministic = !order.is_free();
    let input = |(stream, name): (usize, &&'static str)| {
        let stream = stream as u64;
        program.input(name, T::DTYPE, elements, Fill::Unit { stream })
    };
    let inputs: Vec<usize> = names.iter().enumerate().map(input).collect();
    let out = program.output("sum", T::DTYPE, 1);
    if order.is_free() {
        program.distinct = Some(out);
    }
    if matches!(order, Order::Blocks | Order::Free) {
        program.on_cpu(move |team, buffers, iterations| {
            let (inputs, rest) = buffers.0.split_at_mut(out);
            let terms = Terms(inputs.iter().map(Buffer::get::<T>).collect());
            let (host_ns, sum) = if order == Order::Free {
                terms.run_free(team, iterations)
            } else {
                terms.run_tree(team, iterations)
            };
            rest[0].get_mut::<T>()[0] = sum;
            host_ns
        });
    }
    cuda::add_steps::<T>(&mut program, (op, order), &inputs, out, elements);
    program.check(move |outcome| check::<T>(outcome, out, order));
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
            let mut grabbed = T::default();
            for first in (first..len.min(first + GRAB)).step_by(BLOCK) {
                grabbed = grabbed + self.block(first, len.min(first + BLOCK));
            }
            partial = partial + grabbed;
        }
        rounds[turn].total.add(partial);
    }
}

fn check<T: Real>(outcome: &Outcome, out: usize, order: Order) -> Checked {
    let a = outcome.get::<T>(0);
    let b = (out == 2).then(|| outcome.get::<T>(1));
    let factor = |i: usize| b.map_or(1.0, |b| b[i].into());
    let (exact, condition) = reduce::reference(a.len(), |i| (a[i].into(), factor(i)));
    let found: f64 = outcome.get::<T>(out)[0].into();
    let error = check::worst(1, |_| check::relative(found, exact, condition));
    Checked {
        error,
        tolerance: tolerance::<T>(order, a.len(), b.is_some()),
        detail: "|sum - exact| / sum of magnitudes; bound: the smaller of gamma_h and 10 sqrt(h) u, h roundings on the longest path"
            .into(),
    }
}

/// How far a sum of `n` elements, or of products, may be off: what is likely of its longest path, which of the fixed orders is the worst case.
fn tolerance<T: Real>(order: Order, n: usize, are_products: bool) -> f64 {
    // A product rounds once more.
    let roundings = u64::from(are_products) + order.height::<T>(n);
    likely_gamma(roundings, T::UNIT_ROUNDOFF) + gamma(2, f64::UNIT_ROUNDOFF)
}

/// Additions on the longest path through the free sum: one thread might take everything, and others nothing.
fn free_height(len: usize) -> u64 {
    const MOST_THREADS: usize = 1024;
    let grabs = len.div_ceil(GRAB);
    let of_grab = reduce::block_height(len) + (GRAB / BLOCK) as u64;
    of_grab + (grabs + grabs.min(MOST_THREADS)) as u64
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{GRAB, Order, check, cuda, reduce};
    use crate::buffer::Buffers;
    use crate::device::Team;
    use crate::element::DType;
    use crate::fill;
    use crate::program::{BufferSpec, Fill, Outcome, Role};

    /// Elements of the largest sum of the suites.
    const OF_SUITES: usize = 1 << 27;

    fn buffers(elements: usize) -> Buffers {
        let spec = |name: &'static str, len, role, fill| BufferSpec {
            name: name.into(),
            dtype: DType::F32,
            len,
            role,
            fill,
        };
        let specs = [
            spec("a", elements, Role::Input, Fill::Unit { stream: 0 }),
            spec("sum", 1, Role::Output, Fill::Zero),
        ];
        fill::buffers(&Team::new(2).unwrap(), &specs, 1).unwrap()
    }

    /// What one thread grabs, or one block of a CUDA device adds up, is seen when it is missing.
    #[test]
    fn a_block_left_out_fails_at_the_size_of_the_suites() {
        let mut buffers = buffers(OF_SUITES);
        let a = buffers.get::<f32>(0);
        let (exact, _) = reduce::reference(a.len(), |i| (a[i].into(), 1.0));
        for (order, block) in [
            (Order::Free, GRAB),
            (Order::Atomic, cuda::run_of::<f32>()),
            (Order::Runs, cuda::run_of::<f32>()),
            (Order::Blocks, reduce::BLOCK),
        ] {
            let (left_out, _) =
                reduce::reference(block, |i| (buffers.get::<f32>(0)[i].into(), 1.0));
            for (sum, is_right) in [(exact, true), (exact - left_out, false)] {
                buffers.0[1].get_mut::<f32>()[0] = sum as f32;
                let checked = check::<f32>(
                    &Outcome {
                        buffers: &buffers,
                        initial: &BTreeMap::new(),
                        iterations: 1,
                    },
                    1,
                    order,
                );
                let passed = checked.error <= checked.tolerance;
                assert_eq!(passed, is_right, "{order:?}: {checked:?}");
            }
        }
    }
}
