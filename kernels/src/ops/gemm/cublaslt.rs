//! The vendor's library: cuBLASLt, by the algorithm that its heuristic puts first.
//!
//! The library thinks in columns: the transpose of a row-major product, `C' = B' A'`, is what it is asked for. Its
//! workspace is 32 MiB, as `PyTorch` gives it and as NVIDIA recommends for `sm_90`. Partial sums are never rounded to the type
//! of the product, and of f8 none is kept in fewer bits than there are.
#![allow(unsafe_code)] // its interface takes pointers and handles

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;

use assay_protocol::Failure;
use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t as Compute, cublasLtMatmulAlgoConfigAttributes_t as Config,
    cublasLtMatmulDescAttributes_t as Description,
    cublasLtMatmulPreferenceAttributes_t as Preference,
    cublasLtMatrixLayoutAttribute_t as Attribute, cublasStatus_t as Status, cudaDataType_t as Type,
};

use super::Shape;
use super::check::Matrices;
use super::kind::Kind;
use crate::device::cuda::driver::{Cuda, DeviceMemory};
use crate::device::{LibraryCall, libraries};
use crate::element::DType;
use crate::matrix::Store;
use crate::ml::product::{Form, Product};

const WORKSPACE_BYTES: usize = 32 << 20;
/// The first chips that multiply f8.
const FIRST_WITH_F8: (u32, u32) = (8, 9);
/// `CUBLAS_OP_T`.
const TRANSPOSED: i32 = 1;

/// A product by the library, as a step of a program.
pub struct Multiplication {
    request: Request,
    plan: Option<Plan>,
}

/// A product, and what else the library does with it.
#[derive(Clone, Copy)]
struct Request {
    matrices: Matrices,
    /// Whether our A is stored `k` by `m`, and our B `n` by `k`.
    is_a_turned: bool,
    is_b_turned: bool,
    /// Whether it is added to C.
    adds: bool,
    /// A number for each column of C that is added, by its buffer.
    bias: Option<usize>,
}

impl Multiplication {
    /// No dimension is 0.
    pub fn new(matrices: Matrices) -> Self {
        let request = Request {
            matrices,
            is_a_turned: false,
            is_b_turned: matrices.kind.is_b_by_columns(),
            adds: false,
            bias: None,
        };
        Self {
            request,
            plan: None,
        }
    }

    /// A brick's product of `f32` buffers A and B into C. No dimension is 0.
    pub fn of(product: &Product, [a, b, c]: [usize; 3], bias: Option<usize>) -> Self {
        let Product {
            form,
            m,
            n,
            k,
            store,
            ..
        } = *product;
        let matrices = Matrices {
            shape: Shape { batch: 1, m, n, k },
            kind: Kind::F32,
            a,
            b,
            c,
            scales: None,
            is_rounded: false,
        };
        let request = Request {
            matrices,
            is_a_turned: form == Form::LeftTurned,
            is_b_turned: form == Form::RightTurned,
            adds: store == Store::Add,
            bias,
        };
        Self {
            request,
            plan: None,
        }
    }
}

impl LibraryCall for Multiplication {
    fn prepare(
        &mut self,
        cuda: &Cuda,
        addresses: &[u64],
    ) -> Result<BTreeMap<String, String>, Failure> {
        ensure_multiplies(self.request.matrices.kind, cuda)?;
        let plan = self.plan.insert(Plan::new(&self.request, addresses)?);
        Ok(plan.facts())
    }

    fn enqueue(&mut self, cuda: &Cuda, addresses: &[u64]) -> Result<(), Failure> {
        let plan = self.plan.as_ref();
        let plan = plan.ok_or_else(|| Failure::Failed("cuBLASLt: not prepared".into()))?;
        plan.enqueue(cuda, &self.request, addresses)
    }
}

/// Fails with [`Failure::Skipped`] if no chip of this kind multiplies such numbers: what the library then calls unsupported is a wrong call.
fn ensure_multiplies(kind: Kind, cuda: &Cuda) -> Result<(), Failure> {
    if kind == Kind::F8 && cuda.description.capability < FIRST_WITH_F8 {
        let architecture = cuda.description.architecture();
        return Err(Failure::Skipped(format!(
            "cuBLASLt: a product of f8 is not for sm_{architecture}"
        )));
    }
    Ok(())
}

/// Version of the library, loaded where it was not.
fn version() -> Result<usize, Failure> {
    libraries::preload("cublasLt");
    // SAFETY: it loads the library and looks for no symbol.
    if !unsafe { sys::is_culib_present() } {
        return Err(Failure::Skipped(
            "cuBLASLt is not there: install it, or name a toolkit's folder in CUDA_HOME".into(),
        ));
    }
    // SAFETY: the library is there.
    Ok(unsafe { sys::cublasLtGetVersion() })
}

/// What the library does not do is skipped, and named.
fn checked<T>(what: &str, outcome: Result<T, CublasError>) -> Result<T, Failure> {
    outcome.map_err(|error| {
        let text = format!("cuBLASLt: {what}: {:?}", error.0);
        match error.0 {
            Status::CUBLAS_STATUS_NOT_SUPPORTED
            | Status::CUBLAS_STATUS_ARCH_MISMATCH
            | Status::CUBLAS_STATUS_INVALID_VALUE => Failure::Skipped(text),
            _ => Failure::Failed(text),
        }
    })
}

