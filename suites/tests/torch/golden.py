#!/usr/bin/env python3
"""Losses of trainings in PyTorch, which `tests/torch/main.rs` compares with Assay's.

    apt-get install python3-torch libopenblas0-pthread
    /usr/bin/python3 suites/tests/torch/golden.py

writes golden.json beside this file, or with --check compares it with what it makes; it was made with torch 1.13 of Debian 12 and
OpenBLAS 0.3.21.
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "workers"))
import torch_lm  # noqa: E402
from kept import keep  # noqa: E402

SIZES = {"batch": 4, "length": 24, "layers": 2, "width": 32, "heads": 4, "steps": 20, "corpus": 20000}
RECIPE = {"rate": 3e-3, "decay": 0.1, "clip": 1.0, "warmup": 5, "accumulation": 1}
CHOICES = {"experts": 0, "chosen": 2, "capacity": 1.25, "rank": 0}
LORA = {"schedule": "cosine", "rank": 4, "rate": 3e-2, "base_stored": "int8"}
CASES = {
    "gpt": {"position": "learned", "norm": "layernorm", "activation": "gelu", "schedule": "cosine"},
    "wide": {"position": "learned", "norm": "rmsnorm", "activation": "gelu", "schedule": "cosine", "vocabulary": 300},
    "llama": {"position": "rope", "norm": "rmsnorm", "activation": "swiglu", "schedule": "linear"},
    "alibi": {"position": "alibi", "norm": "layernorm", "activation": "swiglu", "schedule": "one-cycle"},
    "turns": {"position": "rope", "norm": "rmsnorm", "activation": "gelu", "schedule": "polynomial", "accumulation": 3},
    "experts": {"position": "rope", "norm": "rmsnorm", "activation": "gelu", "schedule": "cosine", "experts": 4, "capacity": 0.9},
    "lora": {"position": "learned", "norm": "layernorm", "activation": "gelu", "schedule": "cosine", "rank": 4, "rate": 3e-2},
    "lora-int8": {**LORA, "position": "rope", "norm": "layernorm", "activation": "gelu"},
    "lora-int8-gated": {**LORA, "position": "alibi", "norm": "rmsnorm", "activation": "swiglu"},
}
SEED = 11


def main():
    golden = {}
    for name, choices in CASES.items():
        params = {**SIZES, **RECIPE, **CHOICES, **choices}
        text, held_out = torch_lm.corpus(SEED, params["corpus"])
        training = torch_lm.Training(SEED, params, text)
        steps = [training.step() for _ in range(params["steps"])]
        golden[name] = {
            "params": params,
            "losses": [loss for loss, _ in steps],
            "norms": [norm for _, norm in steps],
            "held_out": training.judge(held_out),
        }
    keep(HERE / "golden.json", golden)


if __name__ == "__main__":
    main()
