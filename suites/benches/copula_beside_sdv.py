#!/usr/bin/env python3
"""Gaussian copula of Assay beside that of SDV: seconds to learn a table and make 50,000 rows, and quality, on the same table.

    copula_beside_sdv.py ASSAY TABLE [RUNS [RECORD]]

ASSAY is the program, TABLE a CSV file, as `assay synth census --rows 50000 -o census.csv` makes one; SDV 2 is installed (`pip install sdv`;
its copula does not use torch, so any version will do that can be imported), with the defaults of its Gaussian copula and its metadata
detected from the table. Quality is the overall score of the report of SDMetrics, by SDV's metadata for both. Seconds are from file to file:
to fit is to read the CSV, too, and to sample is to write one. What the program of Assay takes to start is in its, Python's own start in
none. Beside stand those of SDV from memory to memory; Assay's are told by `cargo bench -p assay-suites --bench tables_by_size`.

All of it goes to RECORD (copula_beside_sdv.json) too: every run, the machine, versions, and the digests of the program and the table.
"""

import contextlib
import io
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pandas as pd
import record
import sdmetrics
import sdv
from sdmetrics.reports.single_table import QualityReport
from sdv.metadata import Metadata
from sdv.single_table import GaussianCopulaSynthesizer

ROWS = 50_000


def by_assay(assay, table, scratch):
    """Rows, seconds to learn and to make them, and how many of these are in memory, which is not known."""
    model, made = scratch / "model.json", scratch / "made.csv"
    begin = time.monotonic()
    fit = [assay, "synth", "fit", table, "--generator", "copula", "-o", model]
    subprocess.run(fit, check=True, stdout=subprocess.DEVNULL)
    middle = time.monotonic()
    sample = [assay, "synth", "sample", model, "--rows", str(ROWS), "-o", made]
    subprocess.run(sample, check=True, stdout=subprocess.DEVNULL)
    end = time.monotonic()
    return pd.read_csv(made), middle - begin, end - middle, None


def by_sdv(table, metadata, scratch):
    """The same of SDV, and what of it is no reading and writing."""
    synthesizer = GaussianCopulaSynthesizer(metadata)
    begin = time.monotonic()
    real = pd.read_csv(table)
    is_read = time.monotonic()
    synthesizer.fit({"table": real})
    middle = time.monotonic()
    made = synthesizer.sample(num_rows=ROWS)["table"]
    is_made = time.monotonic()
    made.to_csv(scratch / "theirs.csv", index=False)
    end = time.monotonic()
    return made, middle - begin, end - middle, is_made - is_read


def quality(real, made, metadata):
    """The report's overall score."""
    single = metadata.to_dict()["tables"]["table"]
    report = QualityReport()
    report.generate(real, made, single, verbose=False)
    return report.get_score()


def main():
    assay, table = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    path = Path(sys.argv[4] if len(sys.argv) > 4 else "copula_beside_sdv.json")
    warnings.filterwarnings("ignore")
    real = pd.read_csv(table)
    metadata = Metadata.detect_from_dataframes({"table": real})
    print(f"sdv {sdv.__version__}, sdmetrics {sdmetrics.__version__}; {len(real)} rows, {len(real.columns)} columns", flush=True)
    kept = record.Record(path, assay, table, ["sdv", "sdmetrics", "rdt", "copulas", "pandas", "numpy"], {"rows": ROWS})
    with tempfile.TemporaryDirectory() as folder:
        ways = [
            ("assay", lambda: by_assay(assay, table, Path(folder))),
            ("sdv", lambda: by_sdv(table, metadata, Path(folder))),
        ]
        for _ in range(runs):
            for name, make in ways:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    made, fit, sample, within = make()
                    score = quality(real, made, metadata)
                memory = f" ({within:.3f} s in memory)" if within else ""
                print(f"{name:6} fit {fit:7.3f} s  sample {sample:7.3f} s  both {fit + sample:7.3f} s{memory}  quality {score:.4f}", flush=True)
                kept.add(by=name, fit_s=fit, sample_s=sample, in_memory_s=within, quality=score)


if __name__ == "__main__":
    main()
