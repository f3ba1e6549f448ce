//! The most memory that this process held at once, since it was last asked to watch.

use std::fs;

/// Lowers the kernel's high-water mark of the resident memory of this process to what it holds now, and says whether it could:
/// not where `/proc` cannot be written. What was held before and given back does not count then.
pub fn watch() -> bool {
    // proc(5), /proc/pid/clear_refs.
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Bytes that this process held at most since then, those of the program itself included.
pub fn peak() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kibibytes * 1024) as f64)
}

#[cfg(test)]
mod tests {
    use super::{peak, watch};

    #[test]
    fn what_was_given_back_counts_while_watched_and_not_before() {
        const LARGE: usize = 256 << 20;
        let hold = || drop(std::hint::black_box(vec![1_u8; LARGE]));
        hold();
        if !watch() {
            eprintln!("skipped: the mark cannot be lowered here");
            return;
        }
        let before = peak().unwrap();
        hold();
        let after = peak().unwrap();
        // Other tests of this process hold memory too, but hardly as much.
        assert!(after - before > 0.8 * LARGE as f64, "{before} {after}");
    }
}
