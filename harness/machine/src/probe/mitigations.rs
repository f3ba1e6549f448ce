//! Mitigations of the CPU's vulnerabilities, one field for each: some cost a tenth of the speed.

use super::Machine;
use crate::parts::Parts;
use crate::reading::{Gap, Reading};

const FOLDER: &str = "/sys/devices/system/cpu/vulnerabilities";

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    let names = match machine.roots.list(FOLDER) {
        Ok(names) if !names.is_empty() => names,
        Ok(_) => {
            return parts
                .settings
                .put("mitigation.all", Err::<i64, _>(Gap::Unsupported));
        }
        Err(gap) => return parts.settings.put("mitigation.all", Err::<i64, _>(gap)),
    };
    for name in names {
        let state: Reading<String> = machine.roots.read(format!("{FOLDER}/{name}"));
        parts.settings.put(format!("mitigation.{name}"), state);
    }
}
