//! What some processes used of the machine: the part of its work that is our own.

use std::time::Duration;

use crate::roots::Roots;

/// Most processes that are looked at.
const MOST: usize = 1000;
/// `/proc` counts CPU time in these, whatever the kernel's own clock does.
pub(super) const TICKS_PER_SECOND: u64 = 100;

/// What processes have used since they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// CPU time, in ticks of 1/100 s.
    pub cpu_ticks: u64,
    /// How often the kernel took a CPU from one of their threads that wanted to go on.
    pub involuntary_switches: u64,
}

impl ProcessUse {
    /// Of one process alone; `None` where it cannot be read.
    pub fn of_process(roots: &Roots, pid: u32) -> Option<Self> {
        let [user, system, ..] = times(roots, pid)?;
        Some(Self {
            cpu_ticks: user + system,
            ..Self::default()
        })
    }

    /// Of a process, its living descendants, and those that they waited for; `None` where it cannot be read.
    pub fn of_tree(roots: &Roots, pid: u32) -> Option<Self> {
        let mut found = Self {
            cpu_ticks: times(roots, pid)?.iter().sum(),
            ..Self::default()
        };
        for (place, pid) in descendants(roots, pid).into_iter().enumerate() {
            if place > 0 {
                // One that has just ended counts no more.
                found.cpu_ticks += times(roots, pid).map_or(0, |times| times.iter().sum());
            }
            for task in tasks(roots, pid) {
                found.involuntary_switches += switches(roots, &task).unwrap_or(0);
            }
        }
        Some(found)
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            cpu_ticks: self.cpu_ticks + other.cpu_ticks,
            involuntary_switches: self.involuntary_switches + other.involuntary_switches,
        }
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let since = |now: u64, then: u64| now.saturating_sub(then);
        Self {
            cpu_ticks: since(self.cpu_ticks, earlier.cpu_ticks),
            involuntary_switches: since(self.involuntary_switches, earlier.involuntary_switches),
        }
    }

    /// The CPU time.
    pub fn cpu(&self) -> Duration {
        Duration::from_millis(self.cpu_ticks * 1000 / TICKS_PER_SECOND)
    }

    /// By name, as a record has them.
    pub fn values(&self) -> [(String, f64); 2] {
        [
            ("own_ticks".to_owned(), self.cpu_ticks as f64),
            (
                "own_involuntary_switches".to_owned(),
                self.involuntary_switches as f64,
            ),
        ]
    }
}

/// A process, first, and its living descendants.
pub(crate) fn descendants(roots: &Roots, pid: u32) -> Vec<u32> {
    let (mut due, mut found) = (vec![pid], Vec::new());
    while let Some(pid) = due.pop().filter(|_| found.len() < MOST) {
        found.push(pid);
        for task in tasks(roots, pid) {
            let children = roots.read(format!("{task}/children")).unwrap_or_default();
            let ids = children.split_whitespace();
            due.extend(ids.filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    found
}

/// The folders of a process's threads.
fn tasks(roots: &Roots, pid: u32) -> Vec<String> {
    let folder = format!("/proc/{pid}/task");
    let tasks = roots.list(&folder).unwrap_or_default();
    let path = |task: &String| format!("{folder}/{task}");
    tasks.iter().map(path).collect()
}

/// User and system time of a process, and both of the children that it waited for: fields 14 to 17 of `stat`.
fn times(roots: &Roots, pid: u32) -> Option<[u64; 4]> {
    let stat = roots.read(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in parentheses, and may hold spaces and parentheses itself.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse().ok();
    Some([next()?, next()?, next()?, next()?])
}

fn switches(roots: &Roots, task: &str) -> Option<u64> {
    let status = roots.read(format!("{task}/status")).ok()?;
    let line = |line: &'_ str| {
        line.strip_prefix("nonvoluntary_ctxt_switches:")
            .map(str::to_owned)
    };
    status.lines().find_map(line)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::ProcessUse;
    use crate::roots::Roots;

    fn process(root: &Path, pid: u32, times: &str, children: &str) {
        let task = root.join(format!("proc/{pid}/task/{pid}"));
        fs::create_dir_all(&task).unwrap();
        let stat = format!("{pid} (a ) b) S 1 {pid} {pid} 0 -1 4194560 100 0 0 0 {times} 20 0 1");
        fs::write(root.join(format!("proc/{pid}/stat")), stat).unwrap();
        fs::write(task.join("children"), children).unwrap();
        fs::write(
            task.join("status"),
            "Name:\tx\nnonvoluntary_ctxt_switches:\t7\n",
        )
        .unwrap();
    }

    #[test]
    fn a_tree_counts_the_living_and_those_that_were_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::at(folder.path());
        process(folder.path(), 10, "100 20 3 4", "11 12");
        process(folder.path(), 11, "1000 200 30 40", "");
        assert_eq!(ProcessUse::of_process(&roots, 10).unwrap().cpu_ticks, 120);
        let tree = ProcessUse::of_tree(&roots, 10).unwrap();
        assert_eq!(tree.cpu_ticks, 127 + 1270, "12 has just ended");
        assert_eq!(tree.involuntary_switches, 14);
        assert_eq!(ProcessUse::of_tree(&roots, 13), None);
        assert_eq!(
            ProcessUse::of_process(&roots, 10)
                .unwrap()
                .since(&tree)
                .cpu_ticks,
            0
        );
    }

    #[test]
    fn rubbish_is_no_process() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::at(folder.path());
        process(folder.path(), 10, "-1 x", "");
        assert_eq!(ProcessUse::of_tree(&roots, 10), None);
    }
}
