//! Where a benchmark runs, as a suite says it: on a device that it selects, or on the best that the machine has.

use std::borrow::Cow;

use assay_protocol::{DeviceKind, DeviceSelector, Hello, WorkloadInfo};
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error as _};

/// A device, or the choice of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// `auto`: a CUDA device where the worker sees one and the workload has an implementation for it, else the host's
    /// processor. What only one of them has, parameters, their values and timing modes, is left out on the other.
    Auto,
    /// This one.
    Selected(DeviceSelector),
}

impl DeviceChoice {
    /// The device for a workload of a worker.
    pub fn resolve(&self, hello: &Hello, info: &WorkloadInfo) -> DeviceSelector {
        let Self::Selected(device) = self else {
            let sees = |kind| hello.devices.iter().any(|device| device.kind == kind);
            let is_for = |kind| info.devices.contains(&kind);
            let cuda =
                is_for(DeviceKind::Cuda) && (sees(DeviceKind::Cuda) || !is_for(DeviceKind::Cpu));
            return if cuda {
                any_cuda()
            } else {
                DeviceSelector::CPU
            };
        };
        device.clone()
    }

    /// Whether it may come to a device of this kind.
    pub fn may_be(&self, kind: DeviceKind) -> bool {
        match self {
            Self::Auto => true,
            Self::Selected(device) => device.kind == kind,
        }
    }
}

fn any_cuda() -> DeviceSelector {
    DeviceSelector {
        kind: DeviceKind::Cuda,
        which: assay_protocol::case::Which::Any,
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let selected = text.parse().map(Self::Selected);
        selected.map_err(|error| D::Error::custom(format!("{error}, or auto")))
    }
}

impl JsonSchema for DeviceChoice {
    fn schema_name() -> Cow<'static, str> {
        "DeviceChoice".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(auto|cpu|cuda(:.{1,100})?)$",
            "description": "auto (a CUDA device where there is one, else the CPU), cpu, cuda (any), cuda:0 (by index) or cuda:H100 (by part of the model's name)."
        })
    }
}
