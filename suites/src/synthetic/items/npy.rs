//! Arrays of items as `NumPy`'s files, `.npy`: a header that says type and shape, and the bytes behind it.
//!
//! Format: NEP 1, "A simple file format for `NumPy` arrays": version 1.0 is written, later ones, whose headers may be longer, are read too.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use assay_kernels::device::memory;
use assay_protocol::Failure;

use super::Form;
use crate::synthetic::table::TableError;

/// What a file of version 1.0 begins with: later ones have another version in the last two bytes.
const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// Longest header that is read: those of our arrays have some hundred bytes.
const MOST_HEADER_BYTES: usize = 1 << 16;

/// What a file of `items` items begins with; `None` where items are lines.
pub fn header(form: &Form, items: u64) -> Option<Vec<u8>> {
    let Form::Array { element, shape, .. } = form else {
        return None;
    };
    let axes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{{'descr': '{element}', 'fortran_order': False, 'shape': ({items}, {}), }}",
        axes.join(", ")
    );
    // With its length of two bytes, and a newline, it ends at a multiple of 64.
    let padded = (MAGIC.len() + 2 + text.len() + 1).next_multiple_of(64);
    text.extend(std::iter::repeat_n(
        ' ',
        padded - MAGIC.len() - 2 - text.len() - 1,
    ));
    text.push('\n');
    let length = (text.len() as u16).to_le_bytes();
    Some([MAGIC, &length, text.as_bytes()].concat())
}

/// The bytes of a file's items, one behind the other, and how many items these are.
///
/// # Errors
/// If it cannot be read, is no such file, is damaged, or has items of another form; if there is not enough memory.
pub fn read(path: &Path, form: &Form) -> Result<(Vec<u8>, usize), TableError> {
    let wrong = |what: String| TableError::format(path, what);
    let mut file = File::open(path).map_err(TableError::io(path))?;
    let length = file.metadata().map_err(TableError::io(path))?.len();
    let (text, begin) = header_text(&mut file).map_err(wrong)?;
    let items = items_of(&text, form).map_err(wrong)?;
    let expected = (items as u64).checked_mul(form.bytes() as u64);
    let found = length.saturating_sub(begin);
    if expected != Some(found) {
        let which = if expected.is_some_and(|bytes| bytes < found) {
            "more than that"
        } else {
            "cut short"
        };
        return Err(wrong(format!(
            "its header tells of {items} items of {} bytes each, and {found} bytes are behind it: it is {which}; write or copy it again",
            form.bytes()
        )));
    }
    memory::ensure_fits(found).map_err(|failure| match failure {
        Failure::Skipped(words) | Failure::Failed(words) => wrong(words),
    })?;
    let mut bytes = Vec::with_capacity(found as usize);
    file.read_to_end(&mut bytes).map_err(TableError::io(path))?;
    if bytes.len() as u64 != found {
        return Err(wrong("it changed while it was read".into()));
    }
    Ok((bytes, items))
}

/// The header of a file, and where it ends.
fn header_text(file: &mut File) -> Result<(String, u64), String> {
    let no_array = || {
        "no NumPy array: expected a file as `assay synth make` or `numpy.save` writes it".to_owned()
    };
    let mut take = |bytes: &mut [u8]| file.read_exact(bytes).map_err(|_| no_array());
    let mut magic = [0; 8];
    take(&mut magic)?;
    if magic[..6] != MAGIC[..6] {
        return Err(no_array());
    }
    let mut length = [0; 4];
    let width = if magic[6] == 1 { 2 } else { 4 };
    take(&mut length[..width])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MOST_HEADER_BYTES {
        return Err(format!(
            "a header of {length} bytes: expected at most {MOST_HEADER_BYTES}; it is damaged"
        ));
    }
    let mut text = vec![0; length];
    take(&mut text)?;
    let text = String::from_utf8(text).map_err(|_| no_array())?;
    Ok((text, (magic.len() + width + length) as u64))
}

/// What stands behind a key of a header, to some end.
fn entry<'a>(text: &'a str, key: &str, end: char) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("'{key}':"))?;
    Some(rest.split(end).next()?.trim())
}

