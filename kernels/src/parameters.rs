//! Parameters of ops: their descriptions, and their values with errors that name the parameter.

use assay_protocol::{CaseSpec, DeviceKind, Failure, ParamValue, ParameterInfo, ParameterKind};

use crate::element::DType;

/// Description of an integer parameter that a suite must give.
pub fn integer(name: &str) -> ParameterInfo {
    ParameterInfo {
        name: name.into(),
        kind: ParameterKind::Int,
        default: None,
        minimum: Some(1),
        choices: vec![],
        devices: vec![],
        optional: false,
    }
}

/// Description of an integer parameter that has a default.
pub fn integer_or(name: &str, default: i64) -> ParameterInfo {
    ParameterInfo {
        default: Some(ParamValue::Int(default)),
        ..integer(name)
    }
}

/// Description of an integer parameter that may be as little as `least`, which is its default.
pub fn integer_from(name: &str, least: i64) -> ParameterInfo {
    ParameterInfo {
        minimum: Some(least),
        ..integer_or(name, least)
    }
}

/// Description of the parameter `threads`, which every op has on the host: one thread unless a suite says more.
pub fn threads() -> ParameterInfo {
    on_cpu(integer_or("threads", 1))
}

/// Description of a parameter with a few textual values, the first of which is the default.
pub fn choice(name: &str, choices: &[&str]) -> ParameterInfo {
    let choices: Vec<_> = choices
        .iter()
        .map(|c| ParamValue::Text((*c).into()))
        .collect();
    ParameterInfo {
        kind: ParameterKind::Text,
        default: choices.first().cloned(),
        minimum: None,
        choices,
        ..integer(name)
    }
}

/// The same parameter, for the host alone. One of the same name may be for CUDA devices.
pub fn on_cpu(parameter: ParameterInfo) -> ParameterInfo {
    ParameterInfo {
        devices: vec![DeviceKind::Cpu],
        ..parameter
    }
}

/// The same parameter, for CUDA devices alone.
pub fn on_cuda(parameter: ParameterInfo) -> ParameterInfo {
    ParameterInfo {
        devices: vec![DeviceKind::Cuda],
        ..parameter
    }
}

/// Description of the parameter `dtype`; the first is the default.
pub fn dtype(choices: &[DType]) -> ParameterInfo {
    let names: Vec<_> = choices.iter().map(|dtype| dtype.name()).collect();
    choice("dtype", &names)
}

/// The values of a case's parameters.
#[derive(Debug)]
pub struct Arguments<'a>(pub &'a CaseSpec);

impl Arguments<'_> {
    /// A size or count, which may be 0: what a suite may ask for is checked before.
    pub fn size(&self, name: &str) -> Result<usize, Failure> {
        let value = self.0.params.get(name);
        let size = value
            .and_then(ParamValue::as_u64)
            .and_then(|n| usize::try_from(n).ok());
        size.ok_or_else(|| wrong(name, "an integer of at least 0", value))
    }

    /// A size or count of at least 1, which an op divides by.
    pub fn count(&self, name: &str) -> Result<usize, Failure> {
        match self.size(name)? {
            0 => Err(wrong(
                name,
                "an integer of at least 1",
                self.0.params.get(name),
            )),
            count => Ok(count),
        }
    }

    /// A count of at least 1 and at most `most`.
    pub fn at_most(&self, name: &str, most: usize) -> Result<usize, Failure> {
        match self.count(name)? {
            count if count <= most => Ok(count),
            _ => Err(wrong(
                name,
                &format!("an integer of 1 to {most}"),
                self.0.params.get(name),
            )),
        }
    }

    /// Fails if a size or count is more than an op can have.
    pub fn check_most(&self, name: &str, most: usize) -> Result<(), Failure> {
        if self.size(name)? > most {
            let expected = format!("at most {most}");
            return Err(wrong(name, &expected, self.0.params.get(name)));
        }
        Ok(())
    }

    /// A count of at least 1 that is not above another.
    pub fn at_most_as_many(&self, name: &str, of: &str) -> Result<usize, Failure> {
        let (count, most) = (self.count(name)?, self.count(of)?);
        if count > most {
            let expected = format!("at most as many as there are `{of}`, {most}");
            return Err(wrong(name, &expected, self.0.params.get(name)));
        }
        Ok(count)
    }

    /// Text.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        let value = self.0.params.get(name);
        value
            .and_then(ParamValue::as_str)
            .ok_or_else(|| wrong(name, "text", value))
    }

    /// One of several values, each by its name.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, Failure> {
        let text = self.text(name)?;
        let chosen = choices.iter().find(|(choice, _)| *choice == text);
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            wrong(
                name,
                &format!("one of {}", names.join(", ")),
                self.0.params.get(name),
            )
        })
    }

    /// Whether the case is for a CUDA device.
    pub fn is_cuda(&self) -> bool {
        self.0.device.kind == DeviceKind::Cuda
    }

    /// As [`Self::choice`] of a parameter that [`on_cuda`] made; cases on other devices have none of it, and get the first.
    pub fn cuda_choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, Failure> {
        if self.is_cuda() {
            self.choice(name, choices)
        } else {
            Ok(choices[0].1)
        }
    }

    /// The parameter `dtype`, one of `choices`.
    pub fn dtype(&self, choices: &[DType]) -> Result<DType, Failure> {
        let named: Vec<_> = choices.iter().map(|dtype| (dtype.name(), *dtype)).collect();
        self.choice("dtype", &named)
    }

    /// Fails unless every parameter of the case's device that counts something is at least its minimum.
    pub fn check_minima(&self, parameters: &[ParameterInfo]) -> Result<(), Failure> {
        let device = self.0.device.kind;
        let has = |p: &&ParameterInfo| p.devices.is_empty() || p.devices.contains(&device);
        for parameter in parameters.iter().filter(has) {
            let (Some(minimum), Some(ParamValue::Int(value))) =
                (parameter.minimum, self.0.params.get(&parameter.name))
            else {
                continue;
            };
            if *value < minimum {
                let expected = format!("an integer of at least {minimum}");
                return Err(wrong(
                    &parameter.name,
                    &expected,
                    self.0.params.get(&parameter.name),
                ));
            }
        }
        Ok(())
    }
}

/// The error for a value that is none of those expected.
pub fn wrong(name: &str, expected: &str, found: Option<&ParamValue>) -> Failure {
    let found = found.map_or_else(|| "nothing".into(), ToString::to_string);
    Failure::Failed(format!(
        "parameter `{name}`: expected {expected}, found {found}"
    ))
}

/// The product of some counts, or an error that names the parameters they come from.
pub fn product(names: &str, counts: &[u64]) -> Result<u64, Failure> {
    counts
        .iter()
        .try_fold(1_u64, |product, count| product.checked_mul(*count))
        .ok_or_else(|| {
            Failure::Failed(format!(
                "parameters {names}: their product is too large to count"
            ))
        })
}

/// As [`product`], of sizes on the host.
pub fn size_product(names: &str, sizes: &[usize]) -> Result<usize, Failure> {
    let counts: Vec<_> = sizes.iter().map(|size| *size as u64).collect();
    // Where it is run, a size has 64 bits.
    product(names, &counts).map(|product| product as usize)
}
