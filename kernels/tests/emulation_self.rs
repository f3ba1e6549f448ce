//! The emulation of CUDA sources itself, on small kernels of its own (`kernels/emulation/tests`): that right kernels are
//! right in every order of threads, that wrong ones are found out, that jobs are read strictly; and the emulated driver.

mod emulation_self {
    pub mod faults;
    pub mod job;
    pub mod programs;
}

use std::path::Path;
use std::process::Command;

use emulation_self::faults::{FAULTS, Fault, RACES, REFUSED};
use emulation_self::job::{Failed, Launch, ORDERS, bytes, job, launch, words};
use emulation_self::programs::{self, compiled, serving, watching};

/// Runs a launch in every order, all of which must give the same; gives that.
fn in_every_order(program: &Path, buffers: &[Vec<u8>], kernel: &Launch<'_>) -> Vec<Vec<u8>> {
    let [first, second, third] =
        ORDERS.map(|order| launch(program, order, buffers, kernel).unwrap());
    assert_eq!(first, second, "{}", kernel.kernel);
    assert_eq!(first, third, "{}", kernel.kernel);
    first
}

#[test]
fn reductions_and_transposes_are_right() {
    let Some(program) = serving("sound") else {
        return;
    };
    let numbers: Vec<u32> = (0..70_001_u32)
        .map(|n| ((n % 100) as f32).to_bits())
        .collect();
    let expected: f64 = (0..70_001).map(|n| f64::from(n % 100)).sum();
    let arguments = ["buffer 0 0", "buffer 1 0", "u64 70001"];
    let sums = in_every_order(
        &program,
        &[bytes(numbers), bytes([0; 7])],
        &Launch::new("block_sums", 7, 256, &arguments),
    );
    let sum: f64 = words(&sums[1])
        .into_iter()
        .map(|bits| f64::from(f32::from_bits(bits)))
        .sum();
    assert!((sum - expected).abs() < 1e-9, "{sum} {expected}");

    let (columns, rows) = (37_u32, 50_u32);
    let transposed = in_every_order(
        &program,
        &[bytes(0..columns * rows), bytes(vec![0; 37 * 50])],
        &Launch {
            kernel: "transpose<unsigned int, 16>",
            grid: [3, 4, 1],
            block: [16, 16, 1],
            shared_bytes: 0,
            arguments: &["buffer 0 0", "buffer 1 0", "u32 37", "u32 50"],
        },
    );
    let expected = (0..columns * rows).map(|place| place % rows * columns + place / rows);
    assert_eq!(transposed[1], bytes(expected));
}

#[test]
fn atomics_and_dynamic_shared_memory_are_right() {
    let Some(program) = serving("sound") else {
        return;
    };
    let input: Vec<u8> = (0..5000_u32).map(|n| (n * n % 251) as u8).collect();
    let mut expected = [0; 256];
    for byte in &input {
        expected[usize::from(*byte)] += 1;
    }
    let arguments = ["buffer 0 0", "buffer 1 0", "u64 5000"];
    let kernel = Launch::new("histogram", 3, 96, &arguments).shared(1024);
    let counted = in_every_order(&program, &[input, bytes([0; 256])], &kernel);
    assert_eq!(words(&counted[1]), expected);

    let arguments = [
        "buffer 0 0",
        "buffer 1 0",
        "buffer 2 0",
        "buffer 3 0",
        "buffer 4 0",
    ];
    let buffers = [
        bytes([0, 9, 0, 0]),
        bytes([0, 0]),
        bytes([0]),
        vec![0; 8],
        vec![0; 8],
    ];
    let after = in_every_order(
        &program,
        &buffers,
        &Launch::new("atomics", 2, 50, &arguments),
    );
    assert_eq!(words(&after[0]), [49, 3, u32::MAX, 0]);
    assert_eq!(words(&after[1]), [-49_i32 as u32, -200_i32 as u32]);
    assert_eq!(after[2], 50_f32.to_le_bytes());
    assert_eq!(after[3], 25_f64.to_le_bytes());
    assert_eq!(after[4], (100_u64 << 32).to_le_bytes());

    // Each thread of a block waits for the lock that another holds.
    let kernel = Launch::new("locked", 2, 70, &["buffer 0 0", "buffer 1 0"]);
    let after = in_every_order(&program, &[bytes([0]), bytes([0])], &kernel);
    let expected = (0..140).fold(0_u32, |count, _| count.wrapping_mul(3).wrapping_add(1));
    assert_eq!(words(&after[1]), [expected]);
}

