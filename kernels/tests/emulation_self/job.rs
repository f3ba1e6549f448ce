//! Jobs as text, and what comes back.

use std::fmt::Write as _;
use std::path::Path;

use super::programs;

pub const ORDERS: [&str; 3] = ["forward", "reverse", "shuffled"];

/// A launch in a job.
pub struct Launch<'a> {
    pub kernel: &'a str,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    /// Each as the job has it: `buffer 0 0`, `u32 7`.
    pub arguments: &'a [&'a str],
}

impl<'a> Launch<'a> {
    /// Some blocks of some threads in one dimension.
    pub const fn new(kernel: &'a str, blocks: u32, threads: u32, arguments: &'a [&'a str]) -> Self {
        Self {
            kernel,
            grid: [blocks, 1, 1],
            block: [threads, 1, 1],
            shared_bytes: 0,
            arguments,
        }
    }

    pub const fn shared(self, shared_bytes: u32) -> Self {
        Self {
            shared_bytes,
            ..self
        }
    }

    fn text(&self) -> String {
        let [gx, gy, gz] = self.grid;
        let [bx, by, bz] = self.block;
        let mut text = format!(
            "launch {gx} {gy} {gz} {bx} {by} {bz} {} {} {}\n",
            self.shared_bytes,
            self.arguments.len(),
            self.kernel
        );
        for argument in self.arguments {
            let _ = writeln!(text, "{argument}");
        }
        text
    }
}

/// Why a job gave no result.
#[derive(Debug)]
pub struct Failed {
    pub code: Option<i32>,
    pub words: String,
}

/// The bytes of a job.
pub fn job(order: &str, buffers: &[Vec<u8>], steps: &[String]) -> Vec<u8> {
    let mut text = format!("job {order} 7 {} {}\n", buffers.len(), steps.len());
    for buffer in buffers {
        let _ = writeln!(text, "buffer {}", buffer.len());
    }
    text.extend(steps.iter().map(String::as_str));
    let mut bytes = text.into_bytes();
    bytes.extend(buffers.iter().flatten());
    bytes
}

/// Runs one launch in a fresh process; gives the buffers afterwards.
pub fn launch(
    program: &Path,
    order: &str,
    buffers: &[Vec<u8>],
    launch: &Launch<'_>,
) -> Result<Vec<Vec<u8>>, Failed> {
    let output = programs::run(program, &[], &job(order, buffers, &[launch.text()]));
    if !output.status.success() {
        return Err(Failed {
            code: output.status.code(),
            words: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let mut rest = output.stdout.strip_prefix(b"done\n").expect("`done`");
    let mut results = vec![];
    for buffer in buffers {
        let (now, later) = rest.split_at(buffer.len());
        results.push(now.to_vec());
        rest = later;
    }
    assert!(rest.is_empty());
    Ok(results)
}

/// The words of some `u32`, and back.
pub fn bytes(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

pub fn words(bytes: &[u8]) -> Vec<u32> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks
        .iter()
        .map(|chunk| u32::from_le_bytes(*chunk))
        .collect()
}
