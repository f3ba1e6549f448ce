//! What a cubin says about its kernels: the parameters that each takes, its registers, and its memory of its own.
//!
//! A cubin is an ELF file of 64 bits. Beside its code, `.text.NAME`, a kernel has attributes in `.nv.info.NAME`, and all kernels in
//! `.nv.info`; attributes follow each other, each a byte of format, a byte of kind and a value of 16 bits, which in one of the formats is the
//! size of what follows. Source for kinds and values: what `cuobjdump -elf` of the CUDA toolkit calls them.

use std::collections::BTreeMap;

use assay_protocol::Failure;

/// Value of the ELF header's `e_machine`.
const MACHINE_CUDA: u16 = 190;
/// The type of sections that are nothing in the file.
const NOBITS: u32 = 8;
/// The format of attributes with a value of their own size.
const SIZED: u8 = 4;
/// Attributes of a kernel.
const KPARAM_INFO: u8 = 0x17;
/// Attributes of all kernels: a symbol's number and a number.
const FRAME_SIZE: u8 = 0x11;
const REGCOUNT: u8 = 0x2F;
/// Bytes of an entry of the table of symbols.
const SYMBOL_BYTES: usize = 24;

/// What a kernel takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes of each parameter, in order.
    pub parameters: Vec<u32>,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of a thread's frame in local memory: registers that were spilled, and arrays that are not kept in registers.
    pub frame_bytes: u32,
}

/// The kernels of a cubin, by the names that they have there.
pub fn kernels(image: &[u8]) -> Result<BTreeMap<String, Resources>, Failure> {
    read(image).ok_or_else(|| Failure::Failed("the compiler's image is no cubin".into()))
}

struct Section<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

fn read(image: &[u8]) -> Option<BTreeMap<String, Resources>> {
    let sections = sections(image)?;
    let named = |name: &str| sections.iter().find(|section| section.name == name);
    let of_kernel = |section: &Section| section.name.strip_prefix(".text.").map(str::to_owned);
    let mut kernels: BTreeMap<String, Resources> = sections
        .iter()
        .filter_map(of_kernel)
        .map(|name| (name, Resources::default()))
        .collect();
    for (name, kernel) in &mut kernels {
        // A kernel without parameters may have no attributes.
        if let Some(section) = named(&format!(".nv.info.{name}")) {
            kernel.parameters = parameters(section.bytes)?;
        }
    }
    let (symbols, strings) = (named(".symtab")?.bytes, named(".strtab")?.bytes);
    for (kind, value) in attributes(named(".nv.info")?.bytes)? {
        if !matches!(kind, FRAME_SIZE | REGCOUNT) {
            continue;
        }
        let symbol = symbols.get(number_u32(value, 0)? as usize * SYMBOL_BYTES..)?;
        let name = text(strings, number_u32(symbol, 0)? as usize)?;
        // Functions that kernels call have frames, too, which are counted to who calls them.
        if let Some(kernel) = kernels.get_mut(name) {
            let value = number_u32(value, 4)?;
            match kind {
                FRAME_SIZE => kernel.frame_bytes = value,
                _ => kernel.registers = value,
            }
        }
    }
    Some(kernels)
}

/// The sections of an ELF file for GPUs.
fn sections(image: &[u8]) -> Option<Vec<Section<'_>>> {
    if !image.starts_with(b"\x7fELF\x02") || number_u16(image, 18)? != MACHINE_CUDA {
        return None;
    }
    let table = usize::try_from(number_u64(image, 40)?).ok()?;
    let [entry, count, names] = [58, 60, 62].map(|at| number_u16(image, at).map(usize::from));
    let (entry, count) = (entry?, count?);
    let header = |index: usize| image.get(table.checked_add(index * entry)?..);
    let bytes = |index: usize| {
        let header = header(index)?;
        if number_u32(header, 4)? == NOBITS {
            return Some(&image[..0]);
        }
        let first = usize::try_from(number_u64(header, 24)?).ok()?;
        let len = usize::try_from(number_u64(header, 32)?).ok()?;
        image.get(first..first.checked_add(len)?)
    };
    let names = bytes(names?)?;
    let section = |index: usize| {
        Some(Section {
            name: text(names, number_u32(header(index)?, 0)? as usize)?,
            bytes: bytes(index)?,
        })
    };
    (0..count).map(section).collect()
}

/// Attributes that have a value of their own size.
fn attributes(mut bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut found = vec![];
    while let [format, kind, ..] = *bytes {
        let len = if format == SIZED {
            usize::from(number_u16(bytes, 2)?)
        } else {
            0
        };
        let value = bytes.get(4..4 + len)?;
        if format == SIZED {
            found.push((kind, value));
        }
        bytes = &bytes[4 + len..];
    }
    Some(found)
}

/// Bytes of each parameter: an attribute has its place in the list, and its size from bit 18 of the last word on.
fn parameters(info: &[u8]) -> Option<Vec<u32>> {
    let mut sizes = BTreeMap::new();
    for (kind, value) in attributes(info)? {
        if kind == KPARAM_INFO {
            sizes.insert(number_u16(value, 4)?, number_u32(value, 8)? >> 18);
        }
    }
    Some(sizes.into_values().collect())
}

fn text(names: &[u8], at: usize) -> Option<&str> {
    let text = names.get(at..)?.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok()
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at + N)?.try_into().ok()
}

fn number_u16(from: &[u8], at: usize) -> Option<u16> {
    bytes(from, at).map(u16::from_le_bytes)
}

fn number_u32(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_le_bytes)
}

fn number_u64(from: &[u8], at: usize) -> Option<u64> {
    bytes(from, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::{attributes, kernels, parameters};

    /// Attributes as NVRTC 13.5 writes them: a language, two parameters (of 4 bytes, then of 8), registers.
    const INFO: &[u8] = &[
        4, 0x37, 4, 0, 0x87, 0, 0, 0, // sized, not looked at
        4, 0x17, 12, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0x00, 0xF0, 0x11, 0x00, //
        4, 0x17, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0xF0, 0x21, 0x00, //
        3, 0x1B, 0xFF, 0x00, // a value of 16 bits
    ];

    #[test]
    fn parameters_are_in_order() {
        assert_eq!(parameters(INFO), Some(vec![8, 4]));
        assert_eq!(attributes(INFO).map(|found| found.len()), Some(3));
        assert_eq!(parameters(&[]), Some(vec![]));
        // Cut off in the middle of a value.
        assert_eq!(parameters(&INFO[..20]), None);
    }

    #[test]
    fn what_is_no_cubin_is_refused() {
        for image in [
            &b""[..],
            b"\x7fELF",
            b"\x7fELF\x02 and so on, for more than a whole header of them",
            INFO,
        ] {
            assert!(kernels(image).is_err());
        }
    }
}
