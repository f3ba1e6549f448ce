//! Kernels of the user's own, on the emulated driver.

use std::fs;
use std::path::Path;

use assay_protocol::kernel::{
    BufferFill, BufferRole, KernelArg, KernelBuffer, KernelCheck, KernelLaunch,
};
use assay_protocol::{Bound, CaseSpec, Digest, KernelSpec, Reply, Request, TimingMode, Work};

use super::emulated;
use super::worker::Worker;
use crate::{CHUNK, MODES, cuda_case, reason, run, run_right};

fn buffer(name: &str, dtype: &str, len: u64, role: BufferRole, fill: BufferFill) -> KernelBuffer {
    KernelBuffer {
        name: name.into(),
        dtype: dtype.into(),
        len,
        role,
        fill,
    }
}

fn launch(kernel: &str, blocks: u32, shared_bytes: u32, args: Vec<KernelArg>) -> KernelLaunch {
    KernelLaunch {
        kernel: kernel.into(),
        grid: [blocks, 1, 1],
        block: [128, 1, 1],
        shared_bytes,
        args,
    }
}

fn named(name: &str) -> KernelArg {
    KernelArg::Buffer(name.into())
}

fn user_case(
    file: &Path,
    buffers: Vec<KernelBuffer>,
    launch: KernelLaunch,
    check: KernelCheck,
    timing: TimingMode,
) -> CaseSpec {
    let spec = KernelSpec {
        file: file.display().to_string(),
        buffers,
        launch,
        work: Work::default(),
        bound: Bound::default(),
        deterministic: true,
        check,
    };
    CaseSpec {
        kernel: Some(Box::new(spec)),
        ..cuda_case("kernel", &[], timing)
    }
}

/// The user's source in a file.
fn user_file(folder: &Path) -> std::path::PathBuf {
    let file = folder.join("user.cu");
    fs::write(&file, emulated::USER_SOURCE).unwrap();
    file
}

const N: u64 = 1000;

/// `out = y + 0.5 x` in f16, checked in some way.
fn half_case(file: &Path, check: KernelCheck, timing: TimingMode) -> CaseSpec {
    let buffers = vec![
        buffer("y", "f16", N, BufferRole::Input, BufferFill::Random),
        buffer("x", "f16", N, BufferRole::Input, BufferFill::Unit),
        buffer("out", "f16", N, BufferRole::Output, BufferFill::Zero),
    ];
    let args = vec![
        named("out"),
        named("y"),
        named("x"),
        KernelArg::F32(0.5),
        KernelArg::U64(N.into()),
    ];
    user_case(
        file,
        buffers,
        launch("half_axpy", 8, 0, args),
        check,
        timing,
    )
}

/// `y = y + a x` in f32, against a reference kernel with a factor of its own.
fn axpy_case(file: &Path, factor: f32, timing: TimingMode) -> CaseSpec {
    let buffers = vec![
        buffer("x", "f32", N, BufferRole::Input, BufferFill::Random),
        buffer("y", "f32", N, BufferRole::InOut, BufferFill::Random),
    ];
    let size = KernelArg::U64(N.into());
    // The reference changes its own copy of `y`, by as much.
    let reference = launch(
        "axpy<float>",
        8,
        0,
        vec![named("y"), named("x"), KernelArg::F32(factor), size.clone()],
    );
    let check = KernelCheck::Reference {
        launch: reference,
        tolerance: 1e-6,
    };
    let own = launch(
        "axpy<float>",
        8,
        0,
        vec![named("y"), named("x"), KernelArg::F32(0.25), size],
    );
    user_case(file, buffers, own, check, timing)
}

fn expression(text: &str) -> KernelCheck {
    KernelCheck::Expression {
        buffer: "out".into(),
        expression: text.into(),
        tolerance: 1e-3,
    }
}

#[test]
fn kernels_of_the_users_own_are_checked_in_three_ways() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let own = tempfile::tempdir().unwrap();
    let file = user_file(own.path());
    let mut worker = Worker::start(folder, &[]);
    for timing in MODES {
        let ran = run_right(
            &mut worker,
            half_case(&file, expression("y + x / 2"), timing),
        )
        .unwrap();
        assert!(
            ran.verification.error.is_some_and(|error| error > 0.0),
            "{ran:?}"
        );
        let digest = ran.verification.output.unwrap();
        run_right(
            &mut worker,
            half_case(&file, KernelCheck::Digest(digest), timing),
        )
        .unwrap();
        run_right(&mut worker, axpy_case(&file, 0.25, timing)).unwrap();

        let wrong = [
            half_case(&file, expression("y + x / 3"), timing),
            half_case(&file, KernelCheck::Digest(Digest::of("another")), timing),
            axpy_case(&file, 0.26, timing),
        ];
        for case in wrong {
            let check = case.kernel.as_ref().unwrap().check.clone();
            let ran = run(&mut worker, case, CHUNK).unwrap();
            assert!(!ran.verification.passed, "{check:?}: {ran:?}");
        }
    }
}

#[test]
fn a_users_kernel_has_shared_memory_and_every_kind_of_argument() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let own = tempfile::tempdir().unwrap();
    let file = user_file(own.path());
    let mut worker = Worker::start(folder, &[]);
    let case = |shared_bytes| {
        let args = vec![
            named("out"),
            KernelArg::I32(7),
            KernelArg::F64(3.0),
            KernelArg::U32(N as u32),
        ];
        user_case(
            &file,
            vec![buffer(
                "out",
                "u32",
                N,
                BufferRole::Output,
                BufferFill::Zero,
            )],
            launch("count_up", 8, shared_bytes, args),
            expression("3 * i + 7"),
            TimingMode::Hot,
        )
    };
    // Beyond what a kernel may have without asking, too.
    for shared_bytes in [512, 100 << 10] {
        run_right(&mut worker, case(shared_bytes)).unwrap();
    }
    let (_, end) = worker.ask(&Request::Prepare {
        case: case(1 << 20),
    });
    assert!(
        matches!(&end, Reply::Skipped { reason } if reason.contains("shared memory")),
        "{end:?}"
    );
}

