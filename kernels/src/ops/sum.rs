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

use assay_protocol::{
    CaseSpec, Failure, Measured, Prepared, Verification, Work, Workload, WorkloadInfo,
};

use super::reduce::{self, BLOCK, block_dot, block_sum};
use super::{Op, OpCase};
use crate::bound::tolerance;
use crate::buffer::Buffer;
use crate::check;
use crate::device::{Device, Member, Team, memory};
use crate::element::{Element, digest};
use crate::parameters;

/// Elements that a thread of the free sum takes at a time.
const GRAB: usize = 4 * BLOCK;

/// A reduction to one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// `sum(a)`
    Sum,
    /// `sum(a b)`
    Dot,
}

impl Op for Reduction {
    fn info(&self) -> WorkloadInfo {
        let elements = parameters::integer("elements");
        let dtype = parameters::choice("dtype", &["f32", "f64"]);
        let variant = parameters::choice("variant", &["tree", "free"]);
        match self {
            Self::Sum => {
                let summary = "sum of all elements, in a fixed (tree) or a free order";
                super::info("sum", summary, [elements, dtype, variant])
            }
            Self::Dot => super::info("stream-dot", "STREAM dot: sum += a b", [elements, dtype]),
        }
    }

    fn prepare(&self, device: Device, case: &CaseSpec) -> Result<Box<dyn OpCase>, Failure> {
        let Device::Cpu(team) = device;
        match parameters::text(case, "dtype")? {
            "f32" => self.prepare_typed::<f32>(team, case),
            "f64" => self.prepare_typed::<f64>(team, case),
            _ => Err(parameters::wrong(
                "dtype",
                "f32 or f64",
                case.params.get("dtype"),
            )),
        }
    }
}

impl Reduction {
    fn prepare_typed<T: Element>(
        self,
        team: Team,
        case: &CaseSpec,
    ) -> Result<Box<dyn OpCase>, Failure> {
        let elements = parameters::count(case, "elements")?;
        let free = self == Self::Sum && is_free(case)?;
        let names: &[&str] = if self == Self::Sum {
            &["a"]
        } else {
            &["a", "b"]
        };
        let work = work::<T>(names.len() as u64, elements as u64)?;
        memory::ensure_fits(work.bytes.unwrap_or(0))?;
        let half = T::from_f64(0.5);
        let inputs = (0..names.len() as u64)
            .map(|stream| {
                Buffer::<T>::random(&team, elements, case.seed.0, stream, |x| x * half + half)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let digests = names.iter().zip(&inputs);
        let prepared = Prepared {
            work,
            inputs: digests
                .map(|(name, input)| ((*name).into(), digest(input)))
                .collect(),
            deterministic: !free,
            ..Prepared::default()
        };
        let result = T::POISON;
        Ok(Box::new(Case {
            free,
            prepared,
            team,
            inputs,
            result,
        }))
    }
}

fn is_free(case: &CaseSpec) -> Result<bool, Failure> {
    match parameters::text(case, "variant")? {
        "tree" => Ok(false),
        "free" => Ok(true),
        _ => Err(parameters::wrong(
            "variant",
            "tree or free",
            case.params.get("variant"),
        )),
    }
}

fn work<T: Element>(arrays: u64, elements: u64) -> Result<Work, Failure> {
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

struct Case<T: Element> {
    free: bool,
    prepared: Prepared,
    team: Team,
    /// One to sum, or two to multiply and sum.
    inputs: Vec<Buffer<T>>,
    result: T,
}

impl<T: Element> Case<T> {
    /// Sum over the elements `first..end`, a block.
    fn block(&self, first: usize, end: usize) -> T {
        match self.inputs.as_slice() {
            [a] => block_sum(&a[first..end]),
            [a, b, ..] => block_dot(&a[first..end], &b[first..end]),
            [] => T::POISON,
        }
    }

    fn run_tree(&self, iterations: u64) -> (u64, T) {
        let len = self.inputs[0].len();
        let blocks = len.div_ceil(BLOCK);
        let partials: Vec<_> = (0..blocks).map(|_| Shared::new(T::POISON)).collect();
        let result = Shared::new(T::POISON);
        let threads = self.team.threads();
        let shares = (0..threads).map(|i| blocks * i / threads..blocks * (i + 1) / threads);
        let host_ns = self
            .team
            .time(iterations, shares.collect(), |member, share| {
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

    fn run_free(&self, iterations: u64) -> (u64, T) {
        let rounds = [Round::new(), Round::new()];
        let members = vec![(); self.team.threads()];
        let host_ns = self.team.time(iterations, members, |member, ()| {
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
        let len = self.inputs[0].len();
        while let Some(first) = rounds[turn].grab(len) {
            for first in (first..len.min(first + GRAB)).step_by(BLOCK) {
                partial = partial + self.block(first, len.min(first + BLOCK));
            }
        }
        rounds[turn].total.add(partial);
    }
}

impl<T: Element> OpCase for Case<T> {
    #[cfg(test)]
    fn corrupt(&mut self, index: usize) {
        super::corrupt(std::slice::from_mut(&mut self.result), index);
    }
}

impl<T: Element> Workload for Case<T> {
    fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    fn run(&mut self, iterations: u64) -> Result<Measured, Failure> {
        let (host_ns, result) = if self.free {
            self.run_free(iterations)
        } else {
            self.run_tree(iterations)
        };
        self.result = result;
        Ok(Measured {
            host_ns: Some(host_ns),
            ..Measured::default()
        })
    }

    fn verify(&mut self) -> Result<Verification, Failure> {
        let a = &self.inputs[0];
        let factor = |i: usize| self.inputs.get(1).map_or(1.0, |b| b[i].into());
        let (exact, condition) = reduce::reference(a.len(), |i| (a[i].into(), factor(i)));
        let error = check::worst(1, |_| check::relative(self.result.into(), exact, condition));
        // A product rounds once more.
        let products = self.inputs.len() as u64 - 1;
        let roundings = products
            + if self.free {
                self.free_height()
            } else {
                reduce::height(a.len())
            };
        let detail =
            "|sum - exact| / sum of magnitudes; bound gamma_h, h roundings on the longest path";
        Ok(check::judge(
            &[self.result],
            error,
            tolerance::<T>(roundings, 2),
            detail,
        ))
    }
}

impl<T: Element> Case<T> {
    /// Additions on the longest path through the free sum: one thread might take all blocks.
    fn free_height(&self) -> u64 {
        let len = self.inputs[0].len();
        let blocks = len.div_ceil(BLOCK);
        reduce::block_height(len) + (blocks + self.team.threads()) as u64
    }
}

/// A number that threads share. Ordering comes from the team's barriers, not from here.
struct Shared<T>(AtomicU64, PhantomData<T>);

impl<T: Element> Shared<T> {
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

impl<T: Element> Round<T> {
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
