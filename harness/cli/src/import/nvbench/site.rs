//! Where NVBench ran: its devices, its versions, its command line, and what its runs may be called by these.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use assay_protocol::{DeviceInfo, DeviceKind, DeviceSelector, case::Which};
use assay_record::Field;
use serde_json::Value;

use super::super::found::{Found, plain, slug};
use super::wire::Device;

/// Most devices of a machine.
const MAX_DEVICES: usize = 1000;
/// Longest command line, in bytes.
const MAX_COMMAND: usize = 1 << 20;
/// Longest name of a device or text of a version, in bytes.
const MAX_NAME: usize = 200;

/// What a file says besides its results.
pub struct Site {
    ids: BTreeSet<u32>,
    found: Found,
}

impl Site {
    /// Reads the devices and `meta`, of which older files have none.
    pub fn of(devices: &[Device], meta: &Value) -> Result<Self> {
        ensure!(
            devices.len() <= MAX_DEVICES,
            "field `devices`: more than {MAX_DEVICES}"
        );
        let mut found = Found {
            machine: machine(devices)?,
            command: command(meta)?,
            version: text(meta, "/version/nvbench/string")?.unwrap_or_default(),
            devices: devices.iter().map(info).collect(),
            ..Found::default()
        };
        found.suite = suite(&found.command);
        let ids: BTreeSet<u32> = devices.iter().map(|device| device.id).collect();
        ensure!(
            ids.len() == devices.len(),
            "field `devices`: two have the same `id`"
        );
        if !devices.is_empty() {
            let count = Field::int(devices.len());
            found.hardware.insert("gpu.count".into(), count);
        }
        for device in devices {
            fields(device, &mut found);
        }
        for (name, place) in [
            ("nvbench.version", "/version/nvbench/string"),
            ("nvbench.revision", "/version/nvbench/git_version"),
        ] {
            if let Some(text) = text(meta, place)? {
                found.software.insert(name.into(), Field::text(text));
            }
        }
        Ok(Self { ids, found })
    }

    /// Whether the file lists a device.
    pub fn has(&self, id: i64) -> bool {
        u32::try_from(id).is_ok_and(|id| self.ids.contains(&id))
    }

    /// How a device is chosen: by its index, unless there is no other.
    pub fn selector(&self, id: Option<i64>) -> Result<DeviceSelector> {
        let listed = id
            .filter(|id| self.has(*id))
            .and_then(|id| u32::try_from(id).ok());
        let Some(index) = listed else {
            let said = id.map_or("absent".to_owned(), |id| id.to_string());
            anyhow::bail!("field `device` is {said}: the file lists no such device");
        };
        let which = match self.ids.len() {
            1 => Which::Any,
            _ => Which::Index(index),
        };
        Ok(DeviceSelector {
            kind: DeviceKind::Cuda,
            which,
        })
    }

    /// All of it, without measurements.
    pub fn found(self) -> Found {
        self.found
    }
}

/// `2x-nvidia-h200`: no file says which machine, but of what kind its GPUs were.
fn machine(devices: &[Device]) -> Result<Option<String>> {
    let mut names = Vec::new();
    for device in devices {
        names.push(slug(plain("devices.name", &device.name, MAX_NAME)?, "gpu"));
    }
    names.sort_unstable();
    let counted: Vec<String> = names
        .chunk_by(|a, b| a == b)
        .map(|same| match same {
            [one] => one.clone(),
            many => format!("{}x-{}", many.len(), many[0]),
        })
        .collect();
    Ok((!counted.is_empty()).then(|| slug(&counted.join("-"), "gpu")))
}

fn command(meta: &Value) -> Result<Vec<String>> {
    let words = meta.pointer("/argv").and_then(Value::as_array);
    let words = words.into_iter().flatten().filter_map(Value::as_str);
    let command: Vec<String> = words.map(str::to_owned).collect();
    let length: usize = command.iter().map(String::len).sum();
    ensure!(
        length <= MAX_COMMAND,
        "field `meta.argv`: {length} bytes; at most {MAX_COMMAND}"
    );
    Ok(command)
}

/// The program's name: two programs may have benchmarks of one name.
fn suite(command: &[String]) -> String {
    let program = command.first().map_or("", String::as_str);
    let name = program.rsplit(['/', '\\']).next().unwrap_or_default();
    slug(name.strip_suffix(".exe").unwrap_or(name), "nvbench")
}

fn text(meta: &Value, place: &str) -> Result<Option<String>> {
    let text = meta.pointer(place).and_then(Value::as_str);
    let text = text.map(|text| plain(place, text, MAX_NAME)).transpose()?;
    Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
}

fn info(device: &Device) -> DeviceInfo {
    DeviceInfo {
        kind: DeviceKind::Cuda,
        index: device.id,
        name: device.name.clone(),
        uuid: None,
    }
}

/// Fields of the fingerprint, called as our own probes call them where these have them. What is not said is left out:
/// it was not asked for, which is not the same as not supported.
fn fields(device: &Device, found: &mut Found) {
    let number = |key: &str| device.rest.get(key).and_then(Value::as_u64);
    let name = |field: &str| format!("gpu.{}.{field}", device.id);
    let mut hardware = |field: &str, value: Option<Field>| {
        found
            .hardware
            .extend(value.map(|value| (name(field), value)));
    };
    hardware("name", Some(Field::text(&device.name)));
    let capability = number("sm_version").map(|sm| format!("{}.{}", sm / 100, sm % 100 / 10));
    hardware("compute_capability", capability.map(Field::text));
    hardware("multiprocessors", number("number_of_sms").map(Field::int));
    // Whole GiB: the last MiB depend on driver and ECC.
    let gib = number("global_memory_size").map(|bytes| bytes.saturating_add(1 << 29) >> 30);
    hardware("memory_gib", gib.map(Field::int));
    hardware(
        "memory_bus_bits",
        number("global_memory_bus_width").map(Field::int),
    );
    hardware(
        "l2_kib",
        number("l2_cache_size").map(|bytes| Field::int(bytes >> 10)),
    );
    let clock = number("sm_default_clock_rate").map(|hz| Field::int(hz / 1_000_000));
    hardware("default_sm_mhz", clock);
    let ptx = number("ptx_version").map(Field::int);
    found
        .software
        .extend(ptx.map(|ptx| (name("ptx_version"), ptx)));
    let ecc = device.rest.get("ecc_state").and_then(Value::as_bool);
    found
        .settings
        .extend(ecc.map(|on| (name("ecc"), Field::bool(on))));
}
