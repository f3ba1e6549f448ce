//! Arrays of items as `NumPy`'s files, `.npy`: a header that says type and shape, and the bytes behind it.
//!
//! Format: NEP 1, "A simple file format for `NumPy` arrays", version 1.0.

use super::Form;

/// What a file of `items` items begins with; `None` where items are lines.
pub fn header(form: &Form, items: u64) -> Option<Vec<u8>> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
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

#[cfg(test)]
mod tests {
    use super::{Form, header};

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