const fn data_type(dtype: DType) -> Type {
    match dtype {
        DType::F16 => Type::CUDA_R_16F,
        DType::Bf16 => Type::CUDA_R_16BF,
        DType::F8 => Type::CUDA_R_8F_E4M3,
        DType::I8 => Type::CUDA_R_8I,
        DType::I32 => Type::CUDA_R_32I,
        _ => Type::CUDA_R_32F,
    }
}

/// How products are computed, and the type of the factors before them.
const fn compute_type(kind: Kind) -> (Compute, Type) {
    match kind {
        Kind::Tf32 => (Compute::CUBLAS_COMPUTE_32F_FAST_TF32, Type::CUDA_R_32F),
        Kind::I8 => (Compute::CUBLAS_COMPUTE_32I, Type::CUDA_R_32I),
        _ => (Compute::CUBLAS_COMPUTE_32F, Type::CUDA_R_32F),
    }
}

/// A handle of the library.
struct Handle(sys::cublasLtHandle_t);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: made by `Plan::new`, destroyed once.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

/// Matrices by columns.
struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    /// Some matrices of this size, one behind the other.
    fn new(dtype: DType, count: usize, rows: usize, cols: usize) -> Result<Self, Failure> {
        let layout =
            result::create_matrix_layout(data_type(dtype), rows as u64, cols as u64, rows as i64);
        let layout = Self(checked("layout", layout)?);
        if count != 1 {
            let too_many = |_| Failure::Failed("parameter `batch`: too large".into());
            let count = i32::try_from(count).map_err(too_many)?;
            layout.set(Attribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count)?;
            let elements = (rows * cols) as i64;
            layout.set(
                Attribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                &elements,
            )?;
        }
        Ok(layout)
    }

    fn set<T>(&self, what: Attribute, value: &T) -> Result<(), Failure> {
        // SAFETY: the layout is alive, and the value has the size that is given.
        let outcome = unsafe {
            result::set_matrix_layout_attribute(
                self.0,
                what,
                ptr::from_ref(value).cast(),
                size_of::<T>(),
            )
        };
        checked(&format!("{what:?}"), outcome)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

/// What to multiply, and how.
struct Task(sys::cublasLtMatmulDesc_t);

impl Task {
    fn new(kind: Kind) -> Result<Self, Failure> {
        let (compute, scale) = compute_type(kind);
        let description = result::create_matmul_desc(compute, scale);
        checked("description", description).map(Self)
    }

    fn set<T>(&self, what: Description, value: &T) -> Result<(), Failure> {
        // SAFETY: the description is alive, and the value has the size that is given.
        let outcome = unsafe {
            result::set_matmul_desc_attribute(
                self.0,
                what,
                ptr::from_ref(value).cast(),
                size_of::<T>(),
            )
        };
        checked(&format!("{what:?}"), outcome)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

/// What an algorithm may need.
struct Wishes(sys::cublasLtMatmulPreference_t);

impl Wishes {
    fn new() -> Result<Self, Failure> {
        let wishes = Self(checked("preference", result::create_matmul_pref())?);
        // In the accumulators' type, if at all.
        let reductions = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_INPLACE as u32
            | sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
        wishes.set(
            Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            &(WORKSPACE_BYTES as u64),
        )?;
        wishes.set(
            Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
            &reductions,
        )?;
        Ok(wishes)
    }

    fn set<T>(&self, what: Preference, value: &T) -> Result<(), Failure> {
        // SAFETY: the preference is alive, and the value has the size that is given.
        let outcome = unsafe {
            result::set_matmul_pref_attribute(
                self.0,
                what,
                ptr::from_ref(value).cast(),
                size_of::<T>(),
            )
        };
        checked(&format!("{what:?}"), outcome)
    }
}

impl Drop for Wishes {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

/// All that a call needs.
struct Plan {
    version: usize,
    task: Task,
    /// The library's A, B and C: our B, A and C.
    layouts: [Layout; 3],
    found: sys::cublasLtMatmulHeuristicResult_t,
    workspace: DeviceMemory,
    kind: Kind,
    // After what was made with it: fields are dropped in this order.
    handle: Handle,
}

impl Plan {
    fn new(request: &Request, addresses: &[u64]) -> Result<Self, Failure> {
        let version = version()?;
        let matrices = &request.matrices;
        let Matrices { shape, kind, .. } = *matrices;
        let Shape { batch, m, n, k } = shape;
        let handle = Handle(checked("start", result::create_handle())?);
        let task = Task::new(kind)?;
        // Our rows are its columns.
        let sides = |is_turned, a, b| if is_turned { (b, a) } else { (a, b) };
        let of_b = sides(request.is_b_turned, n, k);
        let of_a = sides(request.is_a_turned, k, m);
        let layouts = [
            Layout::new(kind.input(), batch, of_b.0, of_b.1)?,
            Layout::new(kind.input(), batch, of_a.0, of_a.1)?,
            Layout::new(kind.output(), batch, n, m)?,
        ];
        if request.is_b_turned {
            task.set(Description::CUBLASLT_MATMUL_DESC_TRANSA, &TRANSPOSED)?;
        }
        if request.is_a_turned {
            task.set(Description::CUBLASLT_MATMUL_DESC_TRANSB, &TRANSPOSED)?;
        }
        if let Some(bias) = request.bias {
            let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as u32;
            task.set(Description::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            task.set(
                Description::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                &addresses[bias],
            )?;
        }
        if let Some(scales) = matrices.scales {
            let of_a = addresses[scales];
            let of_b = of_a + size_of::<f32>() as u64;
            task.set(Description::CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &of_b)?;
            task.set(Description::CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &of_a)?;
            task.set(Description::CUBLASLT_MATMUL_DESC_FAST_ACCUM, &0_i8)?;
        }
        let wishes = Wishes::new()?;
        let [a, b, c] = layouts.each_ref().map(|layout| layout.0);
        // SAFETY: all are alive.
        let found =
            unsafe { result::get_matmul_algo_heuristic(handle.0, task.0, a, b, c, c, wishes.0) };
        let found = checked(&format!("{m} by {n} by {k} of {}", kind.name()), found)?;
        let workspace = DeviceMemory::new(found.workspaceSize)?;
        Ok(Self {
            version,
            task,
            layouts,
            found,
            workspace,
            kind,
            handle,
        })
    }

    fn enqueue(&self, cuda: &Cuda, request: &Request, addresses: &[u64]) -> Result<(), Failure> {
        let matrices = &request.matrices;
        let floats = [1.0_f32, f32::from(u8::from(request.adds))];
        let integers = [1_i32, 0];
        let [one, old]: [*const c_void; 2] = match self.kind {
            Kind::I8 => integers.each_ref().map(|x| ptr::from_ref(x).cast()),
            _ => floats.each_ref().map(|x| ptr::from_ref(x).cast()),
        };
        let [a, b, c] = self.layouts.each_ref().map(|layout| layout.0);
        let pointer =
            |buffer: usize| ptr::without_provenance_mut::<c_void>(addresses[buffer] as usize);
        let product = pointer(matrices.c);
        // SAFETY: everything is alive; the addresses are those of buffers on the device that are as large as their
        // layouts say, and the factors are read before the call returns.
        let outcome = unsafe {
            result::matmul(
                self.handle.0,
                self.task.0,
                one,
                old,
                pointer(matrices.b),
                a,
                pointer(matrices.a),
                b,
                product,
                c,
                product,
                c,
                &raw const self.found.algo,
                ptr::without_provenance_mut(self.workspace.address() as usize),
                self.workspace.bytes(),
                cuda.stream().raw().cast(),
            )
        };
        checked("multiplication", outcome)
    }

    /// The library's version, and what it chose.
    fn facts(&self) -> BTreeMap<String, String> {
        let version = self.version;
        let (major, minor, patch) = (version / 10_000, version / 100 % 100, version % 100);
        let settings = [
            ("algorithm", Config::CUBLASLT_ALGO_CONFIG_ID),
            ("tile", Config::CUBLASLT_ALGO_CONFIG_TILE_ID),
            ("stages", Config::CUBLASLT_ALGO_CONFIG_STAGES_ID),
            ("cluster", Config::CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID),
            ("split of k", Config::CUBLASLT_ALGO_CONFIG_SPLITK_NUM),
            ("custom option", Config::CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION),
        ];
        let settings = settings
            .into_iter()
            .filter_map(|(name, which)| Some(format!("{name} {}", self.setting(which)?)));
        let settings: Vec<_> = settings.collect();
        let algorithm = format!(
            "{}, workspace {} B, {} waves",
            settings.join(", "),
            self.found.workspaceSize,
            self.found.wavesCount
        );
        BTreeMap::from([
            ("cublaslt".into(), format!("{major}.{minor}.{patch}")),
            ("cublaslt algorithm".into(), algorithm),
        ])
    }

    /// One setting of the algorithm, of those that are 32 bits or fewer; `None` where it has no such.
    fn setting(&self, which: Config) -> Option<u32> {
        let mut value = 0_u32;
        let mut written = 0;
        // SAFETY: as much room as is said, and both pointers are valid for the call.
        let outcome = unsafe {
            sys::cublasLtMatmulAlgoConfigGetAttribute(
                &raw const self.found.algo,
                which,
                (&raw mut value).cast(),
                size_of::<u32>(),
                &raw mut written,
            )
        };
        if outcome.result().is_ok() {
            return Some(value);
        }
        let mut short = 0_u16;
        // SAFETY: as above; some settings have 16 bits.
        let outcome = unsafe {
            sys::cublasLtMatmulAlgoConfigGetAttribute(
                &raw const self.found.algo,
                which,
                (&raw mut short).cast(),
                size_of::<u16>(),
                &raw mut written,
            )
        };
        outcome.result().ok().map(|()| short.into())
    }
}
