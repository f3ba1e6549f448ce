//! Processes that the kernel ended for want of memory. It counts them, and tells nobody else why a process is gone.

use std::fs;

/// How many the kernel has ended so far, of any user and in any container; `None` where it does not say.
pub fn oom_kills() -> Option<u64> {
    parse(&fs::read_to_string("/proc/vmstat").ok()?)
}

/// Whether there were more since a count was taken.
pub fn more_oom_kills(before: Option<u64>) -> bool {
    matches!((before, oom_kills()), (Some(before), Some(now)) if now > before)
}

fn parse(vmstat: &str) -> Option<u64> {
    let mut lines = vmstat.lines();
    lines
        .find_map(|line| line.strip_prefix("oom_kill "))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{more_oom_kills, parse};

    #[test]
    fn the_kernel_counts_what_it_ends() {
        assert_eq!(parse("pgfault 7\noom_kill 3\nnuma_hit 1\n"), Some(3));
        assert_eq!(parse("pgfault 7\n"), None);
        assert!(!more_oom_kills(None) && !more_oom_kills(Some(u64::MAX)));
    }
}