/// How many items a header tells of, if they are of a form.
fn items_of(text: &str, form: &Form) -> Result<usize, String> {
    let Form::Array { element, shape, .. } = form else {
        return Err("lines are no arrays".into());
    };
    let damaged = || format!("its header is damaged: `{}`", text.trim());
    let found = entry(text, "descr", ',')
        .ok_or_else(damaged)?
        .trim_matches('\'');
    if found != *element {
        return Err(format!(
            "its elements are `{found}`: expected `{element}`; cast it with `numpy.astype`"
        ));
    }
    if entry(text, "fortran_order", ',') != Some("False") {
        return Err(
            "its axes are in the order of Fortran: write it behind `numpy.ascontiguousarray`"
                .into(),
        );
    }
    let axes = entry(text, "shape", ')').and_then(|axes| axes.strip_prefix('('));
    let axes = axes.ok_or_else(damaged)?.split(',').map(str::trim);
    let axes: Vec<usize> = axes
        .filter(|axis| !axis.is_empty())
        .map(|axis| axis.parse().map_err(|_| damaged()))
        .collect::<Result<_, _>>()?;
    match axes.split_first() {
        Some((items, of_item)) if of_item == shape => Ok(*items),
        _ => Err(format!(
            "its shape is {axes:?}: expected items of {shape:?} each, along its first axis"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, header, read};

    fn form() -> Form {
        Form::Array {
            element: "<f4",
            bytes: 4,
            shape: vec![2, 3],
        }
    }

    fn read_back(bytes: &[u8]) -> Result<(Vec<u8>, usize), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path(), &form()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_and_what_is_wrong_with_others_is_said() {
        let items: Vec<u8> = (0..48).collect();
        let whole = [header(&form(), 2).unwrap(), items.clone()].concat();
        assert_eq!(read_back(&whole).unwrap(), (items.clone(), 2));
        // Version 2.0 has four bytes for the length.
        let mut later = whole.clone();
        later[6] = 2;
        later.splice(10..10, [0, 0]);
        assert_eq!(read_back(&later).unwrap(), (items, 2));
        let refused = |bytes: &[u8], words: &str| {
            let found = read_back(bytes).unwrap_err();
            assert!(found.contains(words), "{found}");
        };
        let with = |from: &str, to: &str| {
            let text = String::from_utf8_lossy(&whole[10..128]).replacen(from, to, 1);
            [&whole[..10], text.as_bytes(), &whole[128..]].concat()
        };
        refused(b"a,b\n1,2\n", "no NumPy array");
        refused(&whole[..60], "no NumPy array");
        refused(
            &whole[..whole.len() - 1],
            "2 items of 24 bytes each, and 47 bytes are behind it: it is cut short",
        );
        refused(&[&whole[..], b"x"].concat(), "it is more than that");
        refused(
            &with("<f4", "<f8"),
            "its elements are `<f8`: expected `<f4`",
        );
        refused(&with("False", "True "), "order of Fortran");
        refused(
            &with("(2, 2, 3)", "(4, 3)   "),
            "its shape is [4, 3]: expected items of [2, 3] each",
        );
        refused(&with("(2, 2, 3)", "(2, x, 3)"), "its header is damaged");
        refused(&with("'shape'", "'shade'"), "its header is damaged");
        let huge = "(99999999999999999, 2, 3)";
        let long = with("(2, 2, 3), }                ", &format!("{huge}, }}"));
        refused(&long, "it is cut short");
        let mut length = whole.clone();
        (length[6], length[12]) = (2, 255);
        refused(&length, "a header of ");
        assert!(
            read(std::path::Path::new("/no/such.npy"), &form())
                .unwrap_err()
                .to_string()
                .contains("/no/such.npy")
        );
    }

    #[test]
    fn the_header_is_as_numpy_writes_it() {
        let form = Form::Array {
            element: "<f4",
            bytes: 4,
            shape: vec![2, 64],
        };
        let found = header(&form, 5).unwrap();
        // numpy.save of numpy.zeros((5, 2, 64), "<f4"), `NumPy` 2.
        let expected = "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2, 64), }";
        assert_eq!(&found[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert!(found[10..].starts_with(expected.as_bytes()) && found.ends_with(b" \n"));
        assert_eq!(found.len(), 128);
        assert!(header(&Form::Line { is_json: false }, 5).is_none());
    }
}