#[test]
fn a_users_source_that_does_not_compile_is_told_with_its_line() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("broken.cu");
    fs::write(
        &file,
        "#include \"common/cuda.cuh\"\n\n__global__ void half_axpy() { int x = ; }\n",
    )
    .unwrap();
    let mut worker = Worker::start(folder, &[]);
    let (_, end) = worker.ask(&Request::Prepare {
        case: half_case(&file, expression("y"), TimingMode::Hot),
    });
    assert!(matches!(end, Reply::Failed { .. }), "{end:?}");
    assert!(
        reason(&end).contains("broken.cu(3): error"),
        "{}",
        reason(&end)
    );
    // A kernel that the source lacks.
    fs::write(&file, "__global__ void other() {}\n").unwrap();
    let (_, end) = worker.ask(&Request::Prepare {
        case: half_case(&file, expression("y"), TimingMode::Hot),
    });
    assert!(reason(&end).contains("half_axpy"), "{}", reason(&end));
}

/// `out = 2 x` in u32, as one of the kernels would have it.
fn words_case(file: &Path, kernel: &str, role: BufferRole, check: KernelCheck) -> CaseSpec {
    let buffers = vec![
        buffer("out", "u32", N, role, BufferFill::Random),
        buffer("x", "u32", N, BufferRole::Input, BufferFill::Random),
    ];
    let own = launch(kernel, 8, 0, words_args());
    user_case(file, buffers, own, check, TimingMode::Hot)
}

fn words_args() -> Vec<KernelArg> {
    vec![named("out"), named("x"), KernelArg::U64(N.into())]
}

fn idle_reference() -> KernelCheck {
    KernelCheck::Reference {
        launch: launch("idle", 8, 0, words_args()),
        tolerance: 1e-6,
    }
}

#[test]
fn a_check_of_nothing_is_refused() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let own = tempfile::tempdir().unwrap();
    let file = user_file(own.path());
    let mut worker = Worker::start(folder, &[]);
    let of_input = KernelCheck::Expression {
        buffer: "x".into(),
        expression: "x".into(),
        tolerance: 0.0,
    };
    for (case, words) in [
        (
            words_case(&file, "idle", BufferRole::Input, idle_reference()),
            "no buffer has the role `output` or `in_out`",
        ),
        (
            words_case(&file, "idle", BufferRole::Output, of_input),
            "the check's buffer `x` has neither the role `output` nor `in_out`",
        ),
    ] {
        let (_, end) = worker.ask(&Request::Prepare { case });
        assert!(matches!(end, Reply::Failed { .. }), "{end:?}");
        assert!(reason(&end).contains(words), "{}", reason(&end));
    }
}

#[test]
fn kernels_that_do_nothing_or_change_what_they_read_fail() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let own = tempfile::tempdir().unwrap();
    let file = user_file(own.path());
    let mut worker = Worker::start(folder, &[]);
    let twice = KernelCheck::Expression {
        buffer: "out".into(),
        expression: "2 * x".into(),
        tolerance: 1e-6,
    };
    for (case, words) in [
        // Both kernels leave what was there before.
        (
            words_case(&file, "idle", BufferRole::Output, idle_reference()),
            "largest difference from the reference kernel",
        ),
        (
            words_case(&file, "idle", BufferRole::InOut, idle_reference()),
            "the reference kernel changed nothing",
        ),
        (
            words_case(&file, "wipe", BufferRole::Output, twice),
            "input `x` was changed",
        ),
    ] {
        let ran = run(&mut worker, case, CHUNK).unwrap().verification;
        assert!(
            !ran.passed && ran.detail.contains(words),
            "{words}: {ran:?}"
        );
    }
}

#[test]
fn arguments_that_are_not_the_kernels_are_refused() {
    let Some(folder) = emulated::driver() else {
        return;
    };
    let own = tempfile::tempdir().unwrap();
    let file = user_file(own.path());
    let mut worker = Worker::start(folder, &[]);
    let case = |change: &dyn Fn(&mut Vec<KernelArg>)| {
        let mut case = half_case(&file, expression("y + x / 2"), TimingMode::Hot);
        change(&mut case.kernel.as_mut().unwrap().launch.args);
        case
    };
    let given = [
        (case(&|args| args.truncate(2)), "2 of 8, 8 bytes"),
        (
            case(&|args| args.push(KernelArg::U64(5.into()))),
            "6 of 8, 8, 8, 4, 8, 8 bytes",
        ),
        (case(&|args| args.swap(3, 4)), "5 of 8, 8, 8, 8, 4 bytes"),
        (case(&Vec::clear), "none"),
    ];
    for (case, words) in given {
        let (_, end) = worker.ask(&Request::Prepare { case });
        let expected = format!(
            "kernel `half_axpy`: its parameters are 5 of 8, 8, 8, 4, 8 bytes; the launch's arguments are {words}"
        );
        assert!(matches!(end, Reply::Failed { .. }), "{end:?}");
        assert!(reason(&end).contains(&expected), "{}", reason(&end));
    }
    // The worker is none the worse for it.
    run_right(&mut worker, case(&|_| {})).unwrap();
}
