//! Workloads built of ops, and the worker loop that serves them.
