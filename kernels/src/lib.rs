//! Ops: for each its CPU implementation, reference and work formula.
