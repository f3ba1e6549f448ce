//! Products of a matrix and a few vectors by the processor's own vectors, whose sums stay in registers.
//!
//! Left to itself the compiler stores a sum after each product, or gathers sums from several vectors. Products are fused, and added in
//! the order of the loops in [`super::few`] and [`super::columns`], so the bits are theirs.
#![allow(unsafe_code)] // vector instructions that take addresses, chosen at run time

/// Rows that are multiplied together.
pub const ROWS: usize = crate::rows::ROWS;
/// Elements of a row that are multiplied at a time, down columns.
const LANES: usize = 32;

/// What a processor can do that has vectors for it: one of these is made only where it has.
#[derive(Clone, Copy)]
pub struct Few<S> {
    along_rows: unsafe fn(*mut S, [*const S; ROWS], *const S, [usize; 2]),
    down_columns: unsafe fn(*mut S, [*const S; ROWS], *const S, Columns),
}

/// Columns of some rows.
#[derive(Clone, Copy)]
struct Columns {
    /// Vectors: 4, 8 or 16.
    width: usize,
    /// From a sum to that of the next vector.
    pitch: usize,
    /// Columns, a multiple of [`LANES`].
    len: usize,
    /// What lies so many elements behind those of the rows is fetched.
    ahead: usize,
}

impl<S> Few<S> {
    /// Adds to the sums of [`ROWS`] rows, by row and then by vector, the sum of the products of a line's elements and the factors of
    /// their places, by place and then by vector. There are 8 or 16 vectors.
    ///
    /// # Panics
    /// If a line has fewer elements than there are places, or if there are other vectors.
    pub fn add_products(self, sums: &mut [S], lines: &[&[S]; ROWS], factors: &[S]) {
        let width = sums.len() / ROWS;
        assert!(
            [8, 16].contains(&width),
            "vectors that there is a function for"
        );
        let len = factors.len() / width;
        let addresses = lines.map(|line| line[..len].as_ptr());
        // SAFETY: so many elements of each; the processor has what it needs.
        unsafe { (self.along_rows)(sums.as_mut_ptr(), addresses, factors.as_ptr(), [width, len]) }
    }

    /// Adds elements of lines, times factors by vector and then by row, to sums of `width` vectors that lie `pitch` apart; says how
    /// many of each line: whole lanes. What lies `ahead` elements behind them is fetched.
    ///
    /// # Panics
    /// If a line is shorter than the first, or if there are fewer sums or factors, or other vectors.
    pub fn add_lines(
        self,
        sums: &mut [S],
        lines: &[&[S]; ROWS],
        factors: &[S],
        [width, pitch, ahead]: [usize; 3],
    ) -> usize {
        let len = lines[0].len() / LANES * LANES;
        assert!(
            [4, 8, 16].contains(&width),
            "vectors that there is a function for"
        );
        let addresses = lines.map(|line| line[..len].as_ptr());
        let (sums, factors) = (
            &mut sums[..(width - 1) * pitch + len],
            &factors[..width * ROWS],
        );
        let columns = Columns {
            width,
            pitch,
            len,
            ahead,
        };
        // SAFETY: so many elements of each; the processor has what it needs.
        unsafe { (self.down_columns)(sums.as_mut_ptr(), addresses, factors.as_ptr(), columns) };
        len
    }
}

