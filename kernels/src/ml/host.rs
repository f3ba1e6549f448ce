//! How the host goes over activations: some lines of cache at a time, from memory through registers to memory, so that reading,
//! arithmetic and writing go on together. Results that were put down in between, and sent off a run at a time, took a quarter
//! longer.

use std::ops::Range;

use crate::buffer::{Buffer, Buffers};
use crate::device::{Team, chunk};
use crate::lane::{Lane, WIDTH};
use crate::program::Program;
use crate::simd::wide;
use crate::store::{self, Around};

/// Elements of a run: parts of threads are whole ones.
pub const BLOCK: usize = 128;
/// Lines of which some kernels find out something together.
pub const ABREAST: usize = 4;

/// What is made of the elements at the same places of `N` inputs: those at the same places of `M` outputs.
///
/// Implemented by hand where a place counts, else by [`Each`]. Both are inlined into functions of [`wide!`](crate::simd), whose
/// features they take on.
pub trait Kernel<const N: usize, const M: usize>: Sync {
    /// Whether [`Self::kept`] says anything.
    const KEEPS_SOME: bool = false;

    /// Of [`WIDTH`] elements, of which the first has the number `first`. Behind the last one inputs are 0, and outputs not used.
    fn lanes(&self, first: usize, inputs: [[f32; WIDTH]; N]) -> [[f32; WIDTH]; M];

    /// Which elements of lines from number `first` on are kept, a bit for each, where a kernel can tell of several lines before it has
    /// seen them.
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn kept(&self, _first: usize) -> Option<[u32; ABREAST]> {
        None
    }

    /// As [`Self::lanes`], where it is known which elements are kept.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn lanes_kept(&self, first: usize, _kept: u32, inputs: [[f32; WIDTH]; N]) -> [[f32; WIDTH]; M] {
        self.lanes(first, inputs)
    }
}

/// What is made of elements at one place, wherever that is.
pub trait Pointwise<const N: usize, const M: usize>: Sync {
    /// Of one.
    fn at(&self, inputs: [f32; N]) -> [f32; M];
}

/// Implements [`Pointwise`]: of a kernel, as it is called within, and its inputs.
macro_rules! pointwise {
    ($kernel:ty, |$this:pat_param, $inputs:pat_param, $n:literal => $m:literal| $body:expr) => {
        impl $crate::ml::host::Pointwise<$n, $m> for $kernel {
            #[inline(always)]
            #[allow(clippy::inline_always)] // takes on the features of its caller
            fn at(&self, $inputs: [f32; $n]) -> [f32; $m] {
                let $this = self;
                $body
            }
        }
    };
}
pub(crate) use pointwise;

/// A [`Pointwise`] as a [`Kernel`].
#[derive(Clone, Copy)]
pub struct Each<K>(pub K);

impl<K: Pointwise<N, M>, const N: usize, const M: usize> Kernel<N, M> for Each<K> {
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn lanes(&self, _: usize, inputs: [[f32; WIDTH]; N]) -> [[f32; WIDTH]; M] {
        let mut outputs = [[0.0; WIDTH]; M];
        for lane in 0..WIDTH {
            let mut of_one = [0.0; N];
            for (x, input) in of_one.iter_mut().zip(&inputs) {
                *x = input[lane];
            }
            let values = self.0.at(of_one);
            for (output, value) in outputs.iter_mut().zip(values) {
                output[lane] = value;
            }
        }
        outputs
    }
}

/// Results of a part of a buffer, rounded to its type: written around the caches where they are too large for them.
pub struct Sink<'a, T: Lane>(Target<'a, T>);

enum Target<'a, T> {
    Cached(&'a mut [T]),
    Around(Around<'a, T>),
}

impl<'a, T: Lane> Sink<'a, T> {
    /// For a part of a buffer of a brick that moves `traffic` bytes altogether.
    pub fn new(out: &'a mut [T], traffic: usize) -> Self {
        Self(if store::goes_around(traffic as u64) {
            Target::Around(Around::new(out))
        } else {
            Target::Cached(out)
        })
    }

    /// Elements from `first` of the part on to where a cache line begins, if results go around the caches.
    fn to_line(&self, first: usize) -> usize {
        match &self.0 {
            Target::Cached(_) => 0,
            Target::Around(out) => out.to_line(first),
        }
    }

    /// Lines from element `first` of the part on, which begins a line of cache if results go around the caches.
    fn lines(&mut self, first: usize, count: usize) -> &mut [[T; WIDTH]] {
        // Of none, none needs to begin anywhere.
        if count == 0 {
            return &mut [];
        }
        let lines = match &mut self.0 {
            Target::Cached(out) => &mut out[first..][..count * WIDTH],
            Target::Around(out) => out.lines(first, count * WIDTH),
        };
        lines.as_chunks_mut().0
    }

    /// Stores the first `count` of some values, anywhere.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn put_some(&mut self, first: usize, values: &[f32; WIDTH], count: usize) {
        let line = T::narrow_line(values);
        match &mut self.0 {
            Target::Cached(out) => out[first..][..count].copy_from_slice(&line[..count]),
            Target::Around(out) => out.send(first, &line[..count]),
        }
    }

    /// Makes the elements from `first` of the part on of those of `inputs`, which the kernel numbers from 0 on; what lies at the
    /// same places `ahead` is fetched meanwhile.
    pub fn row<I: Lane, K: Kernel<N, 1>, const N: usize, const A: usize>(
        &mut self,
        first: usize,
        kernel: &K,
        inputs: [&[I]; N],
        ahead: [&[T]; A],
    ) {
        fill::<I, T, T, K, N, 1, A>(kernel, 0, inputs, [self], first, ahead);
    }

    /// As [`Self::row`]; what is fetched are inputs.
    pub fn row_of<I: Lane, K: Kernel<N, 1>, const N: usize, const A: usize>(
        &mut self,
        first: usize,
        kernel: &K,
        inputs: [&[I]; N],
        ahead: [&[I]; A],
    ) {
        fill::<I, T, I, K, N, 1, A>(kernel, 0, inputs, [self], first, ahead);
    }
}

