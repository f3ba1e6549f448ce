//! How far long work is, said on standard error every few seconds.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use assay_suites::synthetic::progress::Progress;

/// How often something is said.
pub const EVERY: Duration = Duration::from_secs(5);

/// Does some work, and says meanwhile how far it is; nothing of work that is done before the first time.
pub fn telling<T>(work: impl FnOnce(&Progress) -> T) -> T {
    telling_to(EVERY, |words| crate::note!("{words} ..."), work)
}

fn telling_to<T>(
    every: Duration,
    say: impl Fn(String) + Send,
    work: impl FnOnce(&Progress) -> T,
) -> T {
    let progress = Progress::default();
    let (working, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let progress = &progress;
        scope.spawn(move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                say(progress.words());
            }
        });
        // Given up with the work, whichever way that ends.
        let _working = working;
        work(progress)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::telling_to;

    #[test]
    fn what_takes_long_is_told_of_and_what_does_not_is_not() {
        let (say, said) = mpsc::channel();
        telling_to(
            Duration::from_millis(5),
            move |words| say.send(words).unwrap_or_default(),
            |progress| {
                progress.begin("pairs", 4);
                progress.step();
                // Until it was told of: no time is asserted.
                while said.recv().unwrap() != "pairs, 1 of 4" {}
            },
        );
        let (say, said) = mpsc::channel::<String>();
        let hour = Duration::from_hours(1);
        assert_eq!(
            telling_to(
                hour,
                move |words| say.send(words).unwrap_or_default(),
                |_| 7
            ),
            7
        );
        assert!(said.recv().is_err());
    }
}