impl Few<f32> {
    /// Where the processor has vectors for it.
    pub fn new() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if crate::simd::has_avx512() {
            return Some(Self {
                along_rows: x86::along_rows,
                down_columns: x86::down_columns,
            });
        }
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _MM_HINT_T1, _mm_prefetch, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps,
        _mm256_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps,
        _mm512_storeu_ps,
    };

    use super::{Columns, LANES, ROWS};
    use crate::store::LINE;

    /// Elements of a vector.
    const LANE: usize = 16;
    const VECTORS: usize = LANES / LANE;

    /// As [`super::Few::add_products`], of `width` vectors and `len` places.
    ///
    /// # Safety
    /// So many elements are there, and the processor has AVX-512.
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub unsafe fn along_rows(
        sums: *mut f32,
        lines: [*const f32; ROWS],
        factors: *const f32,
        [width, len]: [usize; 2],
    ) {
        // SAFETY: as above.
        unsafe {
            if width == LANE {
                of_16(sums, lines, factors, len);
            } else {
                of_8(sums, lines, factors, len);
            }
        }
    }

    macro_rules! along_rows {
        ($name:ident, $width:literal, $features:literal, $set:path, $load:path, $store:path, $add:path, $multiply:path) => {
            /// # Safety
            /// So many elements are there, and the processor has the features.
            #[target_feature(enable = $features)]
            unsafe fn $name(
                sums: *mut f32,
                lines: [*const f32; ROWS],
                factors: *const f32,
                len: usize,
            ) {
                let mut added = [$set(0.0); ROWS];
                // SAFETY: a vector of factors, and an element, of each place; a vector of sums of each row.
                unsafe {
                    for place in 0..len {
                        let factors = $load(factors.add(place * $width));
                        for (added, line) in added.iter_mut().zip(&lines) {
                            *added = $multiply($set(*line.add(place)), factors, *added);
                        }
                    }
                    for (row, added) in added.iter().enumerate() {
                        let sum = sums.add(row * $width);
                        $store(sum, $add($load(sum), *added));
                    }
                }
            }
        };
    }
    along_rows!(
        of_16,
        16,
        "avx512f",
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_fmadd_ps
    );
    along_rows!(
        of_8,
        8,
        "avx2,fma",
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_fmadd_ps
    );

    /// As [`super::Few::add_lines`].
    ///
    /// # Safety
    /// So many elements are there, and the processor has AVX-512.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn down_columns(
        sums: *mut f32,
        lines: [*const f32; ROWS],
        factors: *const f32,
        columns: Columns,
    ) {
        // SAFETY: as above.
        unsafe {
            if columns.width == 4 {
                by_groups::<4>(sums, lines, factors, columns);
            } else {
                by_groups::<8>(sums, lines, factors, columns);
            }
        }
    }

    /// Some vectors at a time.
    ///
    /// # Safety
    /// As above; there is a whole number of groups.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn by_groups<const GROUP: usize>(
        sums: *mut f32,
        lines: [*const f32; ROWS],
        factors: *const f32,
        columns: Columns,
    ) {
        for first in (0..columns.len).step_by(LANES) {
            for line in lines {
                let next = line.wrapping_add(columns.ahead + first);
                for place in (0..LANES).step_by(LINE / size_of::<f32>()) {
                    _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(place).cast());
                }
            }
            for group in (0..columns.width).step_by(GROUP) {
                // SAFETY: lanes of each row, a factor of each row and vector, and lanes of the sums of each vector; what is fetched may
                // be anywhere.
                unsafe {
                    let factors = factors.add(group * ROWS);
                    let place = |vector: usize| (group + vector) * columns.pitch + first;
                    let mut added = [[_mm512_set1_ps(0.0); VECTORS]; GROUP];
                    for (vector, added) in added.iter_mut().enumerate() {
                        for (lane, added) in added.iter_mut().enumerate() {
                            *added = _mm512_loadu_ps(sums.add(place(vector) + lane * LANE));
                        }
                    }
                    for (row, line) in lines.iter().enumerate() {
                        let mut x = [_mm512_set1_ps(0.0); VECTORS];
                        for (lane, x) in x.iter_mut().enumerate() {
                            *x = _mm512_loadu_ps(line.add(first + lane * LANE));
                        }
                        for (vector, added) in added.iter_mut().enumerate() {
                            let factor = _mm512_set1_ps(*factors.add(vector * ROWS + row));
                            for (added, x) in added.iter_mut().zip(&x) {
                                *added = _mm512_fmadd_ps(*x, factor, *added);
                            }
                        }
                    }
                    for (vector, added) in added.iter().enumerate() {
                        for (lane, added) in added.iter().enumerate() {
                            _mm512_storeu_ps(sums.add(place(vector) + lane * LANE), *added);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Few, LANES, ROWS};
    use crate::ops::gemv::host::few;

    fn numbers(stream: u64, len: usize) -> Vec<f32> {
        let random = assay_protocol::Philox::new(3, stream);
        (0..len as u64).map(|i| random.signed_f32(i)).collect()
    }

    fn lines(all: &[f32], len: usize) -> [&[f32]; ROWS] {
        std::array::from_fn(|row| &all[row * len..][..len])
    }

    fn bits(all: &[f32]) -> Vec<u32> {
        all.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn along_rows_bits_are_those_of_the_loop() {
        let Some(function) = Few::<f32>::new() else {
            return;
        };
        for width in [8, 16] {
            for len in [0, 1, 37, few::near(width)] {
                let (all, factors) = (numbers(1, ROWS * len), numbers(2, len * width));
                let mut sums = [numbers(3, ROWS * width), numbers(3, ROWS * width)];
                function.add_products(&mut sums[0], &lines(&all, len), &factors);
                few::add_products(&mut sums[1], &lines(&all, len), &factors);
                assert_eq!(bits(&sums[0]), bits(&sums[1]), "{width} {len}");
            }
        }
    }

    /// One product after the other, of as many as it says, and none of the sums beside them.
    #[test]
    fn down_columns_bits_are_those_of_one_product_after_the_other() {
        let Some(function) = Few::<f32>::new() else {
            return;
        };
        for (width, len) in [4, 8, 16]
            .into_iter()
            .flat_map(|w| [(w, 31), (w, 32), (w, 101)])
        {
            let pitch = len + 3;
            let (all, factors) = (numbers(1, ROWS * len), numbers(2, ROWS * width));
            let mut sums = numbers(3, width * pitch);
            let mut expected = sums.clone();
            let done =
                function.add_lines(&mut sums, &lines(&all, len), &factors, [width, pitch, 64]);
            assert_eq!(done, len / LANES * LANES);
            for (vector, expected) in expected.chunks_mut(pitch).enumerate() {
                for (column, sum) in expected[..done].iter_mut().enumerate() {
                    for (row, line) in lines(&all, len).iter().enumerate() {
                        *sum = line[column].mul_add(factors[vector * ROWS + row], *sum);
                    }
                }
            }
            assert_eq!(bits(&sums), bits(&expected), "{width} {len}");
        }
    }
}
