//! Kernels that are loaded on a device, and their launches.
#![allow(unsafe_code)] // handles and argument pointers of the driver

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};

use assay_protocol::Failure;
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUfunction_attribute as Attribute};

use super::compiler::{self, Cubin, Unit};
use super::cubin::{self, Resources};
use super::driver::{Cuda, StreamRef, checked};
use crate::program::{Arg, Launch};

/// Dynamic shared memory that a kernel may have without asking, in bytes.
const USUAL_SHARED_BYTES: u32 = 48 << 10;

/// A loaded cubin.
#[derive(Debug)]
pub struct Module {
    handle: sys::CUmodule,
    cubin: Cubin,
    /// What its kernels take, by their names in the cubin.
    kernels: BTreeMap<String, Resources>,
}

impl Module {
    /// Compiles a source for a device, or finds it compiled, and loads it.
    pub fn load(cuda: &Cuda, unit: &Unit) -> Result<Self, Failure> {
        let architecture = cuda.description.architecture();
        let cubin = compiler::cubin(unit, &architecture)?;
        let kernels = cubin::kernels(&cubin.image)?;
        // SAFETY: the image is a whole cubin, checked against its digest where it was read from a file.
        let loaded = unsafe { result::module::load_data(cubin.image.as_ptr().cast()) };
        let handle = checked(&format!("loading {}", unit.name), loaded)?;
        Ok(Self {
            handle,
            cubin,
            kernels,
        })
    }

    /// One of the kernels that it was compiled with.
    pub fn kernel(&self, name: &str) -> Result<Kernel, Failure> {
        let missing = || Failure::Failed(format!("kernel `{name}` is not in the compiled source"));
        let lowered = self.cubin.names.get(name).ok_or_else(missing)?;
        let parameters = &self.kernels.get(lowered).ok_or_else(missing)?.parameters;
        let symbol = CString::new(lowered.as_str()).map_err(|_| missing())?;
        // SAFETY: the module is loaded.
        let function = checked(name, unsafe {
            result::module::get_function(self.handle, symbol)
        })?;
        Ok(Kernel {
            name: name.into(),
            function,
            parameters: parameters.clone(),
        })
    }

