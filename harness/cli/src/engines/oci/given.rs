//! What a container was given, compared with what was asked for. Engines give more where the image declares volumes or their
//! own configuration says so, and no option of theirs forbids it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::engines::Sandbox;

/// Where programs are looked for in a container whose image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Variables that engines set themselves, whatever they are told.
const OWN: [&str; 4] = ["HOME", "HOSTNAME", "TERM", "container"];
/// Variables that come with GPUs begin so.
const OF_GPUS: &str = "NVIDIA_";
/// Where memory is mounted that can be written to.
const IN_MEMORY: &str = "/tmp";

/// What a container has that was not asked for, or has not that was; `found` is what `container inspect` says. The value of a
/// variable is not said: it may be a secret.
pub fn check(sandbox: &Sandbox, found: &Value) -> Result<(), String> {
    mounts(sandbox, found)?;
    variables(sandbox, found)
}

fn mounts(sandbox: &Sandbox, found: &Value) -> Result<(), String> {
    let has = found.get("Mounts").and_then(Value::as_array);
    let mut asked: Vec<_> = sandbox.mounts().collect();
    for mount in has.into_iter().flatten() {
        let text = |field: &str| mount.get(field).and_then(Value::as_str).unwrap_or_default();
        let (from, to) = (text("Source"), text("Destination"));
        if text("Type") == "tmpfs" && to == IN_MEMORY {
            continue;
        }
        let is_writable = mount.get("RW").and_then(Value::as_bool) != Some(false);
        let is_this = |(path, place, access): &(&Path, &str, bool)| {
            *place == to && *access == is_writable && is_same(path, Path::new(from))
        };
        match asked.iter().position(is_this) {
            Some(place) => drop(asked.swap_remove(place)),
            None => {
                return Err(format!(
                    "has a folder {to} that was not asked for: its image declares it as a volume, or `volumes` in containers.conf says so; \
                     take it out there"
                ));
            }
        }
    }
    match asked.first() {
        Some((path, to, _)) => Err(format!("has no {to}, which should be {}", path.display())),
        None => Ok(()),
    }
}

/// Whether two paths are one folder, as far as this machine knows them.
fn is_same(one: &Path, other: &Path) -> bool {
    one == other
        || one
            .canonicalize()
            .is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

fn variables(sandbox: &Sandbox, found: &Value) -> Result<(), String> {
    let mut asked: BTreeMap<&str, &str> = sandbox
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let of_image: BTreeMap<&str, &str> = sandbox.image_env.iter().map(|one| parts(one)).collect();
    for one in texts(found.pointer("/Config/Env")) {
        let (name, value) = parts(one);
        let is_right = match (asked.remove(name), of_image.get(name)) {
            (Some(asked), _) => asked == value,
            (None, _) if OWN.contains(&name) => true,
            (None, Some(of_image)) => *of_image == value,
            (None, None) if name == "PATH" => value == PATH,
            (None, None) => !sandbox.gpus.is_empty() && name.starts_with(OF_GPUS),
        };
        if !is_right {
            return Err(format!(
                "has the variable `{name}` with a value that neither its arm nor its image gives it: `env` in containers.conf does so, or \
                 `proxies` in Docker's config.json; take it out there"
            ));
        }
    }
    match asked.first_key_value() {
        Some((name, _)) => Err(format!("lacks the variable `{name}` of its arm")),
        None => Ok(()),
    }
}

fn parts(variable: &str) -> (&str, &str) {
    variable.split_once('=').unwrap_or((variable, ""))
}

/// The texts of a list.
pub fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    let all = list.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str)
}
