#!/usr/bin/env python3
"""MST of Assay beside that of private-pgm: error of 3-way marginals at one budget, and seconds, on the same table.

    mst_beside_private_pgm.py ASSAY PRIVATE_PGM [RUNS [RECORD]]

ASSAY is the program; PRIVATE_PGM a clone of the project of that name, with its adult.csv; its package `mbi` is to be installed. The error of
a set of columns is half the L1 distance of their normalised counts, as private-pgm's own script has it; it is averaged over the sets of
three columns whose domain has at most 10,000 cells, and over all. Both get the same epsilon 1 and delta 1e-9. Seconds are of the clock, and
of all cores together: where others use the machine, the latter say more.

private-pgm at 4d2b3c5 runs with Python 3.11 and these: jax and jaxlib 0.4.30, pandas 2.1.4, numpy below 2, scipy below 1.14, chex below
0.1.88, optax below 0.2.4, networkx, attrs, matplotlib.

All of it goes to RECORD (mst_beside_private_pgm.json) too: every run, the machine, versions, and the digests of the program and the table.
"""

import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import record

EPSILON, DELTA, MOST_CELLS = 1.0, 1e-9, 10_000


def errors(real, made, domain):
    """Mean errors over the small sets of three columns, and over all."""
    of_small, of_all = [], []
    for columns in itertools.combinations(domain, 3):
        shares = [t.groupby(list(columns)).size() / len(t) for t in (real, made)]
        error = 0.5 * shares[0].sub(shares[1], fill_value=0.0).abs().sum()
        of_all.append(error)
        if np.prod([domain[column] for column in columns]) <= MOST_CELLS:
            of_small.append(error)
    return np.mean(of_small), np.mean(of_all)


def cpu_seconds():
    """What children have taken of all cores."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def by_assay(assay, table, scratch):
    """Makes rows of a model that Assay learned, as many as were learned."""
    model, made = scratch / "model.json", scratch / "made.csv"
    rows = sum(1 for _ in open(table)) - 1
    budget = ["--epsilon", str(EPSILON), "--delta", str(DELTA)]
    fit = [assay, "synth", "fit", table, "--generator", "mst", *budget, "-o", model]
    subprocess.run(fit, check=True, stdout=subprocess.DEVNULL)
    sample = [assay, "synth", "sample", model, "--rows", str(rows), "-o", made]
    subprocess.run(sample, check=True, stdout=subprocess.DEVNULL)
    model.unlink()
    return made


def by_private_pgm(clone, scratch):
    """Makes rows by private-pgm's own script."""
    made = scratch / "theirs.csv"
    budget = ["--epsilon", str(EPSILON), "--delta", str(DELTA)]
    subprocess.run(
        [sys.executable, "mst.py", *budget, "--num_marginals", "1", "--save", made],
        check=True,
        cwd=clone / "mechanisms",
        stdout=subprocess.DEVNULL,
    )
    return made


def main():
    assay, clone = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    path = Path(sys.argv[4] if len(sys.argv) > 4 else "mst_beside_private_pgm.json")
    table = clone / "data" / "adult.csv"
    domain = json.loads((clone / "data" / "adult-domain.json").read_text())
    real = pd.read_csv(table)
    facts = {"epsilon": EPSILON, "delta": DELTA, "most_cells": MOST_CELLS, "private_pgm": record.commit(clone)}
    kept = record.Record(path, assay, table, ["jax", "jaxlib", "pandas", "numpy", "scipy"], facts)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        ways = [
            ("assay", lambda: by_assay(assay, table, scratch)),
            ("private-pgm", lambda: by_private_pgm(clone, scratch)),
        ]
        for _, (name, make) in itertools.product(range(runs), ways):
            begin, cpu = time.monotonic(), cpu_seconds()
            made = make()
            seconds, cpu = time.monotonic() - begin, cpu_seconds() - cpu
            small, every = errors(real, pd.read_csv(made), domain)
            print(f"{name:12} {seconds:8.2f} s ({cpu:.2f} s of cores)  error {small:.4f}, over all sets {every:.4f}", flush=True)
            kept.add(by=name, wall_s=seconds, cores_s=cpu, error=small, error_of_all_sets=every)


if __name__ == "__main__":
    main()
