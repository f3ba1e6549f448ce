//! What utilisation is over: the rate of our own product on the device of a training.

use assay_kernels::element::DType;
use assay_kernels::matrix::Store;
use assay_kernels::ml::product::{Engine, Form, Product};
use assay_kernels::program::{Fill, Program};
use assay_protocol::{Failure, Work};

use super::session::{Device, Session};

/// Largest side of the product that utilisation is over.
const MOST_SIDE: usize = 4096;
/// On the host, whatever the model: one that takes less than a time slice, so that what else runs there does not slow all of them.
const SIDE_ON_HOST: usize = 256;
/// How often it is taken for a rate.
const PRODUCTS: usize = 8;
const PRODUCTS_ON_HOST: usize = 64;

/// Side of the product that a model's utilisation is over: on a GPU one of as many flops as a step has, which many of them need to
/// fill it, as the model does.
pub fn product_side(device: &Device, flops: usize) -> usize {
    if !device.is_cuda() {
        return SIDE_ON_HOST;
    }
    let side = (flops as f64 / 2.0).cbrt() as usize;
    side.next_multiple_of(128).min(MOST_SIDE)
}

/// The type of that product's operands: what a model's layers multiply, but `f32` on the host, which computes in it whatever is stored.
pub fn product_type(device: &Device, stored: DType) -> DType {
    if device.is_cuda() { stored } else { DType::F32 }
}

/// Flops a second of our own product on a device, of matrices of this side and type, added up in f32: of the fastest of some.
///
/// # Errors
/// If threads cannot be started, or if the device fails.
pub fn product_rate(device: &Device, stored: DType, side: usize) -> Result<f64, Failure> {
    let dtype = product_type(device, stored);
    let mut program = Program::new(Work::default());
    let len = side * side;
    let [a, b] = [("a", 0), ("b", 1)]
        .map(|(name, stream)| program.input(name, dtype, len, Fill::signed(stream)));
    let c = program.output("c", DType::F32, len);
    let product = Product {
        form: Form::Plain,
        m: side,
        n: side,
        k: side,
        store: Store::Set,
        engine: Engine::Ours,
    };
    product.append(&mut program, a, b, None, c);
    let mut session = Session::new(program, 0, device)?;
    let count = if device.is_cuda() {
        PRODUCTS
    } else {
        PRODUCTS_ON_HOST
    };
    let mut best = u64::MAX;
    for _ in 0..count {
        best = best.min(session.run()?.ns());
    }
    Ok(2.0 * (side as f64).powi(3) / best.max(1) as f64 * 1e9)
}
