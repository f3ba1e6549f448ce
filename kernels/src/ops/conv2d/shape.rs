//! Sizes of a convolution, and what of an image each window covers.

use std::ops::Range;

use assay_protocol::Failure;

use crate::parameters::{self, Arguments};

/// Parameters that are at least 1.
pub const PARAMETERS: [&str; 7] = [
    "batch", "channels", "filters", "height", "width", "kernel", "stride",
];
/// The parameters whose products are sizes, in words.
pub const NAMES: &str =
    "`batch`, `channels`, `filters`, `height`, `width`, `kernel`, `stride` and `padding`";

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Images.
    pub batch: usize,
    /// Of a pixel of the input.
    pub channels: usize,
    /// Of these, a pixel of the output has a number each.
    pub filters: usize,
    /// Of an input image.
    pub height: usize,
    pub width: usize,
    /// Side of a window.
    pub kernel: usize,
    /// From a window to the next one, in both directions.
    pub stride: usize,
    /// Pixels of zeros on every side of an image.
    pub padding: usize,
    /// Of an output image.
    pub out_height: usize,
    pub out_width: usize,
}

impl Shape {
    /// The sizes that a case gives.
    pub fn of(arguments: &Arguments) -> Result<Self, Failure> {
        let size = |name| arguments.size(name);
        let (kernel, stride) = (arguments.count("kernel")?, arguments.count("stride")?);
        let padding = size("padding")?;
        let outputs = |name| outputs(name, size(name)?, kernel, stride, padding);
        let shape = Self {
            batch: size("batch")?,
            channels: size("channels")?,
            filters: size("filters")?,
            height: size("height")?,
            width: size("width")?,
            kernel,
            stride,
            padding,
            out_height: outputs("height")?,
            out_width: outputs("width")?,
        };
        shape.checked()
    }

    /// The same, if its buffers can be counted.
    pub fn checked(self) -> Result<Self, Failure> {
        let shape = self;
        let Self {
            batch,
            kernel,
            channels,
            filters,
            ..
        } = shape;
        for sizes in [
            [batch, shape.height, shape.width, channels],
            [kernel, kernel, channels, filters],
            [batch, shape.out_height, shape.out_width, filters],
            [batch, shape.out_height, shape.out_width, 1],
            [kernel, kernel, channels, 1],
        ] {
            parameters::size_product(NAMES, &[&sizes[..], &[8]].concat())?;
        }
        Ok(shape)
    }

    /// Pixels of the output: rows of the product.
    pub fn pixels(&self) -> usize {
        self.batch * self.out_height * self.out_width
    }

    /// Elements of a line of a window.
    pub fn line(&self) -> usize {
        self.kernel * self.channels
    }

    /// Elements of a window: the length of each sum.
    pub fn window(&self) -> usize {
        self.kernel * self.line()
    }

    /// Elements of the input.
    pub fn inputs(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Elements of all filters.
    pub fn weights(&self) -> usize {
        self.window() * self.filters
    }

    /// Elements of the output.
    pub fn outputs(&self) -> usize {
        self.pixels() * self.filters
    }

    /// Whether there is nothing to add up.
    pub fn is_nothing(&self) -> bool {
        [self.inputs(), self.weights(), self.outputs()].contains(&0)
    }

    /// Whether each window is the pixel at its place, so that all of them lie in memory as the rows of a matrix.
    pub fn is_product(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == 0
    }

    /// The window of a pixel of the output.
    pub fn window_of(&self, pixel: usize) -> Window {
        let (line, column) = (pixel / self.out_width, pixel % self.out_width);
        Window {
            image: line / self.out_height,
            top: line % self.out_height * self.stride,
            left: column * self.stride,
        }
    }

    /// From the window of a pixel to that of the next one.
    #[inline]
    pub fn advance(&self, window: &mut Window) {
        window.left += self.stride;
        if window.left == self.out_width * self.stride {
            window.left = 0;
            window.top += self.stride;
        }
        if window.top == self.out_height * self.stride {
            window.top = 0;
            window.image += 1;
        }
    }

    /// Where the first element of a window is in the input, if all of it lies in its image.
    #[inline]
    pub fn first_inside(&self, window: &Window) -> Option<usize> {
        let is_inside =
            |at: usize, size: usize| at >= self.padding && at + self.kernel <= self.padding + size;
        if !is_inside(window.top, self.height) || !is_inside(window.left, self.width) {
            return None;
        }
        let line = window.image * self.height + window.top - self.padding;
        Some((line * self.width + window.left - self.padding) * self.channels)
    }

    /// The part of a window's line `r` that lies in its image: where it begins in the line, and which elements of the input
    /// it is.
    #[inline]
    pub fn part_of_line(&self, window: &Window, r: usize) -> (usize, Range<usize>) {
        // Counted from the border's edge.
        let row = window.top + r;
        if row < self.padding || row - self.padding >= self.height {
            return (0, 0..0);
        }
        let first = self.padding.saturating_sub(window.left).min(self.kernel);
        let end = (self.padding + self.width)
            .saturating_sub(window.left)
            .clamp(first, self.kernel);
        if first == end {
            return (0, 0..0);
        }
        let line = window.image * self.height + row - self.padding;
        let from = (line * self.width + window.left + first - self.padding) * self.channels;
        (
            first * self.channels,
            from..from + (end - first) * self.channels,
        )
    }
}

/// Where a window lies: its image, and its upper left corner, counted from that of the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub image: usize,
    pub top: usize,
    pub left: usize,
}

