//! From a kernel as declared to the kernel of one point: every expression worked out.

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::kernel::{KernelArg, KernelBuffer, KernelCheck, KernelLaunch};
use assay_protocol::{Bound, KernelSpec, U64, Work};
use exmex::Express as _;

use super::sources;
use crate::suite::axes::Point;
use crate::suite::kernel::{
    CheckDeclaration, KernelDeclaration, Number, ReferenceDeclaration, WorkDeclaration,
};

/// Largest integer that a sum of doubles gives exactly.
const MOST: f64 = (1_u64 << 53) as f64;

/// The kernel at a point of the axes.
pub fn resolve(declared: &KernelDeclaration, point: &Point) -> Result<KernelSpec> {
    sources::check(&declared.file).context("field `kernel.file`")?;
    ensure!(
        declared.file.starts_with(sources::DIR),
        "field `kernel.file`: start it with {}/, so that the file can be pinned",
        sources::DIR
    );
    let buffers = declared.buffers.iter().map(|buffer| {
        Ok(KernelBuffer {
            name: buffer.name.clone(),
            dtype: buffer.dtype.clone(),
            len: whole(&buffer.len, point)
                .with_context(|| format!("field `kernel.buffers`, `{}`", buffer.name))?,
            role: buffer.role,
            fill: buffer.fill,
        })
    });
    let spec = KernelSpec {
        file: declared.file.clone(),
        buffers: buffers.collect::<Result<_>>()?,
        launch: launch(declared, None, point)?,
        work: work(&declared.work, point).context("field `kernel.work`")?,
        bound: Bound {
            level: declared.work.level,
            unit: declared.work.unit,
        },
        deterministic: declared.deterministic,
        check: check(declared, point).context("field `kernel.check`")?,
    };
    ensure!(!spec.buffers.is_empty(), "field `kernel.buffers` is empty");
    spec.expect_sound()
        .map_err(anyhow::Error::msg)
        .context("field `kernel`")?;
    Ok(spec)
}

/// The launch, or that of the reference kernel, which is like it but for what it says otherwise.
fn launch(
    declared: &KernelDeclaration,
    reference: Option<&ReferenceDeclaration>,
    point: &Point,
) -> Result<KernelLaunch> {
    let name = reference.map_or(&declared.name, |other| &other.name);
    let grid = reference
        .and_then(|other| other.grid.as_ref())
        .unwrap_or(&declared.grid);
    let block = reference
        .and_then(|other| other.block.as_ref())
        .unwrap_or(&declared.block);
    let shared = reference
        .and_then(|other| other.shared_bytes.as_ref())
        .unwrap_or(&declared.shared_bytes);
    let args = reference
        .and_then(|other| other.args.as_ref())
        .unwrap_or(&declared.args);
    let args = args
        .iter()
        .map(|text| arg(text, point).with_context(|| format!("field `kernel.args`, `{text}`")));
    Ok(KernelLaunch {
        kernel: super::command::fill(name, point),
        grid: sides(grid, point).context("field `kernel.grid`")?,
        block: sides(block, point).context("field `kernel.block`")?,
        shared_bytes: u32::try_from(whole(shared, point)?)
            .context("field `kernel.shared_bytes`")?,
        args: args.collect::<Result<_>>()?,
    })
}

fn sides(numbers: &[Number], point: &Point) -> Result<[u32; 3]> {
    ensure!(
        (1..=3).contains(&numbers.len()),
        "expected one to three numbers"
    );
    let mut sides = [1; 3];
    for (side, number) in sides.iter_mut().zip(numbers) {
        let value = whole(number, point)?;
        *side = u32::try_from(value)
            .ok()
            .with_context(|| format!("{value} is more than 2^32 - 1"))?;
    }
    Ok(sides)
}

/// `x`, or `f32: 2.5 * a`.
fn arg(text: &str, point: &Point) -> Result<KernelArg> {
    let Some((kind, expression)) = text.split_once(':') else {
        return Ok(KernelArg::Buffer(text.trim().into()));
    };
    let expression = expression.trim();
    let integer = || integral(evaluate(expression, point)?);
    Ok(match kind.trim() {
        "i32" => KernelArg::I32(i32::try_from(integer()?)?),
        "u32" => KernelArg::U32(u32::try_from(integer()?)?),
        "u64" => KernelArg::U64(U64(u64::try_from(integer()?)?)),
        "f32" => KernelArg::F32(evaluate(expression, point)? as f32),
        "f64" => KernelArg::F64(evaluate(expression, point)?),
        other => bail!("`{other}` is none of i32, u32, u64, f32, f64"),
    })
}

fn work(declared: &WorkDeclaration, point: &Point) -> Result<Work> {
    let amount = |number: &Option<Number>| {
        number
            .as_ref()
            .map(|number| whole(number, point))
            .transpose()
    };
    let shown = [
        ("bytes", &declared.bytes),
        ("flops", &declared.flops),
        ("items", &declared.items),
    ];
    let formula = shown.into_iter().filter_map(|(name, number)| {
        Some(match number.as_ref()? {
            Number::Int(value) => format!("{name} = {value}"),
            Number::Expression(text) => format!("{name} = {text}"),
        })
    });
    Ok(Work {
        bytes: amount(&declared.bytes)?,
        flops: amount(&declared.flops)?,
        items: amount(&declared.items)?,
        formula: formula.collect::<Vec<_>>().join(", "),
    })
}

