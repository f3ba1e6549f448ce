#!/usr/bin/env python3
"""Makes small tables and what SDMetrics says of them: golden values for `cargo test`.

    pip install sdmetrics==0.32.0 && python3 golden.py [FOLDER]

writes real.csv, synthetic.csv, held_out.csv, uniform.csv and golden.json there, or beside this file.
"""

import json
import pathlib
import random
import sys

import numpy
import pandas
from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
from sdmetrics.reports import QualityReport
from sdmetrics.single_column import (
    CategoryCoverage,
    KSComplement,
    MissingValueSimilarity,
    RangeCoverage,
    TVComplement,
)
from sdmetrics.single_table import DCRBaselineProtection, DCROverfittingProtection
from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr

NUMBERS = ["age", "pay"]
CATEGORIES = ["job", "town"]
SDTYPES = {**dict.fromkeys([*NUMBERS, "fixed"], "numerical"), **dict.fromkeys(CATEGORIES, "categorical"), "id": "id"}


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
                # A constant that the synthetic table leaves here and there, and a key.
                "fixed": 2 if shift and len(lines) % 5 == 0 else 1,
                "id": f"person {seed} {len(lines)}",
            }
        )
    return pandas.DataFrame(lines)


def metadata(columns):
    return {"tables": {"people": {"columns": {name: {"sdtype": SDTYPES[name]} for name in columns}}}}


def columns_and_pairs(real, synthetic):
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
    return golden


def reports(real, synthetic):
    """The quality report: shapes, trends and their mean, of several columns at once, over all pairs: by default it leaves weak ones out."""
    golden = {}
    for columns in (NUMBERS, CATEGORIES, NUMBERS + CATEGORIES):
        report = QualityReport()
        report.real_correlation_threshold = report.real_association_threshold = 0
        tables = [{"people": of[columns]} for of in (real, synthetic)]
        report.generate(*tables, metadata(columns), verbose=False)
        properties = report.get_properties().set_index("Property")["Score"]
        words = " ".join(columns)
        golden[f"QualityReport shapes {words}"] = properties["Column Shapes"]
        golden[f"QualityReport trends {words}"] = properties["Column Pair Trends"]
        golden[f"QualityReport quality {words}"] = report.get_score()
    return golden


def closeness(real, synthetic, held_out, uniform):
    """Distances to the closest record, and what is made of them, with a baseline that is fixed."""
    everything = metadata(SDTYPES)["tables"]["people"]
    golden = {}
    for name, of, to in (
        ("synthetic real", synthetic, real),
        ("synthetic held_out", synthetic, held_out),
        ("uniform real", uniform, real),
    ):
        golden[f"calculate_dcr {name}"] = [float(x) for x in calculate_dcr(of, to, everything)]
    golden["DCROverfittingProtection"] = DCROverfittingProtection.compute(
        real, synthetic, held_out, metadata(SDTYPES), "people"
    )

    class Fixed(DCRBaselineProtection):
        @classmethod
        def _generate_random_data(cls, real_data, num_samples=None):
            return uniform

    golden["DCRBaselineProtection"] = Fixed.compute(real, synthetic, metadata(SDTYPES), "people")
    return golden


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    tables = {"real": table(1, 300, 0), "synthetic": table(2, 200, 4)}
    # A third of the real rows, and those that make ranges the same: the closest row is often one of both, which makes ties.
    real = tables["real"]
    ends = {end for name in NUMBERS for end in (real[name].idxmin(), real[name].idxmax())}
    tables["held_out"] = real.loc[sorted(ends | set(range(0, len(real), 3)))]
    DCRBaselineProtection._seed = 4
    numpy.random.seed(4)
    tables["uniform"] = DCRBaselineProtection._generate_random_data(tables["real"], 200)
    tables["uniform"]["id"] = [f"uniform {row}" for row in range(200)]
    for name, of in tables.items():
        of.to_csv(folder / f"{name}.csv", index=False)
    # As they are read again.
    real, synthetic, held_out, uniform = (pandas.read_csv(folder / f"{name}.csv") for name in tables)
    scores = columns_and_pairs(real, synthetic) | reports(real, synthetic)
    golden = {name: float(value) for name, value in scores.items()}
    golden |= closeness(real, synthetic, held_out, uniform)
    lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in golden.items())
    (folder / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
