//! GPUs in containers by the Container Device Interface: files that say which device nodes and libraries a GPU needs.
//! `nvidia-ctk cdi generate` writes them. <https://github.com/cncf-tags/container-device-interface>

use std::path::Path;

/// All GPUs of the machine; which of them a case uses is chosen inside, as on the host.
pub const ALL_GPUS: &str = "nvidia.com/gpu=all";
/// Where such files lie.
const FOLDERS: [&str; 2] = ["etc/cdi", "var/run/cdi"];
/// What a machine has where NVIDIA's driver runs.
const DRIVER: &str = "dev/nvidiactl";

/// Whether a machine, seen from `root`, has NVIDIA's driver. Where not, cases on GPUs are skipped, as on the host.
pub fn has_driver(root: &Path) -> bool {
    root.join(DRIVER).exists()
}

/// Whether a machine, seen from `root`, says how its GPUs come into containers.
pub fn has_gpus(root: &Path) -> bool {
    let names_gpus = |entry: std::io::Result<std::fs::DirEntry>| {
        let Ok(entry) = entry else { return false };
        let path = entry.path();
        let is_spec = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "json");
        is_spec && std::fs::read_to_string(path).is_ok_and(|text| text.contains("nvidia.com/gpu"))
    };
    FOLDERS
        .iter()
        .filter_map(|folder| std::fs::read_dir(root.join(folder)).ok())
        .flatten()
        .any(names_gpus)
}

#[cfg(test)]
mod tests {
    use super::{has_driver, has_gpus};

    #[test]
    fn a_machine_says_how_its_gpus_come_into_containers() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert!(!has_driver(root.path()) && !has_gpus(root.path()));
        write("dev/nvidiactl", "");
        write("etc/cdi/other.yaml", "kind: example.com/net\n");
        write("etc/cdi/notes.txt", "nvidia.com/gpu\n");
        assert!(has_driver(root.path()) && !has_gpus(root.path()));
        write(
            "var/run/cdi/nvidia.yaml",
            "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n",
        );
        assert!(has_gpus(root.path()));
    }
}
