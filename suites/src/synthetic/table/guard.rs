//! Reading by a library that panics on damaged files: a panic becomes words, and prints none.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::serve::message;

thread_local! {
    /// Whether this thread's panics are told by whoever catches them.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What some work gives, or the words of its panic. The work keeps to this thread, and nothing that it changed is used afterwards.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                usual(panic);
            }
        }));
    });
    let before = IS_GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(before);
    done.map_err(|panic| message(&*panic).to_owned())
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_panic_becomes_its_words_and_the_next_work_goes_on() {
        let index = std::hint::black_box(7);
        let panic = guarded(|| vec![1, 2][index]).unwrap_err();
        assert!(panic.contains("index out of bounds"), "{panic}");
        assert_eq!(guarded(|| 3), Ok(3));
    }
}
