#!/usr/bin/env python3
"""A worker that learns tables with other programs than Assay: the Gaussian copula of SDV, and MST of private-pgm.

Its workload `synth-table` is Assay's, by its parameters: the same table of the same seed, or of the same file, is learned and as many rows
are made, in memory, and `assay synth score` says how good these are. So both are arms of one run:

    assay run suites/benches/copula.toml --arm assay=here --arm sdv=worker:suites/workers/synthetic_peers.py

`assay` is to be on PATH, and before it the Python that has the other program. SDV 2: `pip install sdv`. private-pgm: a clone, which
`--arm NAME=env:PRIVATE_PGM=FOLDER` names, and what it needs; at 4d2b3c5 jax and jaxlib 0.4.30, pandas 2.1.4, numpy below 2, scipy below 1.14,
chex below 0.1.88, optax below 0.2.4, networkx, attrs and matplotlib do with Python 3.11. What is not there is skipped, with that as the reason.
"""
import contextlib
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

PROTOCOL = 1
# As `mst` has it where no suite says another.
DELTA = 1e-9
COLUMNS = 15


class Skipped(Exception):
    """Why a case cannot be run here."""


def parameter(name, kind="int", **more):
    return {"name": name, "type": kind, **more}


INFO = {
    "name": "synth-table",
    "summary": "learns a table and makes as many rows, by SDV or private-pgm",
    "definition": 1,
    "parameters": [
        parameter("rows"),
        parameter("columns", default=COLUMNS),
        parameter("generator", "text", default="copula", choices=["copula", "independent", "mst"]),
        parameter("mechanism", "text", default="none", choices=["none", "laplace", "gaussian", "analytic-gaussian", "discrete-gaussian"]),
        parameter("epsilon", "float", default=1.0),
        parameter("delta", "float", optional=True),
        parameter("quality", "float", default=0.0),
        parameter("require", "text", default=""),
        parameter("threads", default=1),
        parameter("table", "text", default=""),
        parameter("most_cells", default=0),
    ],
    "timing": ["hot"],
    "devices": ["cpu"],
}


class Sdv:
    """SDV's Gaussian copula with its defaults, and its metadata detected from the table."""

    packages = ["sdv", "sdmetrics", "rdt", "copulas", "pandas", "numpy"]

    def __init__(self, table, _parameters):
        try:
            from sdv.metadata import Metadata
            from sdv.single_table import GaussianCopulaSynthesizer
        except ImportError as error:
            raise Skipped(f"SDV 2 is not installed: {error}") from error
        self.table = table
        self.metadata = Metadata.detect_from_dataframes({"table": table})
        self.synthesizer = GaussianCopulaSynthesizer

    def made(self):
        synthesizer = self.synthesizer(self.metadata)
        synthesizer.fit({"table": self.table})
        return synthesizer.sample(num_rows=len(self.table))["table"]


class PrivatePgm:
    """MST as private-pgm's own script has it, of a table of labels; those that occur are its domain."""

    packages = ["jax", "jaxlib", "pandas", "numpy", "scipy"]

    def __init__(self, table, parameters):
        clone = os.environ.get("PRIVATE_PGM")
        if not clone:
            raise Skipped("PRIVATE_PGM names no clone of private-pgm: say --arm NAME=env:PRIVATE_PGM=FOLDER")
        sys.path[:0] = [str(Path(clone) / "src"), str(Path(clone) / "mechanisms")]
        try:
            import pandas
            from mbi import Dataset, Domain
            from mst import MST
        except ImportError as error:
            raise Skipped(f"private-pgm in {clone} cannot be imported: {error}") from error
        if table.isna().any(axis=None) or any(map(is_number, table.dtypes)):
            raise Skipped("private-pgm learns labels: this table has columns of numbers, or values that are missing")
        self.labels = {name: sorted(table[name].unique()) for name in table}
        places = {name: {label: place for place, label in enumerate(all_)} for name, all_ in self.labels.items()}
        self.codes = pandas.DataFrame({name: table[name].map(places[name]) for name in table})
        self.dataset, self.learn, self.frame = Dataset, MST, pandas.DataFrame
        self.domain = Domain(list(self.labels), [len(all_) for all_ in self.labels.values()])
        self.epsilon, self.delta = parameters["epsilon"], parameters.get("delta", DELTA)

    def made(self):
        data = self.dataset(self.codes, self.domain)
        codes = self.learn(data, self.epsilon, self.delta).df
        return self.frame({name: [self.labels[name][code] for code in codes[name]] for name in self.labels})


