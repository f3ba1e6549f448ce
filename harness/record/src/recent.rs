//! The last few of what was worked out: of what comes again mostly one of these is meant.

/// How many pieces those that are kept may have together. The newest is kept however many it has.
const MOST: usize = 20_000;

/// Values that were found or added last, the latest first, each of so many pieces.
#[derive(Debug)]
pub struct Recent<T>(Vec<(T, usize)>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Recent<T> {
    /// The first that is meant.
    pub fn find(&mut self, mut is_meant: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let at = self.0.iter().position(|(value, _)| is_meant(value))?;
        self.0[..=at].rotate_right(1);
        self.0.first_mut().map(|(value, _)| value)
    }

    /// Adds one, and forgets what was found longest ago.
    pub fn add(&mut self, value: T, pieces: usize) {
        self.0.insert(0, (value, pieces));
        let mut sum = 0;
        let kept = self.0.iter().position(|(_, pieces)| {
            sum += pieces;
            sum > MOST
        });
        if let Some(kept) = kept {
            self.0.truncate(kept.max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Recent};

    #[test]
    fn what_was_found_longest_ago_is_forgotten_first() {
        let mut recent = Recent::default();
        for value in 0..4 {
            recent.add(value, MOST / 4);
        }
        let is = |wanted: i32| move |value: &i32| *value == wanted;
        assert_eq!(recent.find(is(0)), Some(&mut 0));
        recent.add(4, MOST / 4);
        assert_eq!(recent.find(is(1)), None);
        assert_eq!(recent.find(is(0)), Some(&mut 0));
        recent.add(5, 2 * MOST);
        assert_eq!(recent.find(is(5)), Some(&mut 5));
        assert_eq!(recent.find(is(4)), None);
    }
}