wide! {
    /// Makes elements of sinks, from `place` on in each, of `inputs`, of which the first has the number `number`. Sinks begin at
    /// the same place of a cache line. What lies at the same places `ahead` is fetched.
    fn fill<I: Lane, O: Lane, F: Lane, K: Kernel<N, M>; N, M, A>(
        kernel: &K,
        number: usize,
        inputs: [&[I]; N],
        sinks: [&mut Sink<O>; M],
        place: usize,
        ahead: [&[F]; A],
    ) {
        let mut sinks = sinks;
        let len = inputs[0].len();
        let head = sinks[0].to_line(place).min(len);
        let whole = head + (len - head) / WIDTH * WIDTH;
        for range in [0..head, whole..len] {
            if range.is_empty() {
                continue;
            }
            let values = kernel.lanes(number + range.start, some_lines(&inputs, range.clone()));
            for (sink, values) in sinks.iter_mut().zip(&values) {
                sink.put_some(place + range.start, values, range.len());
            }
        }
        // Cut to one length, so that places are looked at once.
        let count = (whole - head) / WIDTH;
        let of_inputs = inputs.map(|input| &input[head..].as_chunks::<WIDTH>().0[..count]);
        let ahead = ahead.map(|next| &next[head..].as_chunks::<WIDTH>().0[..count]);
        let is_around = matches!(sinks[0].0, Target::Around(_));
        let mut outputs = sinks.map(|sink| &mut sink.lines(place + head, count)[..count]);
        let first = number + head;
        let mut index = 0;
        while K::KEEPS_SOME && index + ABREAST <= count {
            let Some(kept) = kernel.kept(first + index * WIDTH) else {
                break;
            };
            for (index, kept) in (index..).zip(kept) {
                let wide = line_of(&of_inputs, index, &ahead);
                let values = kernel.lanes_kept(first + index * WIDTH, kept, wide);
                put_line(&mut outputs, index, &values, is_around);
            }
            index += ABREAST;
        }
        for index in index..count {
            let wide = line_of(&of_inputs, index, &ahead);
            let values = kernel.lanes(first + index * WIDTH, wide);
            put_line(&mut outputs, index, &values, is_around);
        }
    }
}

/// A line of each input; what lies at the same place `ahead` is fetched.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn line_of<I: Lane, F: Lane, const N: usize, const A: usize>(
    inputs: &[&[[I; WIDTH]]; N],
    index: usize,
    ahead: &[&[[F; WIDTH]]; A],
) -> [[f32; WIDTH]; N] {
    for next in ahead {
        fetch(&next[index]);
    }
    let mut wide = [[0.0; WIDTH]; N];
    for (wide, input) in wide.iter_mut().zip(inputs) {
        *wide = I::widen_line(&input[index]);
    }
    wide
}

/// Stores a line of each output.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
fn put_line<O: Lane, const M: usize>(
    outputs: &mut [&mut [[O; WIDTH]]; M],
    index: usize,
    values: &[[f32; WIDTH]; M],
    is_around: bool,
) {
    for (output, values) in outputs.iter_mut().zip(values) {
        let line = O::narrow_line(values);
        if is_around {
            store::put_lines(&mut output[index], &line);
        } else {
            output[index] = line;
        }
    }
}

/// Less than a line of each input, and zeros.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
fn some_lines<T: Lane, const N: usize>(
    inputs: &[&[T]; N],
    range: Range<usize>,
) -> [[f32; WIDTH]; N] {
    let mut wide = [[0.0; WIDTH]; N];
    for (wide, input) in wide.iter_mut().zip(inputs) {
        for (wide, x) in wide.iter_mut().zip(&input[range.clone()]) {
            *wide = x.widen();
        }
    }
    wide
}

