//! Caches of the first CPU, by level: size, ways, line, how many cores share one, how many there are.

use std::collections::BTreeSet;

use super::{Machine, cpu};
use crate::parts::{Parts, Sheet};
use crate::reading::{Gap, Reading, cpu_list, number};

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let first = machine.online().first().copied().unwrap_or(0);
    let folder = format!("/sys/devices/system/cpu/cpu{first}/cache");
    let indices = machine.roots.numbered(&folder, "index");
    if indices.is_empty() {
        parts
            .hardware
            .put("cache.levels", Err::<i64, _>(Gap::Unsupported));
    }
    for index in indices {
        cache(machine, &folder, &index, &mut parts.hardware);
    }
}

fn cache(machine: &Machine<'_>, folder: &str, index: &str, sheet: &mut Sheet) {
    let file = |name: &str| machine.roots.read(format!("{folder}/{index}/{name}"));
    let (Ok(level), Ok(kind)) = (file("level").and_then(|level| number(&level)), file("type"))
    else {
        sheet.put(
            format!("cache.{index}"),
            Err::<i64, _>(Gap::Error("it has no level or no type".to_owned())),
        );
        return;
    };
    let suffix = match kind.as_str() {
        "Data" => "d",
        "Instruction" => "i",
        _ => "",
    };
    let name = format!("cache.l{level}{suffix}");
    sheet.put(
        format!("{name}.size_kib"),
        file("size").and_then(|size| kib(&size)),
    );
    sheet.put(
        format!("{name}.ways"),
        file("ways_of_associativity").and_then(|ways| number(&ways)),
    );
    sheet.put(
        format!("{name}.line_bytes"),
        file("coherency_line_size").and_then(|line| number(&line)),
    );
    sheet.put(
        format!("{name}.shared_by_cores"),
        file("shared_cpu_list").and_then(|list| cores(machine, &list)),
    );
    sheet.put(format!("{name}.instances"), instances(machine, index));
}

/// `48K`, `32M` or a bare number of KiB.
fn kib(text: &str) -> Reading<i64> {
    let (digits, scale) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1),
        Some(b'M') => (&text[..text.len() - 1], 1024),
        _ => (text, 1),
    };
    number(digits)?
        .checked_mul(scale)
        .ok_or_else(|| Gap::Error(format!("`{text}` is too large")))
}

/// Cores, not threads, of a list of CPUs: the same with SMT on and off.
fn cores(machine: &Machine<'_>, list: &str) -> Reading<usize> {
    let cpus =
        cpu_list(list).ok_or_else(|| Gap::Error(format!("`{list}` is not a list of CPUs")))?;
    let mut seen = BTreeSet::new();
    for cpu in cpus {
        seen.insert(cpu::topology(
            machine,
            cpu,
            &["core_cpus_list", "thread_siblings_list"],
        )?);
    }
    Ok(seen.len())
}

/// How many such caches the machine has.
fn instances(machine: &Machine<'_>, index: &str) -> Reading<usize> {
    let mut seen = BTreeSet::new();
    for cpu in machine.online() {
        let file = format!("/sys/devices/system/cpu/cpu{cpu}/cache/{index}/shared_cpu_list");
        seen.insert(machine.roots.read(file)?);
    }
    Ok(seen.len())
}