#[test]
fn lanes_of_whole_and_partial_warps_work_together() {
    let Some(program) = serving("sound") else {
        return;
    };
    // Two whole warps and one of 11 lanes.
    let threads = 75;
    let kernel = Launch::new("lanes", 1, threads, &["buffer 0 0"]);
    let after = in_every_order(&program, &[bytes(vec![0; 75 * 8])], &kernel);
    for (thread, row) in words(&after[0]).chunks(8).enumerate() {
        let lanes = if thread < 64 { 32 } else { 11 };
        let lane = thread as u32 % 32;
        let mask = |condition: &dyn Fn(u32) -> bool| {
            (0..lanes)
                .filter(|lane| condition(*lane))
                .fold(0, |mask, lane| mask | 1_u32 << lane)
        };
        let garbage = 0xFFF5_A3C7;
        let half = (0..lanes).filter(|other| (*other < 16) == (lane < 16));
        let expected = [
            mask(&|other| other % 3 == 0),
            mask(&|other| other / 5 == lane / 5),
            if lane.is_multiple_of(8) {
                lane
            } else {
                lane - 1
            },
            if lane ^ 1 < lanes { lane ^ 1 } else { garbage },
            (lanes as i32 - 101) as u32,
            3,
            mask(&|_| true),
            half.map(|other| if other < 16 { other } else { 2 * other })
                .sum(),
        ];
        assert_eq!(row, expected, "thread {thread}");
    }

    let scanned = in_every_order(
        &program,
        &[bytes(1..=32), bytes([0; 32])],
        &Launch::new("warp_scan", 1, 32, &["buffer 0 0", "buffer 1 0"]),
    );
    assert_eq!(scanned[1], bytes((1..=32).map(|n| n * (n + 1) / 2)));
}

#[test]
fn blocks_in_three_dimensions_vectors_and_every_kind_of_argument_are_right() {
    let Some(program) = serving("sound") else {
        return;
    };
    let kernel = Launch {
        kernel: "barriers",
        grid: [2, 3, 2],
        block: [3, 5, 2],
        shared_bytes: 0,
        arguments: &["buffer 0 0"],
    };
    let after = in_every_order(&program, &[bytes([0; 12])], &kernel);
    assert_eq!(words(&after[0]), [10 << 8 | 1 << 4; 12]);

    let kernel = Launch::new("vectors", 2, 4, &["buffer 0 16", "buffer 1 0", "u32 5"]);
    let after = in_every_order(&program, &[bytes(0..24), bytes([0; 20])], &kernel);
    assert_eq!(after[1], bytes((0..20).map(|n| 4 + n / 4 * 4 + 3 - n % 4)));

    let arguments = [
        "buffer 0 0",
        "i32 -7",
        "u64 9007199254740992",
        "f32 3fc00000",
        "f64 c004000000000000",
        "u32 4294967295",
    ];
    let after = in_every_order(
        &program,
        &[vec![0; 40]],
        &Launch::new("scalars", 1, 1, &arguments),
    );
    let expected: Vec<u8> = [
        -7.0,
        9_007_199_254_740_992.0,
        1.5,
        -2.5,
        4_294_967_295.0_f64,
    ]
    .iter()
    .flat_map(|number| number.to_le_bytes())
    .collect();
    assert_eq!(after[0], expected);
}

#[test]
fn missing_barriers_races_and_stale_memory_change_results() {
    let Some(program) = serving("faults") else {
        return;
    };
    let run = |kernel: &Launch<'_>, buffers: &[Vec<u8>]| {
        ORDERS.map(|order| {
            words(
                launch(&program, order, buffers, kernel)
                    .unwrap()
                    .last()
                    .unwrap(),
            )
        })
    };
    let both = ["buffer 0 0", "buffer 1 0"];
    let buffers = [bytes(0..64), bytes([0; 64])];
    let right: Vec<u32> = (0..64).rev().collect();
    let with = run(&Launch::new("reverse_block<true>", 1, 64, &both), &buffers);
    assert!(with.iter().all(|result| *result == right));
    let without = run(&Launch::new("reverse_block<false>", 1, 64, &both), &buffers);
    assert!(without[0] != right && without[0] != without[1] && without[0] != without[2]);

    for kernel in ["racing_sum", "racing_store"] {
        let [forward, reverse, _] =
            run(&Launch::new(kernel, 1, 32, &["buffer 0 0"]), &[bytes([0])]);
        assert_ne!(forward, reverse, "{kernel}");
    }

    // Neither the zeros that memory begins with nor what the block before left.
    let stale = Launch::new("uninitialised", 3, 1, &["buffer 0 0"]).shared(8);
    for result in run(&stale, &[bytes([0; 9])]) {
        assert_eq!(result, [0xFFF5_A3C7; 9]);
    }
    let nowhere = Launch::new("shuffle_from_nowhere", 1, 4, &["buffer 0 0"]);
    for result in run(&nowhere, &[bytes([0; 4])]) {
        assert_eq!(result, [0xFFF5_A3C7; 4]);
    }
}

