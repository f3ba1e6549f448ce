//! What vendors say their GPUs can do at most, to be shown beside what was measured. Nothing is judged by it.
//!
//! Dense rates, without sparsity, at boost clocks: NVIDIA's data sheets of the A100 (2021), A10 (2021), L4 and L40S (2023),
//! H100 (2023), H200 (2024), and the Ada whitepaper (version 2.1) for the RTX 4090.

use assay_protocol::{ArithmeticUnit, MemoryLevel};

use crate::ceilings::Limit;

/// A model: words that its name holds, words that it must not hold, and rates.
struct Sheet {
    with: &'static [&'static str],
    without: &'static [&'static str],
    dram_gb: f64,
    /// In 10^12 operations per second.
    tera: &'static [(ArithmeticUnit, f64)],
}

use ArithmeticUnit::{Bf16Tensor, F8Tensor, F16Tensor, F32, F64, F64Tensor, I8Tensor, Tf32Tensor};

const A100: &[(ArithmeticUnit, f64)] = &[
    (F64, 9.7),
    (F64Tensor, 19.5),
    (F32, 19.5),
    (Tf32Tensor, 156.0),
    (F16Tensor, 312.0),
    (Bf16Tensor, 312.0),
    (I8Tensor, 624.0),
];
const HOPPER_SXM: &[(ArithmeticUnit, f64)] = &[
    (F64, 34.0),
    (F64Tensor, 67.0),
    (F32, 67.0),
    (Tf32Tensor, 494.5),
    (F16Tensor, 989.5),
    (Bf16Tensor, 989.5),
    (F8Tensor, 1979.0),
    (I8Tensor, 1979.0),
];
const H100_PCIE: &[(ArithmeticUnit, f64)] = &[
    (F64, 26.0),
    (F64Tensor, 51.0),
    (F32, 51.0),
    (Tf32Tensor, 378.0),
    (F16Tensor, 756.5),
    (Bf16Tensor, 756.5),
    (F8Tensor, 1513.0),
    (I8Tensor, 1513.0),
];

/// The first that fits a name.
const SHEETS: &[Sheet] = &[
    Sheet {
        with: &["H200"],
        without: &["NVL"],
        dram_gb: 4800.0,
        tera: HOPPER_SXM,
    },
    Sheet {
        with: &["H100", "HBM3"],
        without: &["NVL"],
        dram_gb: 3350.0,
        tera: HOPPER_SXM,
    },
    Sheet {
        with: &["H100", "PCIe"],
        without: &[],
        dram_gb: 2000.0,
        tera: H100_PCIE,
    },
    Sheet {
        with: &["A100", "SXM4-80GB"],
        without: &[],
        dram_gb: 2039.0,
        tera: A100,
    },
    Sheet {
        with: &["A100", "80GB PCIe"],
        without: &[],
        dram_gb: 1935.0,
        tera: A100,
    },
    Sheet {
        with: &["A100", "40GB"],
        without: &[],
        dram_gb: 1555.0,
        tera: A100,
    },
    Sheet {
        with: &["L40S"],
        without: &[],
        dram_gb: 864.0,
        tera: &[
            (F32, 91.6),
            (Tf32Tensor, 183.0),
            (F16Tensor, 362.05),
            (Bf16Tensor, 362.05),
            (F8Tensor, 733.0),
            (I8Tensor, 733.0),
        ],
    },
    Sheet {
        with: &["NVIDIA L4"],
        without: &["L40"],
        dram_gb: 300.0,
        tera: &[
            (F32, 30.3),
            (Tf32Tensor, 60.0),
            (F16Tensor, 121.0),
            (Bf16Tensor, 121.0),
            (F8Tensor, 242.5),
            (I8Tensor, 242.5),
        ],
    },
    Sheet {
        with: &["A10"],
        without: &["A100", "A10G"],
        dram_gb: 600.0,
        tera: &[
            (F32, 31.2),
            (Tf32Tensor, 62.5),
            (F16Tensor, 125.0),
            (Bf16Tensor, 125.0),
            (I8Tensor, 250.0),
        ],
    },
    Sheet {
        with: &["RTX 4090"],
        without: &["4090 D", "Laptop"],
        dram_gb: 1008.0,
        tera: &[
            (F32, 82.6),
            (Tf32Tensor, 82.6),
            (F16Tensor, 165.2),
            (Bf16Tensor, 165.2),
            (F8Tensor, 330.3),
            (I8Tensor, 660.6),
        ],
    },
];

/// The most that the data sheet of a GPU of this name gives, in bytes or operations per second; `None` where it is not known.
pub fn rate(gpu: &str, limit: Limit) -> Option<f64> {
    let fits = |sheet: &&Sheet| {
        sheet.with.iter().all(|word| gpu.contains(word))
            && !sheet.without.iter().any(|word| gpu.contains(word))
    };
    let sheet = SHEETS.iter().find(fits)?;
    match limit {
        Limit::Level(MemoryLevel::Dram) => Some(sheet.dram_gb * 1e9),
        Limit::Level(_) => None,
        Limit::Unit(unit) => {
            let found = sheet.tera.iter().find(|(known, _)| *known == unit);
            found.map(|(_, tera)| tera * 1e12)
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::{ArithmeticUnit, MemoryLevel};

    use super::rate;
    use crate::ceilings::Limit;

    #[test]
    fn verdicts_models_are_told_apart_by_their_names() {
        let dram = |gpu: &str| {
            rate(gpu, Limit::Level(MemoryLevel::Dram)).map(|rate| (rate / 1e9).round() as u32)
        };
        assert_eq!(dram("NVIDIA H200"), Some(4800));
        assert_eq!(dram("NVIDIA H100 80GB HBM3"), Some(3350));
        assert_eq!(dram("NVIDIA H100 PCIe"), Some(2000));
        assert_eq!(dram("NVIDIA A100-SXM4-80GB"), Some(2039));
        assert_eq!(dram("NVIDIA A100-PCIE-40GB"), Some(1555));
        assert_eq!(dram("NVIDIA L4"), Some(300));
        assert_eq!(dram("NVIDIA L40S"), Some(864));
        assert_eq!(dram("NVIDIA A10"), Some(600));
        assert_eq!(dram("NVIDIA A10G"), None);
        assert_eq!(dram("NVIDIA GeForce RTX 4090"), Some(1008));
        assert_eq!(dram("Emulated GPU"), None);
        assert_eq!(rate("NVIDIA L4", Limit::Unit(ArithmeticUnit::F64)), None);
    }
}
