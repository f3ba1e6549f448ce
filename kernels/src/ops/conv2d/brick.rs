//! A convolution as a brick of models: forward, and both gradients.

use assay_protocol::Failure;

use super::shape::Shape;
use super::{backward, cuda, implicit, nothing};
use crate::element::DType;
use crate::matrix::Store;
use crate::ml::{expect, workspace};
use crate::program::{Arg, Launch, Program, Source, Step, blocks, cuda_source};

static SOURCE: Source = cuda_source!("dense/conv2d_backward.cu");
const THREADS: u32 = 256;

/// A convolution of images (NHWC) with filters (RSCK).
#[derive(Clone, Debug)]
pub struct Convolution {
    shape: Shape,
    /// Its sizes, as kernels take them.
    sizes: [u32; 10],
    /// The forward pass on a CUDA device, without arguments; none, where there is nothing to add up.
    launch: Option<Launch>,
}

/// Sizes of a convolution of images of one side.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Images.
    pub batch: usize,
    /// Channels of a pixel of the input, and of one of the output.
    pub channels: [usize; 2],
    /// Side of an image.
    pub side: usize,
    /// Side of a window.
    pub kernel: usize,
    /// From a window to the next.
    pub stride: usize,
    /// Pixels of zeros on every side of an image.
    pub padding: usize,
}

impl Convolution {
    /// A convolution of square images.
    ///
    /// # Errors
    /// If a window does not fit, or sizes cannot be counted.
    pub fn new(sizes: Sizes) -> Result<Self, Failure> {
        let Sizes {
            batch,
            channels: [channels, filters],
            side,
            kernel,
            stride,
            padding,
        } = sizes;
        let out = super::shape::outputs("side", side, kernel, stride, padding)?;
        Self::of(
            Shape {
                batch,
                channels,
                filters,
                height: side,
                width: side,
                kernel,
                stride,
                padding,
                out_height: out,
                out_width: out,
            }
            .checked()?,
        )
    }

    /// A convolution of this shape.
    pub(super) fn of(shape: Shape) -> Result<Self, Failure> {
        let is_nothing = shape.is_nothing();
        Ok(Self {
            shape,
            sizes: cuda::sizes(&shape)?,
            launch: (!is_nothing).then(|| cuda::implicit(&shape)).transpose()?,
        })
    }

    /// Numbers of the images, of the filters, and of the output.
    pub fn lens(&self) -> [usize; 3] {
        let shape = &self.shape;
        [shape.inputs(), shape.weights(), shape.outputs()]
    }

    /// Side of an output image.
    pub fn out_side(&self) -> usize {
        self.shape.out_height
    }

    /// Products of each element of the output.
    pub fn window(&self) -> usize {
        self.shape.window()
    }

    fn expect(&self, program: &Program, [x, f, y]: [usize; 3]) {
        let names = [("x", x), ("f", f), ("y", y)];
        let buffers = names.iter().zip(self.lens());
        let buffers: Vec<_> = buffers
            .map(|((name, buffer), len)| (*name, *buffer, DType::F32, len))
            .collect();
        expect(program, "convolution", &buffers);
    }

    /// Adds `y = x * f`.
    pub fn forward(&self, program: &mut Program, input: usize, filters: usize, output: usize) {
        let shape = self.shape;
        self.expect(program, [input, filters, output]);
        program.step_on_cpu(move |team, buffers| {
            let [input, filters, output] = buffers.many([input, filters, output]);
            if shape.is_nothing() {
                nothing(team, 1, output.get_mut());
            } else {
                let (input, filters) = (input.get(), filters.get());
                implicit::time(team, 1, shape, input, filters, output.get_mut());
            }
        });
        let step = match &self.launch {
            Some(launch) => Step::Launch(
                launch
                    .clone()
                    .args([output, input, filters].map(Arg::Buffer))
                    .args(self.sizes.map(Arg::U32)),
            ),
            None => Step::Set {
                buffer: output,
                byte: 0,
            },
        };
        program.cuda.push(step);
    }

    /// A launch over the elements of a result, each of which a thread computes.
    fn launch_backward(&self, kernel: &str, len: usize, buffers: [usize; 3]) -> Launch {
        let grid = blocks(len, THREADS as usize, u32::MAX >> 1);
        Launch::new(&SOURCE, kernel, grid, THREADS)
            .args(buffers.map(Arg::Buffer))
            .args(self.sizes.map(Arg::U32))
    }

    /// Adds `dx`, the gradient of the images.
    pub fn backward_input(&self, program: &mut Program, dy: usize, filters: usize, dx: usize) {
        let shape = self.shape;
        self.expect(program, [dx, filters, dy]);
        program.step_on_cpu(move |team, buffers| {
            let [dy, filters, dx] = buffers.many([dy, filters, dx]);
            backward::input(team, &shape, [filters.get(), dy.get()], dx.get_mut());
        });
        let buffers = [dx, dy, filters];
        program.launch(self.launch_backward("conv2d_backward_input", shape.inputs(), buffers));
    }

    /// Adds `df`, the gradient of the filters, or adds that to `df`.
    pub fn backward_filters(
        &self,
        program: &mut Program,
        x: usize,
        dy: usize,
        df: usize,
        store: Store,
    ) {
        let shape = self.shape;
        self.expect(program, [x, df, dy]);
        let room = workspace(program, "sums", DType::F32, backward::room(&shape));
        program.step_on_cpu(move |team, buffers| {
            let [x, dy, room, df] = buffers.many([x, dy, room, df]);
            let given = [x.get(), dy.get()];
            backward::filters(team, &shape, given, room.get_mut(), df.get_mut(), store);
        });
        let buffers = [df, x, dy];
        let launch = self.launch_backward("conv2d_backward_filters", shape.weights(), buffers);
        program.launch(launch.args([Arg::U32(u32::from(store == Store::Add))]));
    }
}