#[test]
fn races_are_found_even_where_no_order_shows_them() {
    let (Some(program), Some(watching_program)) = (serving("faults"), watching("faults")) else {
        return;
    };
    let buffers = [vec![0; 256], vec![0; 256]];
    for (kernel, blocks, arguments, expected) in RACES {
        for order in ORDERS {
            let racing = Launch::new(kernel, *blocks, 64, arguments);
            let Failed { code, words } =
                launch(&watching_program, order, &buffers, &racing).unwrap_err();
            assert_eq!(code, Some(2), "{kernel}: {words}");
            assert!(
                words.contains("race for ") && words.contains(expected),
                "{words}"
            );
            let places = words.matches("tests/faults.cpp:").count();
            assert_eq!(places, 2, "{words}");
        }
    }
    // A count without atomic operations is right in every order, for no thread is interrupted.
    let counting = Launch::new("plain_count", 1, 64, RACES[3].2);
    in_every_order(&program, &buffers, &counting);
    // What is ordered by barriers, or between blocks by a fence and an atomic operation, is no race.
    in_every_order(
        &watching_program,
        &buffers,
        &Launch::new("reverse_block<true>", 1, 64, RACES[0].2),
    );
    in_every_order(
        &watching_program,
        &buffers,
        &Launch::new("last_block_sums<true>", 5, 64, RACES[6].2),
    );
}

#[test]
fn kernels_without_races_pass_where_races_are_found() {
    let Some(program) = watching("sound") else {
        return;
    };
    let both = ["buffer 0 0", "buffer 1 0"];
    let buffers = [vec![0; 4096], vec![0; 4096]];
    let of_size = |count| [both[0], both[1], count];
    for kernel in [
        Launch::new("block_sums", 2, 96, &of_size("u64 1000")),
        Launch::new("histogram", 3, 96, &of_size("u64 4000")).shared(1024),
        Launch::new("lanes", 1, 75, &both[..1]),
        Launch::new("warp_scan", 1, 32, &both),
        Launch::new("vectors", 2, 64, &of_size("u32 100")),
        Launch {
            kernel: "transpose<unsigned int, 16>",
            grid: [2, 3, 1],
            block: [16, 16, 1],
            shared_bytes: 0,
            arguments: &[both[0], both[1], "u32 19", "u32 41"],
        },
    ] {
        in_every_order(&program, &buffers, &kernel);
    }
}

#[test]
fn what_cannot_be_right_ends_in_words() {
    let Some(program) = serving("faults") else {
        return;
    };
    for Fault {
        kernel,
        words_of_buffers,
        expected,
    } in FAULTS
    {
        let buffers: Vec<_> = words_of_buffers
            .iter()
            .map(|count| bytes(0..*count))
            .collect();
        for order in ["forward", "shuffled"] {
            let Failed { code, words } = launch(&program, order, &buffers, kernel).unwrap_err();
            assert!(code.is_some_and(|code| code != 0), "{}", kernel.kernel);
            // Which of the threads is told of first depends on the order.
            let told = if order == "forward" {
                expected
            } else {
                &expected[..1]
            };
            for part in told {
                assert!(
                    words.contains(part),
                    "{} {order}: {part}:\n{words}",
                    kernel.kernel
                );
            }
        }
    }
}

#[test]
fn a_kernel_without_end_is_ended() {
    let Some(program) = serving("faults") else {
        return;
    };
    let steps = ["launch 1 1 1 4 1 1 0 1 endless\nbuffer 0 0\n".to_owned()];
    let output = programs::run(
        &program,
        &[("ASSAY_EMULATION_TIMEOUT_S", "1")],
        &job("reverse", &[bytes([0])], &steps),
    );
    assert_eq!(output.status.code(), Some(3));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains("no end in sight: endless, block (0, 0, 0), thread (3, 0, 0)"),
        "{words}"
    );
}

#[test]
fn a_process_serves_one_job_after_the_other() {
    let Some(program) = serving("faults") else {
        return;
    };
    let copying = [
        "set 1 255\n".to_owned(),
        "launch 1 1 1 32 1 1 0 4 copy_beyond\nbuffer 0 4\nbuffer 1 0\nu32 2\nu32 2\n".to_owned(),
        "copy 1 0\n".to_owned(),
    ];
    let stale = ["launch 1 1 1 1 1 1 8 1 uninitialised\nbuffer 0 0\n".to_owned()];
    let mut input = job("forward", &[bytes([1, 2, 3]), bytes([0; 3])], &copying);
    input.extend(job("shuffled", &[bytes([0; 3]), vec![]], &stale));
    input.extend(job("reverse", &[], &[]));
    let output = programs::run(&program, &[], &input);
    assert!(output.status.success());
    let mut expected = b"done\n".to_vec();
    expected.extend(bytes([2, 3, u32::MAX, 2, 3, u32::MAX]));
    expected.extend(b"done\n");
    expected.extend(bytes([0xFFF5_A3C7; 3]));
    expected.extend(b"done\n");
    assert_eq!(output.stdout, expected);
}

