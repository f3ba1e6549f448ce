//! From the store to verdict values.
