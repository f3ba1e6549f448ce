use super::{BUDGET, Reference};
use crate::ops::conv2d::shape::Shape;

/// A shape of more pixels than few, and more filters than one part.
const SHAPE: Shape = Shape {
    batch: 2,
    channels: 5,
    filters: 600,
    height: 4,
    width: 7,
    kernel: 3,
    stride: 1,
    padding: 1,
    out_height: 4,
    out_width: 7,
};

fn numbers(count: usize, step: usize) -> Vec<f32> {
    let number = |i: usize| (i * step % 31) as f32 / 16.0 - 15.0 / 16.0;
    (0..count).map(number).collect()
}

/// Each is a multiple of a power of two, and small: the sums are exact in any order.
fn output(input: &[f32], filters: &[f32]) -> Vec<f32> {
    let of_nothing = vec![0.0; SHAPE.outputs()];
    let reference = Reference {
        shape: &SHAPE,
        input,
        filters,
        output: &of_nothing,
    };
    let mut output = vec![0.0; SHAPE.outputs()];
    for (pixel, output) in output.chunks_exact_mut(SHAPE.filters).enumerate() {
        reference.each_of_window(pixel, |x, place| {
            let filters = &filters[place * SHAPE.filters..];
            for (y, f) in output.iter_mut().zip(filters) {
                *y += x as f32 * f;
            }
        });
    }
    output
}

#[test]
fn one_wrong_element_fails_in_any_pixel() {
    let (input, filters) = (numbers(SHAPE.inputs(), 7), numbers(SHAPE.weights(), 11));
    let mut output = output(&input, &filters);
    let passes = |output: &[f32], budget| {
        let reference = Reference {
            shape: &SHAPE,
            input: &input,
            filters: &filters,
            output,
        };
        let checked = reference.check(3, budget);
        checked.error <= checked.tolerance
    };
    // Every pixel filter by filter, and few of them.
    for budget in [BUDGET, 0] {
        assert!(passes(&output, budget));
        for index in [0, 599, 600 * 30 + 77, 600 * 41 + 512, 600 * 56 - 1] {
            let right = output[index];
            for wrong in [right + 2.0, f32::NAN] {
                output[index] = wrong;
                assert!(!passes(&output, budget), "{budget} {index} {wrong}");
            }
            output[index] = right;
        }
    }
}

#[test]
fn chosen_pixels_are_all_or_some_of_every_part() {
    let reference = Reference {
        shape: &SHAPE,
        input: &[],
        filters: &[],
        output: &[],
    };
    assert_eq!(reference.chosen(1, BUDGET).len(), SHAPE.pixels());
    let some = reference.chosen(1, 0);
    assert!(some.is_sorted() && some[0] == 0 && some[some.len() - 1] == SHAPE.pixels() - 1);
    assert!(some.len() >= 16 && some.len() <= 18);
    assert_ne!(some, reference.chosen(2, 0));
}
