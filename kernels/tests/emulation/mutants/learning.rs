//! Mistakes in gradients, that differences must notice without any other check; and such that hide what is no number, which no other
//! check is shown.

use super::Mutant;

/// Gradients that are wrong.
pub const GRADIENTS: &[Mutant] = &[
    Mutant {
        what: "seven tenths of a gradient of softmax",
        op: "softmax-backward",
        path: "ml/softmax.cu",
        from: "y.at[j] *= dy.at[j] - sum;",
        to: "y.at[j] *= 0.7f * (dy.at[j] - sum);",
    },
    Mutant {
        what: "a gradient of layer norm without what goes along the row",
        op: "layernorm-backward",
        path: "ml/norm.cu",
        from: "gain.at[j] - level - normal * along",
        to: "gain.at[j] - level",
    },
    Mutant {
        what: "a slope of swiglu of the wrong sign",
        op: "swiglu-backward",
        path: "ml/activation.cu",
        from: "(share + gate * share * (1.0f - share));",
        to: "-(share + gate * share * (1.0f - share));",
    },
    Mutant {
        what: "seven tenths of the gradients of queries and keys of 16 bits",
        op: "attention-half",
        path: "ml/flash_tensor.cu",
        from: "angles, [&](u32, u32) { return scale; });",
        to: "angles, [&](u32, u32) { return 0.7f * scale; });",
    },
    Mutant {
        what: "seven tenths of the gradients of values of 16 bits",
        op: "attention-half",
        path: "ml/flash_tensor.cu",
        from: "nullptr, [](u32, u32) { return 1.0f; });",
        to: "nullptr, [](u32, u32) { return 0.7f; });",
    },
    Mutant {
        what: "a gradient of logits of experts without load balancing",
        op: "moe-gate",
        path: "ml/moe.cu",
        from: "float d = factor * static_cast<float>(counts[expert]);",
        to: "float d = 0;",
    },
];

/// What is no number, and does not show.
pub const UNSOUND: &[Mutant] = &[
    Mutant {
        what: "what is no number as the largest code",
        op: "quantise",
        path: "ml/quantise.cu",
        from: "if (of_x > 0x7F800000u) return 0x7F;",
        to: "",
    },
    Mutant {
        what: "a step that is no number, cut off as if it were one",
        op: "sophia-g",
        path: "ml/optimizer.cu",
        from: "ratio > 1.0f ? 1.0f : ratio < -1.0f ? -1.0f : ratio;",
        to: "fminf(fmaxf(ratio, -1.0f), 1.0f);",
    },
];