PEERS = {"copula": Sdv, "mst": PrivatePgm}


def is_number(dtype):
    return dtype.kind in "iuf"


def run(*words):
    done = subprocess.run([ASSAY, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"assay {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


ASSAY = shutil.which("assay")


class Case:
    def __init__(self, spec):
        p = self.p = spec["params"]
        declared = {info["name"]: info.get("optional", False) for info in INFO["parameters"]}
        needed = {name for name, optional in declared.items() if not optional}
        if not needed <= set(p) <= set(declared):
            raise ValueError("`synth-table` takes the parameters that it declares, each once, of which a case may lack those that are optional")
        if "delta" in p and p["generator"] != "mst":
            raise ValueError("parameter `delta`: it is of private fits: leave it out")
        if ASSAY is None:
            raise Skipped("`assay`, which makes the table and scores rows, is not on PATH")
        if p["generator"] not in PEERS:
            raise Skipped(f"no other program is asked for the generator `{p['generator']}`")
        if p["columns"] != COLUMNS:
            raise Skipped(f"the census is to have its {COLUMNS} columns")
        # Libraries ask for it when they are imported.
        os.environ.update({name: str(p["threads"]) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})
        self.scratch = tempfile.TemporaryDirectory()
        self.path = Path(self.scratch.name) / "real.csv"
        self.write(int(spec["seed"]))
        try:
            import pandas
        except ImportError as error:
            raise Skipped(f"pandas is not installed: {error}") from error
        self.real = pandas.read_csv(self.path)
        self.peer = PEERS[p["generator"]](self.real, p)
        if p["most_cells"] and any(map(is_number, self.real.dtypes)):
            raise Skipped("`most_cells` is for tables of labels here: numbers would have to be put in bins")
        self.rows, self.seconds = None, 0

    def write(self, seed):
        """The rows that are learned, as a CSV file."""
        if not self.p["table"]:
            run("synth", "census", "--rows", self.p["rows"], "--seed", seed, "-o", self.path)
            return
        lines = Path(self.p["table"]).read_bytes().splitlines(keepends=True)[: self.p["rows"] + 1]
        self.path.write_bytes(b"".join(lines))

    def prepared(self):
        case = lambda name, unit, direction: {"name": name, "unit": unit, "direction": direction, "kind": "case"}
        versions = {name: version(name) for name in self.peer.packages}
        return {
            "kind": "prepared",
            "work": {"items": len(self.real), "formula": "items = rows that are learned or made"},
            "metrics": [
                case("quality", "1", "higher"),
                case("exact_copies", "1", "lower"),
                case("three_way_error", "1", "lower"),
                case("peak_memory", "B", "lower"),
            ],
            "inputs": {"table": "sha256:" + hashlib.sha256(self.path.read_bytes()).hexdigest()},
            "deterministic": False,
            "facts": {"generator": type(self.peer).__name__, **{f"version.{name}": it for name, it in versions.items() if it}},
        }

    def sample(self):
        start = time.monotonic_ns()
        # Both print.
        with contextlib.redirect_stdout(sys.stderr):
            self.rows = self.peer.made()
        return {"kind": "sample", "start_ns": start, "iterations": 1, "host_ns": max(1, time.monotonic_ns() - start), "values": {}}

    def verify(self):
        # private-pgm makes as many rows as it estimates that there are.
        few = abs(len(self.rows) - len(self.real)) > 0.01 * len(self.real)
        others = list(self.rows.columns) != list(self.real.columns)
        return {
            "kind": "verified",
            "passed": not few and not others,
            "error": float(few) + float(others),
            "tolerance": 0.0,
            "detail": "1 if there are others than as many rows, to a hundredth, plus 1 if they have other columns",
        }

    def values(self):
        """What Assay says of the rows that were made last."""
        made = self.path.with_name("made.csv")
        self.rows.to_csv(made, index=False)
        report = json.loads(run("synth", "score", self.path, made, "--json"))
        three_way = report["scores"]["three_way"]
        if self.p["most_cells"]:
            three_way = error_of_small(self.real, self.rows, self.p["most_cells"])
        return {
            "quality": report["scores"]["quality"],
            "exact_copies": report["copies"]["exact_copies"],
            "three_way_error": three_way,
            "peak_memory": 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }


def error_of_small(real, made, most_cells):
    """Mean total-variation distance of the marginals of three columns whose values make so many combinations at most."""
    different = {name: real[name].nunique() for name in real}
    errors = []
    for columns in map(list, itertools.combinations(real, 3)):
        if different[columns[0]] * different[columns[1]] * different[columns[2]] <= most_cells:
            shares = [t.groupby(columns).size() / len(t) for t in (real, made)]
            errors.append(0.5 * shares[0].sub(shares[1], fill_value=0.0).abs().sum())
    if not errors:
        raise ValueError(f"no three columns make {most_cells} combinations or fewer")
    return float(sum(errors) / len(errors))


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def hello():
    return {
        "kind": "hello",
        "protocol": PROTOCOL,
        "worker": "synthetic_peers.py",
        "version": "1",
        "devices": [{"kind": "cpu", "index": 0, "name": platform.processor() or platform.machine()}],
        "software": {"python": platform.python_version()},
        "workloads": [INFO],
    }


def chunk(case, request):
    """Samples until there are enough of them or the time is over, and at least one."""
    replies, begin = [], time.monotonic_ns()
    while not replies or (len(replies) < request["max_samples"] and time.monotonic_ns() - begin <= request["max_ns"]):
        replies.append(case.sample())
    return replies + [{"kind": "sampled", "samples": len(replies)}]


def serve(request, case):
    """The replies to a request, and the case that is prepared after it."""
    kind = request["request"]
    if kind == "hello":
        return [hello()], case
    if kind == "prepare":
        spec = request["case"]
        if spec["workload"] != INFO["name"]:
            raise ValueError(f"no workload is called `{spec['workload']}`")
        if spec["device"] != "cpu" or spec["timing"] != "hot":
            raise Skipped("`synth-table` runs hot, on the CPU")
        case = Case(spec)
        return [case.prepared()], case
    if kind not in ("sample", "verify", "teardown"):
        raise ValueError(f"no request is called `{kind}`")
    if case is None:
        raise ValueError("no case is prepared")
    if kind == "sample":
        return chunk(case, request), case
    if kind == "verify":
        return [case.verify()], case
    return [{"kind": "torn_down", "values": case.values()}], None


def main():
    warnings.filterwarnings("ignore")
    case = None
    for line in sys.stdin.buffer:
        try:
            replies, case = serve(json.loads(line), case)
        except Skipped as why:
            replies, case = [{"kind": "skipped", "reason": str(why)}], None
        except Exception as error:  # a bad request costs its reply, not the worker
            replies = [{"kind": "failed", "reason": f"{type(error).__name__}: {error}"}]
        for reply in replies:
            # allow_nan: NaN and Infinity are not JSON, and no measurement either.
            print(json.dumps({"v": PROTOCOL, **reply}, allow_nan=False))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