fn check(declared: &KernelDeclaration, point: &Point) -> Result<KernelCheck> {
    let CheckDeclaration {
        reference,
        expression,
        output,
        tolerance,
    } = &declared.check;
    let tolerance = || {
        let found = tolerance.filter(|value| value.is_finite() && *value >= 0.0);
        found.context("needs a `tolerance`: a number of at least 0")
    };
    Ok(match (reference, expression, output) {
        (Some(reference), None, None) => KernelCheck::Reference {
            launch: launch(declared, Some(reference), point)?,
            tolerance: tolerance()?,
        },
        (None, Some(text), None) => {
            let (buffer, expression) = text
                .split_once('=')
                .context("expected `OUTPUT = EXPRESSION`")?;
            KernelCheck::Expression {
                buffer: buffer.trim().into(),
                expression: with_values(expression.trim(), declared, point)?,
                tolerance: tolerance()?,
            }
        }
        (None, None, Some(digest)) => KernelCheck::Digest(*digest),
        _ => bail!("give one of `reference`, `expression`, `output`"),
    })
}

/// An expression of elements, with the values of the axes in it.
fn with_values(expression: &str, declared: &KernelDeclaration, point: &Point) -> Result<String> {
    let parsed = parse(expression)?;
    let is_buffer = |name: &str| declared.buffers.iter().any(|buffer| buffer.name == name);
    let mut text = expression.to_owned();
    for name in parsed.var_names() {
        if name == "i" || is_buffer(name) {
            continue;
        }
        let value = number(name, point)?;
        let word = regex::Regex::new(&format!(r"\b{}\b", regex::escape(name)))?;
        text = word.replace_all(&text, format!("({value})")).into_owned();
    }
    Ok(text)
}

fn parse(expression: &str) -> Result<exmex::FlatEx<f64>> {
    exmex::parse::<f64>(expression)
        .map_err(|error| anyhow::anyhow!("expression `{expression}`: {error}"))
}

fn number(name: &str, point: &Point) -> Result<f64> {
    let value = point
        .get(name)
        .with_context(|| format!("`{name}` is no axis"))?;
    value
        .as_f64()
        .with_context(|| format!("axis `{name}` is {value}, which is no number"))
}

/// The value of an expression of the axes.
fn evaluate(expression: &str, point: &Point) -> Result<f64> {
    let parsed = parse(expression)?;
    let values = parsed
        .var_names()
        .iter()
        .map(|name| number(name, point))
        .collect::<Result<Vec<_>>>()?;
    let value = parsed
        .eval(&values)
        .map_err(|error| anyhow::anyhow!("expression `{expression}`: {error}"))?;
    ensure!(
        value.is_finite(),
        "expression `{expression}` gives no number"
    );
    Ok(value)
}

fn integral(value: f64) -> Result<i64> {
    ensure!(
        value.fract() == 0.0 && value.abs() <= MOST,
        "{value} is no integer; `ceil` and `floor` make one"
    );
    Ok(value as i64)
}

fn whole(number: &Number, point: &Point) -> Result<u64> {
    match number {
        Number::Int(value) => Ok(*value),
        Number::Expression(text) => {
            let value = integral(evaluate(text, point)?).with_context(|| format!("`{text}`"))?;
            u64::try_from(value).with_context(|| format!("`{text}` is {value}, below 0"))
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::ParamValue;

    use super::{Number, arg, evaluate, whole};
    use crate::suite::axes::Point;

    fn point() -> Point {
        Point::from([
            ("n".into(), ParamValue::Int(1000)),
            ("block".into(), ParamValue::Int(256)),
        ])
    }

    #[test]
    fn expressions_of_axes_are_worked_out() {
        let number = |text: &str| whole(&Number::Expression(text.into()), &point());
        assert_eq!(number("ceil(n / block)").unwrap(), 4);
        assert_eq!(number("2^20").unwrap(), 1 << 20);
        assert!(
            number("n / block")
                .unwrap_err()
                .chain()
                .any(|error| error.to_string().contains("no integer"))
        );
        assert!(number("n - 2000").is_err() && number("m").is_err() && number("n +").is_err());
        assert!(evaluate("n / 0", &point()).is_err());
        assert_eq!(whole(&Number::Int(7), &point()).unwrap(), 7);
    }

    #[test]
    fn arguments_have_types() {
        use assay_protocol::kernel::KernelArg;
        assert_eq!(arg("x", &point()).unwrap(), KernelArg::Buffer("x".into()));
        assert_eq!(arg("f32: 5 / 2", &point()).unwrap(), KernelArg::F32(2.5));
        assert_eq!(
            arg("u64: n", &point()).unwrap(),
            KernelArg::U64(1000.into())
        );
        assert_eq!(arg("i32: -n", &point()).unwrap(), KernelArg::I32(-1000));
        assert!(arg("u32: -n", &point()).is_err() && arg("int: n", &point()).is_err());
    }
}
