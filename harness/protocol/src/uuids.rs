//! UUIDs of the devices that run a case, as one text: one has its own, and several that run it together, such as the ranks of a
//! training, have theirs with commas between.

/// What stands between two. In none of them it is.
const BETWEEN: char = ',';

/// The text for some devices; `None` for none.
pub fn together(uuids: &[String]) -> Option<String> {
    (!uuids.is_empty()).then(|| uuids.join(&BETWEEN.to_string()))
}

/// Those of a text.
pub fn each(text: &str) -> impl Iterator<Item = &str> {
    text.split(BETWEEN)
}

#[cfg(test)]
mod tests {
    use super::{each, together};

    #[test]
    fn devices_are_read_back() {
        let two = ["GPU-a".to_owned(), "GPU-b".to_owned()];
        assert_eq!(together(&two).as_deref(), Some("GPU-a,GPU-b"));
        assert!(each("GPU-a,GPU-b").eq(["GPU-a", "GPU-b"]));
        assert!(each("GPU-a").eq(["GPU-a"]));
        assert_eq!(
            (together(&two[..1]).as_deref(), together(&[])),
            (Some("GPU-a"), None)
        );
    }
}
