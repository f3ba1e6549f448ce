//! What this process may use: CPU time, CPUs and memory, as its control groups limit them.
//!
//! A limit of any group above counts too, so the tightest one on the way to the root is taken.
//! Version 2 and version 1 (and both at once) are read.

use std::path::{Path, PathBuf};

use super::Machine;
use crate::parts::Parts;
use crate::reading::{Gap, Reading, decimal, number};
use crate::roots::Roots;

const MOUNT: &str = "/sys/fs/cgroup";
/// Version 1 writes "no limit" as the largest multiple of a page.
const NO_LIMIT_V1: i64 = 1 << 60;

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let roots = machine.roots;
    let groups = roots.read("/proc/self/cgroup");
    let unified = roots.exists("/sys/fs/cgroup/cgroup.controllers");
    let group = groups.map(|text| Groups {
        roots,
        text,
        unified,
    });
    let sheet = &mut parts.settings;
    sheet.put(
        "cgroup.version",
        group
            .as_ref()
            .map(|_| if unified { "v2" } else { "v1" })
            .map_err(Clone::clone),
    );
    sheet.put(
        "cgroup.cpu_limit",
        group
            .as_ref()
            .map_err(Clone::clone)
            .and_then(Groups::cpu_limit),
    );
    sheet.put(
        "cgroup.memory_limit_mib",
        group
            .as_ref()
            .map_err(Clone::clone)
            .and_then(Groups::memory_limit),
    );
    sheet.put(
        "cgroup.cpus",
        group.as_ref().map_err(Clone::clone).and_then(Groups::cpus),
    );
    parts.volatile.put(
        "cgroup.throttled_periods",
        group
            .as_ref()
            .map_err(Clone::clone)
            .and_then(Groups::throttled),
    );
}

/// The control groups of this process.
struct Groups<'a> {
    roots: &'a Roots,
    /// `/proc/self/cgroup`.
    text: String,
    unified: bool,
}

impl Groups<'_> {
    /// Folders of a controller, from this process's group to the root.
    fn folders(&self, controller: &str) -> Vec<PathBuf> {
        let mount = if self.unified {
            PathBuf::from(MOUNT)
        } else {
            Path::new(MOUNT).join(controller)
        };
        let path = self
            .group_path(controller)
            .unwrap_or("/")
            .trim_start_matches('/');
        let inside = mount.join(path);
        let own = if path.split('/').any(|part| part == "..") {
            mount.clone()
        } else {
            inside
        };
        own.ancestors()
            .take_while(|folder| folder.starts_with(&mount))
            .map(Path::to_path_buf)
            .collect()
    }

    fn group_path(&self, controller: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let ours = if self.unified {
                controllers.is_empty()
            } else {
                controllers.split(',').any(|c| c == controller)
            };
            ours.then_some(path)
        })
    }

    /// The tightest limit of a file over a controller's folders; `None` if there is no limit.
    fn tightest(
        &self,
        controller: &str,
        limit: impl Fn(&Path) -> Reading<Option<f64>>,
    ) -> Reading<Option<f64>> {
        let mut tightest: Option<f64> = None;
        let mut gap = Some(Gap::Unsupported);
        for folder in self.folders(controller) {
            match limit(&folder) {
                Ok(value) => {
                    gap = None;
                    tightest = value.into_iter().chain(tightest).reduce(f64::min);
                }
                // The root group of version 2 has no limits at all.
                Err(Gap::Unsupported) => {}
                Err(other) => return Err(other),
            }
        }
        // No group offers the file: unlimited if the controller is the kernel's at all.
        match gap {
            Some(gap) if !self.roots.exists(MOUNT) => Err(gap),
            _ => Ok(tightest),
        }
    }

    /// CPUs' worth of time per time, or `none`.
    fn cpu_limit(&self) -> Reading<String> {
        let limit = if self.unified {
            self.tightest("cpu", |folder| {
                cpu_max(&self.roots.read(folder.join("cpu.max"))?)
            })
        } else {
            self.tightest("cpu", |folder| {
                let quota = self.roots.number(folder.join("cpu.cfs_quota_us"))?;
                let period = self.roots.number(folder.join("cpu.cfs_period_us"))?;
                Ok((quota > 0 && period > 0).then(|| quota as f64 / period as f64))
            })
        };
        limit.map(|limit| limit.map_or_else(|| "none".to_owned(), |cpus| cpus.to_string()))
    }

    fn memory_limit(&self) -> Reading<String> {
        let file = if self.unified {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        let limit = self.tightest("memory", |folder| {
            let text = self.roots.read(folder.join(file))?;
            if text == "max" {
                return Ok(None);
            }
            let bytes = number(&text)?;
            Ok((bytes < NO_LIMIT_V1).then_some(bytes as f64))
        });
        limit.map(|limit| {
            limit.map_or_else(
                || "none".to_owned(),
                |bytes| format!("{:.0}", bytes / f64::from(1 << 20)),
            )
        })
    }

    /// The CPUs that this process's group may run on.
    fn cpus(&self) -> Reading<String> {
        let names = [
            "cpuset.cpus.effective",
            "cpuset.effective_cpus",
            "cpuset.cpus",
        ];
        let candidates = self
            .folders("cpuset")
            .into_iter()
            .flat_map(|folder| names.map(|name| folder.join(name)));
        candidates
            .into_iter()
            .find_map(|file| self.roots.read(file).ok())
            .ok_or(Gap::Unsupported)
    }

    /// How often the group had used up its time.
    fn throttled(&self) -> Reading<i64> {
        let folder = self
            .folders("cpu")
            .into_iter()
            .next()
            .ok_or(Gap::Unsupported)?;
        let text = self.roots.read(folder.join("cpu.stat"))?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("nr_throttled "));
        value.ok_or(Gap::Unsupported).and_then(number)
    }
}

/// `max 100000`, or `150000 100000` for one and a half CPUs.
fn cpu_max(text: &str) -> Reading<Option<f64>> {
    let (quota, period) = text.split_once(' ').unwrap_or((text, "100000"));
    if quota == "max" {
        return Ok(None);
    }
    let (quota, period) = (decimal(quota)?, decimal(period)?);
    if quota > 0.0 && period > 0.0 {
        Ok(Some(quota / period))
    } else {
        Err(Gap::Error(format!(
            "`{}` is not a limit",
            crate::reading::excerpt(text)
        )))
    }
}