/// Asks for numbers that will be read soon.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub fn fetch<T>(numbers: &[T]) {
    for line in numbers.chunks(store::LINE / size_of::<T>()) {
        store::fetch(&line[0]);
    }
}

/// Each row of a matrix, and the one that comes after it: of the last one, itself.
pub fn rows_ahead<T>(matrix: &[T], cols: usize) -> impl Iterator<Item = [&[T]; 2]> {
    let after = matrix.chunks_exact(cols).skip(1);
    let after = after.chain(matrix.chunks_exact(cols).last());
    matrix
        .chunks_exact(cols)
        .zip(after)
        .map(|(row, next)| [row, next])
}

/// Adds a step of the host to a program: `outputs` as a kernel makes them of `inputs`, all of one type and length.
pub fn elementwise<T: Lane, const N: usize, const M: usize>(
    program: &mut Program,
    inputs: [usize; N],
    outputs: [usize; M],
    kernel: impl Kernel<N, M> + 'static,
) {
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        compute::<T, N, M>(team, all, inputs, outputs, &kernel);
    });
}

/// Makes `outputs` of the elements at the same places of `inputs`. The kernel's numbers are those of the elements, and multiples of
/// [`WIDTH`].
///
/// # Panics
/// If there is no buffer of some number, or if one is named twice.
pub fn compute<T: Lane, const N: usize, const M: usize>(
    team: &Team,
    all: &mut Buffers,
    inputs: [usize; N],
    outputs: [usize; M],
    kernel: &impl Kernel<N, M>,
) {
    let mut buffers = all.several(&[&inputs[..], &outputs].concat()).into_iter();
    let mut next = || buffers.next().expect("a buffer of each number");
    let inputs = inputs.map(|_| Buffer::get::<T>(next()));
    let mut outputs = outputs.map(|_| next().get_mut::<T>());
    let len = outputs[0].len();
    let traffic = (N + M) * len * size_of::<T>();
    let mut outputs = outputs
        .each_mut()
        .map(|output| team.split_mut(output, BLOCK).into_iter());
    let parts = (0..team.threads()).map(|index| {
        let place = chunk(len, BLOCK, team.threads(), index);
        let outputs = outputs
            .each_mut()
            .map(|parts| parts.next().unwrap_or_default());
        (place, outputs)
    });
    team.each(parts.collect(), |(place, outputs)| {
        let mut sinks = outputs.each_mut().map(|out| Sink::new(out, traffic));
        let inputs = inputs.map(|input| &input[place.clone()]);
        fill::<T, T, T, _, N, M, 0>(kernel, place.start, inputs, sinks.each_mut(), 0, []);
    });
}

#[cfg(test)]
mod tests {
    use super::{Each, Kernel, Pointwise, Sink, Target, WIDTH, fill};
    use crate::store::Around;

    struct Sum;

    impl Pointwise<2, 1> for Sum {
        fn at(&self, [a, b]: [f32; 2]) -> [f32; 1] {
            [a + b]
        }
    }

    struct Number;

    impl Kernel<1, 1> for Number {
        fn lanes(&self, first: usize, [x]: [[f32; WIDTH]; 1]) -> [[f32; WIDTH]; 1] {
            let mut out = x;
            for (out, number) in out.iter_mut().zip(first..) {
                *out += number as f32;
            }
            [out]
        }
    }

    /// Elements that begin with a cache line.
    #[repr(align(64))]
    struct Lines([f32; 300]);

    fn sink(out: &mut [f32], around: bool) -> Sink<'_, f32> {
        Sink(if around {
            Target::Around(Around::new(out))
        } else {
            Target::Cached(out)
        })
    }

    /// Around the caches and through them, from any place, of any length.
    #[test]
    fn every_element_is_made_once_and_none_beside_them() {
        let x: Vec<f32> = (0..300_u16).map(f32::from).collect();
        for (place, len) in [
            (0, 0),
            (0, 300),
            (3, 5),
            (3, 290),
            (15, 33),
            (16, 64),
            (31, 1),
        ] {
            for around in [false, true] {
                let mut out = Lines([-1.0; 300]);
                let (a, b) = (&x[..len], &x[300 - len..]);
                sink(&mut out.0, around).row(place, &Each(Sum), [a, b], [a; 1]);
                for (i, found) in out.0.iter().enumerate() {
                    let is_made = (place..place + len).contains(&i);
                    let exact = if is_made {
                        (300 - len + 2 * (i - place)) as f32
                    } else {
                        -1.0
                    };
                    assert_eq!(
                        found.to_bits(),
                        exact.to_bits(),
                        "{place} {len} {around} {i}"
                    );
                }
                let mut out = Lines([-1.0; 300]);
                let mut to = sink(&mut out.0, around);
                fill::<f32, f32, f32, _, 1, 1, 0>(&Number, 7, [a], [&mut to], place, []);
                drop(to);
                let right = |i: usize| (out.0[place + i] - (2 * i + 7) as f32).abs() < 1e-3;
                assert!((0..len).all(right), "{place} {len} {around}");
            }
        }
    }
}
