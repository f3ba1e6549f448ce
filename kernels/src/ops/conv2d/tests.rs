//! Every implementation of the host, and the reference, against the definition written out.

use std::collections::BTreeMap;

use assay_protocol::{CaseSpec, DeviceKind, DeviceSelector, Failure, ParamValue, TimingMode};
use proptest::prelude::*;

use super::Conv2d;
use crate::device::Team;
use crate::ops::Op;
use crate::parameters::Arguments;
use crate::program::Program;

const NAMES: [&str; 8] = [
    "batch", "channels", "filters", "height", "width", "kernel", "stride", "padding",
];

fn case(sizes: [i64; 8], variant: &str) -> CaseSpec {
    let sizes = NAMES.into_iter().zip(sizes.map(ParamValue::Int));
    let texts = [("variant", variant), ("dtype", "f32")];
    let texts = texts.map(|(name, text)| (name, ParamValue::Text(text.into())));
    CaseSpec {
        workload: "conv2d".into(),
        params: sizes
            .chain(texts)
            .map(|(name, value)| (name.into(), value))
            .collect(),
        seed: 1.into(),
        device: DeviceSelector::CPU,
        timing: TimingMode::Hot,
        command: None,
        kernel: None,
    }
}

fn program(sizes: [i64; 8], variant: &str) -> Result<Program, Failure> {
    Conv2d.program(&Arguments(&case(sizes, variant)))
}

/// The definition, element by element.
fn definition(sizes: [i64; 8], input: &[f32], weights: &[f32]) -> Vec<f32> {
    let [
        batch,
        channels,
        filters,
        height,
        width,
        kernel,
        stride,
        padding,
    ] = sizes;
    let outputs = |size: i64| (size + 2 * padding - kernel) / stride + 1;
    // Of one element: its image, line, column and filter.
    let sum = |image: i64, line: i64, column: i64, filter: i64| {
        let mut sum = 0.0;
        for (r, s) in (0..kernel).flat_map(|r| (0..kernel).map(move |s| (r, s))) {
            let (top, left) = (line * stride + r - padding, column * stride + s - padding);
            if top < 0 || top >= height || left < 0 || left >= width {
                continue;
            }
            for c in 0..channels {
                let from = ((image * height + top) * width + left) * channels + c;
                let of_filter = ((r * kernel + s) * channels + c) * filters + filter;
                sum += f64::from(input[from as usize]) * f64::from(weights[of_filter as usize]);
            }
        }
        sum as f32
    };
    let mut output = vec![];
    for image in 0..batch {
        for line in 0..outputs(height) {
            for column in 0..outputs(width) {
                output.extend((0..filters).map(|filter| sum(image, line, column, filter)));
            }
        }
    }
    output
}

/// Sizes of a convolution whose windows fit.
fn any_sizes() -> impl Strategy<Value = [i64; 8]> {
    let images = [1_i64..4, 1..9, 1..70, 1..12, 1..14];
    let windows = [1_i64..6, 1..4, 0..5];
    (images, windows)
        .prop_map(
            |([batch, channels, filters, height, width], [kernel, stride, padding])| {
                [
                    batch, channels, filters, height, width, kernel, stride, padding,
                ]
            },
        )
        .prop_filter(
            "windows fit",
            |[_, _, _, height, width, kernel, _, padding]| {
                *kernel <= height.min(width) + 2 * padding
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_definition_is_right_and_every_implementation_near_it(sizes in any_sizes(), seed: u64) {
        let team = Team::new(2).unwrap();
        for variant in ["implicit-gemm", "direct"] {
            let mut program = program(sizes, variant).unwrap();
            let mut buffers = program.host_buffers(&team, seed).unwrap();
            let mut run = program.take_cpu().unwrap();
            run(&team, &mut buffers, 2);
            let exact = definition(sizes, buffers.get(0), buffers.get(1));
            let found = buffers.get::<f32>(2);
            prop_assert_eq!(found.len(), exact.len());
            for (found, exact) in found.iter().zip(&exact) {
                prop_assert!((found - exact).abs() < 1e-4, "{variant}: {found} {exact}");
            }
            buffers.0[2].get_mut::<f32>().copy_from_slice(&exact);
            let verdict = program.judge(&buffers, &BTreeMap::new(), 1);
            prop_assert!(verdict.passed, "{verdict:?}");
        }
    }
}

/// Several panels of the window, blocks of pixels, and tiles of filters.
#[test]
fn large_convolutions_are_right_with_the_same_bits_from_any_team() {
    let sizes = [2, 64, 80, 21, 17, 3, 1, 1];
    for variant in ["implicit-gemm", "direct"] {
        let outputs = [1, 2, 3].map(|threads| {
            let team = Team::new(threads).unwrap();
            let mut program = program(sizes, variant).unwrap();
            let mut buffers = program.host_buffers(&team, 7).unwrap();
            let mut run = program.take_cpu().unwrap();
            run(&team, &mut buffers, 1);
            let verdict = program.judge(&buffers, &BTreeMap::new(), 1);
            assert!(verdict.passed, "{variant} {verdict:?}");
            buffers.0[2].bytes().to_vec()
        });
        assert!(
            outputs.iter().all(|output| *output == outputs[0]),
            "{variant}"
        );
    }
}

#[test]
fn a_window_larger_than_the_padded_image_is_an_error_in_words() {
    let failure = program([1, 1, 1, 9, 4, 7, 1, 1], "direct")
        .map(|_| ())
        .unwrap_err();
    let words = failure.to_string();
    assert!(
        words.contains("a window of 7 does not fit into `width` 4")
            && words.contains("`padding` 1"),
        "{words}"
    );
}

#[test]
fn what_does_not_fit_into_shared_memory_is_skipped() {
    let on_cuda = |kernel, variant| {
        let mut case = case([1, 3, 5, 200, 200, kernel, 2, 3], variant);
        case.device.kind = DeviceKind::Cuda;
        Conv2d.program(&Arguments(&case)).map(|_| ())
    };
    assert!(on_cuda(11, "direct").is_ok());
    assert!(matches!(on_cuda(101, "direct"), Err(Failure::Skipped(_))));
    assert!(on_cuda(101, "implicit-gemm").is_ok());
}
