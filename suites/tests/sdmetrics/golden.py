#!/usr/bin/env python3
"""Makes two small tables and what SDMetrics says of them: golden values for `cargo test`.

    pip install sdmetrics==0.32.0 && python3 golden.py

writes real.csv, synthetic.csv and golden.json beside this file.
"""

import json
import pathlib
import random

import pandas
from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
from sdmetrics.single_column import (
    CategoryCoverage,
    KSComplement,
    MissingValueSimilarity,
    RangeCoverage,
    TVComplement,
)

HERE = pathlib.Path(__file__).parent
NUMBERS = ["age", "pay"]
CATEGORIES = ["job", "town"]


def table(seed, rows, shift):
    source = random.Random(seed)
    lines = []
    for _ in range(rows):
        age = round(source.gauss(40 + shift, 12))
        job = source.choices(["clerk", "baker", "pilot"], [5 + shift, 3, 1])[0]
        pay = round(900 + 40 * age + 300 * (job == "pilot") + source.gauss(0, 400), 2)
        town = source.choices(["north", "south", "east"], [1, 2, 3 if job == "baker" else 1])[0]
        lines.append(
            {
                "age": age,
                "pay": pay if source.random() > 0.08 else None,
                "job": job,
                "town": town if source.random() > 0.05 else None,
            }
        )
    return pandas.DataFrame(lines)


def main():
    real, synthetic = table(1, 300, 0), table(2, 200, 4)
    real.to_csv(HERE / "real.csv", index=False)
    synthetic.to_csv(HERE / "synthetic.csv", index=False)
    # As they are read again.
    real, synthetic = (pandas.read_csv(HERE / name) for name in ("real.csv", "synthetic.csv"))
    golden = {}
    for name in NUMBERS:
        golden[f"KSComplement {name}"] = KSComplement.compute(real[name], synthetic[name])
        golden[f"RangeCoverage {name}"] = RangeCoverage.compute(real[name], synthetic[name])
    for name in CATEGORIES:
        golden[f"TVComplement {name}"] = TVComplement.compute(real[name], synthetic[name])
        golden[f"CategoryCoverage {name}"] = CategoryCoverage.compute(real[name], synthetic[name])
    for name in NUMBERS + CATEGORIES:
        golden[f"MissingValueSimilarity {name}"] = MissingValueSimilarity.compute(real[name], synthetic[name])
    golden["CorrelationSimilarity age pay"] = CorrelationSimilarity.compute(real[NUMBERS], synthetic[NUMBERS])
    for pair in (["job", "town"], ["age", "job"], ["pay", "town"]):
        continuous = [name for name in pair if name in NUMBERS] or None
        score = ContingencySimilarity.compute(
            real[pair].copy(), synthetic[pair].copy(), continuous_column_names=continuous
        )
        golden[f"ContingencySimilarity {pair[0]} {pair[1]}"] = score
    golden = {name: float(value) for name, value in golden.items()}
    (HERE / "golden.json").write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    main()