#[test]
fn jobs_are_read_strictly() {
    let Some(program) = serving("faults") else {
        return;
    };
    for (input, expected) in REFUSED {
        let output = programs::run(&program, &[], input.as_bytes());
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{input}");
        assert!(words.contains(expected), "{input}: {words}");
    }
    // What CUDA would refuse to launch.
    for (sizes, expected) in [
        ("0 1 1 1 1 1 0", "has none"),
        ("1 65536 1 1 1 1 0", "larger than CUDA allows"),
        ("1 1 1 32 33 1 0", "larger than CUDA allows"),
        ("1 1 1 1 1 1 300000", "more than a block can have"),
    ] {
        let step = format!("launch {sizes} 1 racing_store\nbuffer 0 0\n");
        let output = programs::run(&program, &[], &job("forward", &[bytes([0])], &[step]));
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{sizes}");
        assert!(words.contains(expected), "{sizes}: {words}");
    }
}

#[test]
fn conversions_random_numbers_and_bits_are_exact() {
    let Some(program) = serving("numbers") else {
        return;
    };
    let output = programs::run(&program, &[], b"");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "passed\n");
    assert!(output.status.success());
}

#[test]
fn the_emulated_driver_does_what_a_driver_does() {
    let Some(library) = compiled("libcuda.so.1", programs::DRIVER, &["driver.cpp"]) else {
        return;
    };
    // Plugins are found beside the library; give them a folder of their own.
    let plugin = compiled("plugin.so", programs::PLUGIN, &["tests/plugin.cpp"]).unwrap();
    let program = compiled("driver", programs::PLAIN, &["tests/driver.cpp"]).unwrap();
    for (scenario, variable) in [
        ("all", None),
        ("no-device", Some(("ASSAY_EMULATED_DEVICES", "0"))),
        ("memory-limit", Some(("ASSAY_EMULATED_MEMORY", "1048576"))),
        ("failing-launch", Some(("ASSAY_EMULATED_FAIL_LAUNCH", "3"))),
        (
            "event-resolution",
            Some(("ASSAY_EMULATED_EVENT_NS", "1000000000000")),
        ),
    ] {
        let output = Command::new(&program)
            .arg(&library)
            .arg(scenario)
            .env("ASSAY_EMULATED_PLUGINS", plugin.parent().unwrap())
            .envs(variable)
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "passed\n",
            "{scenario}"
        );
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            words.contains("has the kernel _Z6absentv"),
            scenario == "all",
            "{words}"
        );
    }
}

/// All that sources share, by NVIDIA's compiler.
#[test]
fn common_sources_compile_without_warnings() {
    let nvcc = std::env::var_os("ASSAY_CUDA").map(|folder| Path::new(&folder).join("bin/nvcc"));
    let Some(nvcc) = nvcc.filter(|nvcc| nvcc.exists()) else {
        return programs::missing(
            "nvcc",
            "no CUDA toolkit: `ASSAY_CUDA` names none with bin/nvcc",
        );
    };
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("common_sources.cu");
    std::fs::write(&source, COMMON_SOURCES).unwrap();
    for architecture in ["sm_80", "sm_90a"] {
        let output = Command::new(&nvcc)
            .args([
                "-std=c++17",
                "-cubin",
                "-Werror",
                "all-warnings",
                "-o",
                "/dev/null",
                "-arch",
            ])
            .arg(architecture)
            .arg("-I")
            .arg(programs::kernels_folder().join("cuda"))
            .arg(&source)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && words.is_empty(),
            "{architecture}:\n{words}"
        );
    }
}

const COMMON_SOURCES: &str = r#"
#include "common/half.cuh"
#include "common/philox.cuh"

using namespace assay;

__global__ void narrow(const float* in, f16* half, bf16* brain, f8e4m3* small) {
    const u64 index = grid_thread();
    half[index] = f16(in[index]);
    brain[index] = bf16(in[index]);
    small[index] = f8e4m3(in[index]);
}

__global__ void common(u64* out, f16 half, bf16 brain, f8e4m3 small) {
    ASSAY_DYNAMIC_SHARED(u64, shared);
    __shared__ f16 tile[32];
    tile[threadIdx.x % 32] = half;
    shared[threadIdx.x] = globaltimer_ns() + Philox{1, 2}.word(grid_thread());
    __syncthreads();
    const float sum = float(tile[0]) + float(brain) + float(small) + signed_unit(1) + unit(below(2, 3));
    out[0] = minimum(shared[0], maximum(shared[1], ceil_div<u64>(shared[2], 3))) + to_bits(sum);
}
"#;
