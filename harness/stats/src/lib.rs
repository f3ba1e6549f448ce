//! Pure functions on numbers: summaries, intervals, tests.