/// Windows along a side of `size`.
pub fn outputs(
    name: &str,
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Result<usize, Failure> {
    let padded = padding
        .checked_mul(2)
        .and_then(|border| border.checked_add(size))
        .ok_or_else(|| {
            Failure::Failed(format!(
                "parameters `{name}` and `padding`: their sum is too large to count"
            ))
        })?;
    if kernel > padded {
        return Err(Failure::Failed(format!(
            "parameter `kernel`: a window of {kernel} does not fit into `{name}` {size} with `padding` {padding} on both \
             sides, which is {padded}; take a smaller `kernel` or more `padding`"
        )));
    }
    Ok((padded - kernel) / stride + 1)
}

#[cfg(test)]
mod tests {
    use super::{Shape, outputs};

    #[test]
    fn windows_along_a_side() {
        let count = |size, kernel, stride, padding| outputs("width", size, kernel, stride, padding);
        assert_eq!(count(224, 7, 2, 3).unwrap(), 112);
        assert_eq!(count(5, 5, 1, 0).unwrap(), 1);
        assert_eq!(count(0, 2, 1, 2).unwrap(), 3);
        assert_eq!(count(1, 2, 3, 4).unwrap(), 3);
        let words = count(3, 6, 1, 1).unwrap_err().to_string();
        assert!(
            words.contains("`kernel`") && words.contains("`width` 3"),
            "{words}"
        );
        assert!(count(usize::MAX, 6, 1, 1).is_err());
    }

    #[test]
    fn lines_are_cut_at_the_borders() {
        let shape = Shape {
            batch: 2,
            channels: 2,
            filters: 1,
            height: 3,
            width: 4,
            kernel: 3,
            stride: 2,
            padding: 1,
            out_height: 2,
            out_width: 2,
        };
        let part = |pixel, r| shape.part_of_line(&shape.window_of(pixel), r);
        assert_eq!(part(0, 0), (0, 0..0));
        assert_eq!(part(0, 1), (2, 0..4));
        assert_eq!(part(1, 1), (0, 2..8));
        assert_eq!(part(7, 0), (0, 34..40));
        assert_eq!(part(7, 2), (0, 0..0));
        let mut window = shape.window_of(0);
        for pixel in 0..shape.pixels() {
            assert_eq!(window, shape.window_of(pixel));
            shape.advance(&mut window);
        }
        let inside = |pixel| shape.first_inside(&shape.window_of(pixel));
        assert!((0..8).all(|pixel| inside(pixel).is_none()));
        let wide = Shape {
            padding: 0,
            ..shape
        };
        let window = |image, top, left| super::Window { image, top, left };
        for (window, first) in [
            (window(1, 0, 1), Some(26)),
            (window(0, 0, 2), None),
            (window(0, 1, 1), None),
        ] {
            assert_eq!(wide.first_inside(&window), first, "{window:?}");
            let line = wide.part_of_line(&window, 0).1;
            assert!(first.is_none_or(|first| line == (first..first + wide.line())));
        }
        let narrow = Shape {
            padding: 9,
            ..shape
        };
        assert_eq!(narrow.part_of_line(&narrow.window_of(0), 2).1, 0..0);
    }
}
