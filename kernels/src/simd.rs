//! Runtime choice of vector instructions.
//!
//! Binaries are built for the baseline of their architecture and must still run inner loops as wide
//! as the machine allows. [`wide!`] compiles one generic body several times, once per instruction
//! set, and picks when called; the body itself stays plain Rust that the compiler vectorises.
//! Floating-point operations are neither reordered nor fused by this, so every version gives the
//! same bits.

#[cfg(target_arch = "x86_64")]
use std::sync::atomic::{AtomicU8, Ordering};

/// Defines functions whose bodies are compiled for each instruction set and chosen when called.
///
/// Types are generic with one bound each, and behind a semicolon sizes. A condition in brackets between signature and body asks
/// for vectors of at most 256 bits where it holds.
macro_rules! wide {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($t:ident: $bound:path),* $(; $($n:ident),+)?>)? (
        $($arg:ident: $ty:ty),* $(,)?
    ) $(-> $ret:ty)? $([$narrow:expr])? $body:block)+) => {$(
        $(#[$meta])*
        #[inline]
        #[allow(unsafe_code, clippy::inline_always)]
        $vis fn $name $(<$($t: $bound,)* $($(const $n: usize),+)?>)? ($($arg: $ty),*) $(-> $ret)? {
            // Inlined, so that it takes on the features of each caller.
            #[inline(always)]
            fn body $(<$($t: $bound,)* $($(const $n: usize),+)?>)? ($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512 $(<$($t: $bound,)* $($(const $n: usize),+)?>)? ($($arg: $ty),*) $(-> $ret)? {
                    body$(::<$($t,)* $($($n),+)?>)?($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2 $(<$($t: $bound,)* $($(const $n: usize),+)?>)? ($($arg: $ty),*) $(-> $ret)? {
                    body$(::<$($t,)* $($($n),+)?>)?($($arg),*)
                }
                if $crate::simd::has_avx512() $(&& !$narrow)? {
                    // SAFETY: the processor has every feature that the function enables.
                    return unsafe { avx512$(::<$($t,)* $($($n),+)?>)?($($arg),*) };
                }
                if $crate::simd::has_avx2() {
                    // SAFETY: the processor has every feature that the function enables.
                    return unsafe { avx2$(::<$($t,)* $($($n),+)?>)?($($arg),*) };
                }
            }
            body$(::<$($t,)* $($($n),+)?>)?($($arg),*)
        }
    )+};
}
pub(crate) use wide;

/// The sum of a power of two of lanes, in pairs: one after the other, each addition would wait for the one before.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
pub fn in_pairs<const LANES: usize>(lanes: &[f32; LANES]) -> f32 {
    let mut lanes = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Whether the `avx512` versions may run.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn has_avx512() -> bool {
    level() >= AVX512
}

/// Whether there is an instruction that rounds to bf16, too.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn has_avx512_bf16() -> bool {
    level() == AVX512_BF16
}

/// Whether the `avx2` versions may run.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn has_avx2() -> bool {
    level() >= AVX2
}

#[cfg(target_arch = "x86_64")]
const BASELINE: u8 = 1;
#[cfg(target_arch = "x86_64")]
const AVX2: u8 = 2;
#[cfg(target_arch = "x86_64")]
const AVX512: u8 = 3;
#[cfg(target_arch = "x86_64")]
const AVX512_BF16: u8 = 4;

/// What the processor has, asked once: functions of a few nanoseconds are chosen by it.
#[cfg(target_arch = "x86_64")]
#[inline]
fn level() -> u8 {
    static LEVEL: AtomicU8 = AtomicU8::new(0);
    match LEVEL.load(Ordering::Relaxed) {
        0 => {
            let level = detect();
            LEVEL.store(level, Ordering::Relaxed);
            level
        }
        level => level,
    }
}

#[cfg(target_arch = "x86_64")]
#[cold]
fn detect() -> u8 {
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let has_avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw");
    match (has_avx2, has_avx512) {
        (true, true) if is_x86_feature_detected!("avx512bf16") => AVX512_BF16,
        (true, true) => AVX512,
        (true, false) => AVX2,
        _ => BASELINE,
    }
}

/// Name of the instruction set that inner loops use on this machine.
pub fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            return "avx512";
        }
        if has_avx2() {
            return "avx2";
        }
    }
    "baseline"
}
