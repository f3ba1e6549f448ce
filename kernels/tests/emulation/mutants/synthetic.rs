//! Mistakes in the sources of synthetic data.

use super::Mutant;

/// All of them.
pub const ALL: &[Mutant] = &[
    Mutant {
        what: "rows that are compared before they are there",
        op: "closest-rows",
        path: "synthetic/closest.cu",
        from: ": 0.0;\n            }\n            __syncthreads();",
        to: ": 0.0;\n            }",
    },
    Mutant {
        what: "differences of more than 1",
        op: "closest-rows",
        path: "synthetic/closest.cu",
        from: "return distance < 1.0 ? distance : 1.0;",
        to: "return distance;",
    },
    Mutant {
        what: "a part of the others that is left out",
        op: "closest-rows",
        path: "synthetic/closest.cu",
        from: "for (u32 split = 0; split < splits; ++split) least",
        to: "for (u32 split = 1; split < splits; ++split) least",
    },
];