    /// What the record keeps of a launch: the code that ran, what it takes of a multiprocessor, and how many blocks one holds.
    fn facts(&self, kernel: &Kernel, launch: &Launch) -> Result<String, Failure> {
        let registers = kernel.attribute(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?;
        let shared = kernel.attribute(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?;
        let local = kernel.attribute(Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?;
        Ok(format!(
            "{registers} registers, {shared} B static shared memory, {local} B local memory a thread, {} blocks a multiprocessor, cubin {}",
            kernel.occupancy(launch)?,
            self.cubin.digest
        ))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: loaded by `load`, unloaded once; its kernels are not launched after that, since they go with the case.
        let _ = unsafe { result::module::unload(self.handle) };
    }
}

/// A kernel of a loaded module.
#[derive(Clone, Debug)]
pub struct Kernel {
    name: String,
    function: sys::CUfunction,
    /// Bytes of each of its parameters.
    parameters: Vec<u32>,
}

impl Kernel {
    fn attribute(&self, which: Attribute) -> Result<i32, Failure> {
        // SAFETY: the function's module is loaded.
        checked(&self.name, unsafe {
            result::function::get_function_attribute(self.function, which)
        })
    }

    /// Blocks of a launch that a multiprocessor holds at once.
    fn occupancy(&self, launch: &Launch) -> Result<i32, Failure> {
        self.allow_shared(launch.shared_bytes)?;
        let threads = launch.block.iter().product::<u32>();
        // SAFETY: the function's module is loaded.
        let blocks = unsafe {
            result::occupancy::max_active_block_per_multiprocessor(
                self.function,
                threads as i32,
                launch.shared_bytes as usize,
            )
        };
        checked(&format!("{}: occupancy", self.name), blocks)
    }

    /// The driver's handle.
    pub fn function(&self) -> sys::CUfunction {
        self.function
    }

    /// Allows it this much dynamic shared memory.
    pub fn allow_shared(&self, bytes: u32) -> Result<(), Failure> {
        if bytes <= USUAL_SHARED_BYTES {
            return Ok(());
        }
        let which = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function's module is loaded.
        let set =
            unsafe { result::function::set_function_attribute(self.function, which, bytes as i32) };
        checked(
            &format!("{}: {bytes} bytes of shared memory", self.name),
            set,
        )
    }
}

/// A launch with all that it needs at hand.
#[derive(Debug)]
pub struct ReadyLaunch {
    kernel: Kernel,
    grid: (u32, u32, u32),
    block: (u32, u32, u32),
    shared_bytes: u32,
    /// Each in the lowest bytes, as a little-endian machine keeps them.
    arguments: Vec<u64>,
}

impl ReadyLaunch {
    /// `addresses` are those of the program's buffers.
    ///
    /// # Errors
    /// If the arguments are not as many as the kernel's parameters, or if one has another size.
    pub fn new(kernel: Kernel, launch: &Launch, addresses: &[u64]) -> Result<Self, Failure> {
        expect_arguments(&kernel.name, &kernel.parameters, &launch.args)?;
        kernel.allow_shared(launch.shared_bytes)?;
        let [[gx, gy, gz], [bx, by, bz]] = [launch.grid, launch.block];
        Ok(Self {
            kernel,
            grid: (gx, gy, gz),
            block: (bx, by, bz),
            shared_bytes: launch.shared_bytes,
            arguments: launch
                .args
                .iter()
                .map(|arg| value(*arg, addresses))
                .collect(),
        })
    }

    /// Enqueues it; a grid of nothing is nothing.
    pub fn enqueue(&mut self, stream: StreamRef) -> Result<(), Failure> {
        if self.grid.0 == 0 || self.grid.1 == 0 || self.grid.2 == 0 {
            return Ok(());
        }
        let mut pointers: Vec<*mut c_void> = self
            .arguments
            .iter_mut()
            .map(|value| std::ptr::from_mut(value).cast())
            .collect();
        // SAFETY: the kernel is loaded; there are as many pointers as it has parameters, and each leads to as many bytes as its parameter has
        // (`expect_arguments`), which the call copies. Whether a number of the right size is of the right type, and what the kernel does with
        // addresses, concerns the device's memory: of our own programs the emulation checks it, of a user's kernel its author does.
        let launched = unsafe {
            result::launch_kernel(
                self.kernel.function,
                self.grid,
                self.block,
                self.shared_bytes,
                stream.raw(),
                &mut pointers,
            )
        };
        checked(&format!("launching {}", self.kernel.name), launched)
    }
}

/// Fails unless each parameter has an argument of its size, and no more.
fn expect_arguments(kernel: &str, parameters: &[u32], args: &[Arg]) -> Result<(), Failure> {
    let given: Vec<u32> = args.iter().map(|arg| arg.bytes()).collect();
    if parameters == given {
        return Ok(());
    }
    let listed = |sizes: &[u32]| {
        let sizes: Vec<_> = sizes.iter().map(u32::to_string).collect();
        match sizes.as_slice() {
            [] => "none".into(),
            sizes => format!("{} of {} bytes", sizes.len(), sizes.join(", ")),
        }
    };
    Err(Failure::Failed(format!(
        "kernel `{kernel}`: its parameters are {}; the launch's arguments are {}",
        listed(parameters),
        listed(&given)
    )))
}

fn value(arg: Arg, addresses: &[u64]) -> u64 {
    match arg {
        Arg::Buffer(buffer) => addresses[buffer],
        Arg::BufferAt { buffer, byte } => addresses[buffer] + byte as u64,
        Arg::U32(value) => value.into(),
        Arg::I32(value) => value.cast_unsigned().into(),
        Arg::U64(value) => value,
        Arg::F32(value) => value.to_bits().into(),
        Arg::F64(value) => value.to_bits(),
    }
}

/// Modules of a case by the path of their source.
#[derive(Debug, Default)]
pub struct Modules(BTreeMap<&'static str, Module>);

impl Modules {
    /// Compiles and loads all that some launches need, each source once with all its kernels. Gives facts of each kernel.
    pub fn load(
        &mut self,
        cuda: &Cuda,
        launches: &[&Launch],
    ) -> Result<BTreeMap<String, String>, Failure> {
        let architecture = cuda.description.architecture();
        let mut facts = BTreeMap::new();
        for launch in launches {
            let source = launch.source;
            if !source.supports(&architecture) {
                return Err(Failure::Skipped(format!(
                    "{} is not for sm_{architecture}",
                    source.path
                )));
            }
            if launch.shared_bytes > cuda.description.shared_bytes {
                return Err(Failure::Skipped(format!(
                    "`{}` needs {} bytes of shared memory, and a block of this device can have {}",
                    launch.kernel, launch.shared_bytes, cuda.description.shared_bytes
                )));
            }
            if !self.0.contains_key(source.path) {
                let mut kernels: Vec<_> = launches
                    .iter()
                    .filter(|other| other.source == source)
                    .map(|other| other.kernel.clone())
                    .collect();
                kernels.sort();
                kernels.dedup();
                let unit = Unit {
                    name: source.path,
                    text: source.text,
                    kernels: &kernels,
                };
                self.0.insert(source.path, Module::load(cuda, &unit)?);
            }
            let module = &self.0[source.path];
            let fact = module.facts(&module.kernel(&launch.kernel)?, launch)?;
            facts.insert(
                format!("kernel {}", launch.kernel),
                format!("sm_{architecture}, {fact}"),
            );
        }
        Ok(facts)
    }

    /// A launch, ready. Its source was loaded.
    pub fn ready(&self, launch: &Launch, addresses: &[u64]) -> Result<ReadyLaunch, Failure> {
        let module = self.0.get(launch.source.path);
        let module = module
            .ok_or_else(|| Failure::Failed(format!("{} was not loaded", launch.source.path)))?;
        ReadyLaunch::new(module.kernel(&launch.kernel)?, launch, addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arg, expect_arguments};

    #[test]
    fn arguments_are_as_many_and_as_large_as_parameters() {
        let args = [Arg::Buffer(0), Arg::F32(1.0), Arg::U64(2)];
        let told = |parameters: &[u32], args: &[Arg]| {
            expect_arguments("k", parameters, args)
                .err()
                .map(|failure| failure.to_string())
        };
        assert_eq!(told(&[8, 4, 8], &args), None);
        assert_eq!(told(&[], &[]), None);
        assert_eq!(
            told(&[8, 4, 8], &args[..2]).as_deref(),
            Some(
                "failed: kernel `k`: its parameters are 3 of 8, 4, 8 bytes; the launch's arguments are 2 of 8, 4 bytes"
            )
        );
        assert!(told(&[8, 8, 4], &args).is_some());
        assert!(told(&[], &args).is_some_and(|words| words.contains("parameters are none;")));
    }
}
