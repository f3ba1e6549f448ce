//! Fills buffers on the device, with the bits that [`crate::fill`] makes on the host.

use assay_protocol::Failure;

use super::driver::{Cuda, DeviceMemory};
use super::modules::Modules;
use crate::element::DType;
use crate::program::{Arg, BufferSpec, Fill, Launch, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("fill.cu");

/// Fills a buffer, and waits until that is done.
pub fn fill(
    cuda: &Cuda,
    memory: &DeviceMemory,
    spec: &BufferSpec,
    seed: u64,
) -> Result<(), Failure> {
    let Some(launch) = launch(spec, seed) else {
        memory.set(cuda.stream(), 0)?;
        return cuda.synchronize();
    };
    let mut modules = Modules::default();
    modules.load(cuda, &[&launch])?;
    modules
        .ready(&launch, &[memory.address()])?
        .enqueue(cuda.stream())?;
    cuda.synchronize()
}

/// The launch that fills a buffer, which is number 0 to it; `None` for zeros.
pub fn launch(spec: &BufferSpec, seed: u64) -> Option<Launch> {
    let kernel = |name: &str| format!("{name}<{}>", spec.dtype.cuda());
    let (name, stream, extra) = match &spec.fill {
        Fill::Zero | Fill::Poison | Fill::Host(_) => return None,
        Fill::Signed { stream, scale } => (kernel("fill_signed"), *stream, Some(Arg::F32(*scale))),
        Fill::Unit { stream } => (kernel("fill_unit"), *stream, None),
        Fill::Words { stream } => (words_kernel(spec.dtype), *stream, None),
        Fill::Below { stream, bound } => ("fill_below".into(), *stream, Some(Arg::U32(*bound))),
    };
    let args = [
        Arg::Buffer(0),
        Arg::size(spec.len),
        Arg::U64(seed),
        Arg::U64(stream),
    ];
    Some(
        Launch::new(&SOURCE, name, blocks(spec.len, 1024, 1 << 16), 256)
            .args(args)
            .args(extra),
    )
}

fn words_kernel(dtype: DType) -> String {
    match dtype {
        DType::U64 => "fill_wide_words".into(),
        // As its bits.
        DType::F8 => format!("fill_words<{}>", DType::U8.cuda()),
        other => format!("fill_words<{}>", other.cuda()),
    }
}

/// Every kernel of it that a buffer may need.
pub fn kernels() -> (&'static Source, Vec<String>) {
    let reals = ["double", "float", "f16", "bf16"];
    let integers = ["unsigned int", "int", "signed char", "unsigned char"];
    let of = |name: &'static str, types: &[&str]| {
        types
            .iter()
            .map(|dtype| format!("{name}<{dtype}>"))
            .collect::<Vec<_>>()
    };
    let mut all = of("fill_signed", &reals);
    all.extend(of("fill_unit", &reals));
    all.extend(of("fill_words", &integers));
    all.extend(["fill_wide_words", "fill_below"].map(String::from));
    (&SOURCE, all)
}
