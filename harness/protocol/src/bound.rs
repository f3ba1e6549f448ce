//! What bounds a case: the memory level that its bytes come from, and the unit that does its arithmetic.
//!
//! A worker declares it; what the machine can do at most there is measured, and whoever reads a result compares
//! the two: a result beyond the ceiling did not do its work.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What bounds a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The farthest level that can serve the bytes of an iteration; absent where the bytes are no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<MemoryLevel>,
    /// The unit that does the floating-point operations; absent where there are none, or none is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<ArithmeticUnit>,
}

impl Bound {
    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.level.is_none() && self.unit.is_none()
    }
}

/// A level of the memory hierarchy.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MemoryLevel {
    /// A core's first cache.
    L1,
    /// Shared memory of a GPU's multiprocessors.
    Shared,
    /// The second cache: a core's, or a GPU's only one.
    L2,
    /// The third cache of a processor.
    L3,
    /// The device's own memory.
    Dram,
    /// The host's memory, seen from a GPU across its bus.
    Host,
}

impl MemoryLevel {
    /// Every level.
    pub const ALL: [Self; 6] = [
        Self::L1,
        Self::Shared,
        Self::L2,
        Self::L3,
        Self::Dram,
        Self::Host,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::Shared => "shared",
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::Dram => "dram",
            Self::Host => "host",
        }
    }

    /// The level of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Display for MemoryLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A unit that does arithmetic on one type.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ArithmeticUnit {
    /// Ordinary lanes, binary64.
    F64,
    /// Ordinary lanes, binary32.
    F32,
    /// Ordinary lanes, binary16.
    F16,
    /// Tensor cores, binary64.
    #[serde(rename = "f64-tensor")]
    F64Tensor,
    /// Tensor cores, binary32 rounded to 10 fraction bits.
    #[serde(rename = "tf32-tensor")]
    Tf32Tensor,
    /// Tensor cores, binary16.
    #[serde(rename = "f16-tensor")]
    F16Tensor,
    /// Tensor cores, bfloat16.
    #[serde(rename = "bf16-tensor")]
    Bf16Tensor,
    /// Tensor cores, eight-bit floating point.
    #[serde(rename = "f8-tensor")]
    F8Tensor,
    /// Tensor cores, eight-bit integers.
    #[serde(rename = "i8-tensor")]
    I8Tensor,
}

impl ArithmeticUnit {
    /// Every unit.
    pub const ALL: [Self; 9] = [
        Self::F64,
        Self::F32,
        Self::F16,
        Self::F64Tensor,
        Self::Tf32Tensor,
        Self::F16Tensor,
        Self::Bf16Tensor,
        Self::F8Tensor,
        Self::I8Tensor,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::F64Tensor => "f64-tensor",
            Self::Tf32Tensor => "tf32-tensor",
            Self::F16Tensor => "f16-tensor",
            Self::Bf16Tensor => "bf16-tensor",
            Self::F8Tensor => "f8-tensor",
            Self::I8Tensor => "i8-tensor",
        }
    }

    /// The unit of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.name() == name)
    }
}

impl fmt::Display for ArithmeticUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{ArithmeticUnit, MemoryLevel};

    #[test]
    fn names_are_those_on_the_wire() {
        for level in MemoryLevel::ALL {
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
            assert_eq!(MemoryLevel::parse(level.name()), Some(level));
        }
        for unit in ArithmeticUnit::ALL {
            assert_eq!(serde_json::to_value(unit).unwrap(), unit.name());
            assert_eq!(ArithmeticUnit::parse(unit.name()), Some(unit));
        }
    }
}
