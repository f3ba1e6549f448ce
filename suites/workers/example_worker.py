#!/usr/bin/env python3
"""A worker in another language: sorts numbers, using nothing but Python's standard library.

A worker is a program that reads one JSON request per line from standard input and answers each with
one or more JSON lines on standard output, the last of which ends the reply. It batches and times;
everything else (warm-up, repeats, stopping, statistics) is the harness's business. Print anything
for people to standard error. Check a worker of your own with `assay worker-check python3 worker.py`.
"""
import hashlib
import json
import platform
import random
import sys
import time

PROTOCOL = 1


class PySort:
    """One case: `elements` floats in a random order, sorted by `sorted()`."""

    INFO = {
        "name": "py-sort",
        "summary": "sorted() of random floats",
        "definition": 1,  # raise it when what is timed changes, never when it merely gets faster
        "parameters": [{"name": "elements", "type": "int", "default": 10000}],
        "timing": ["hot"],
        "devices": ["cpu"],
    }

    def __init__(self, case):
        elements = case["params"].get("elements")
        if type(elements) is not int or not 1 <= elements <= 10**8:
            raise ValueError(f"parameter `elements`: expected an integer from 1 to 10^8, found {elements!r}")
        if set(case["params"]) != {"elements"}:
            raise ValueError("`py-sort` has one parameter, `elements`")
        # Inputs follow from the seed alone. A seed is 64 bits, so JSON carries it as text.
        generator = random.Random(int(case["seed"]))
        self.input = [generator.random() for _ in range(elements)]
        self.output = None  # poisoned: a sort that never ran cannot pass
        self.iterations = 1  # kept from one chunk to the next

    def prepared(self):
        return {
            "kind": "prepared",
            "work": {"items": len(self.input), "formula": "items = elements"},
            # Besides the time, which every workload has. A metric of kind "case" is reported at teardown.
            "metrics": [{"name": "cpu_share", "unit": "1", "direction": "neutral", "kind": "sample"}],
            "inputs": {"numbers": digest(self.input)},
            "deterministic": True,
        }

    def sample(self, min_sample_ns):
        """One timed observation; the next has more iterations if this one was too short."""
        iterations = self.iterations
        cpu, start = time.process_time_ns(), time.monotonic_ns()
        for _ in range(iterations):
            output = sorted(self.input)
        host_ns = max(1, time.monotonic_ns() - start)
        cpu_ns = time.process_time_ns() - cpu
        self.output = output  # what was timed is what is verified
        if host_ns < min_sample_ns:
            self.iterations *= 2
        return {
            "kind": "sample",
            "start_ns": start,
            "iterations": iterations,
            "host_ns": host_ns,
            "values": {"cpu_share": cpu_ns / host_ns},
        }

    def verify(self):
        """Independent of sorted(): in order, and the same numbers, by their exact sum and sum of hashes."""
        out = self.output or []
        in_order = all(a <= b for a, b in zip(out, out[1:]))
        same = len(out) == len(self.input) and bag(out) == bag(self.input)
        return {
            "kind": "verified",
            "passed": in_order and same,
            "error": float(not in_order) + float(not same),
            "tolerance": 0.0,
            "output": digest(out),
            "detail": "1 if out of order, plus 1 if not the numbers of the input",
        }


def bag(numbers):
    """The same for two lists if, and almost surely only if, they hold the same numbers in any order."""
    return sum(int.from_bytes(hashlib.blake2b(repr(x).encode(), digest_size=16).digest(), "big") for x in numbers)


def digest(numbers):
    hasher = hashlib.sha256()
    for number in numbers:
        hasher.update(repr(number).encode() + b"\n")
    return "sha256:" + hasher.hexdigest()


def hello():
    return {
        "kind": "hello",
        "protocol": PROTOCOL,
        "worker": "example_worker.py",
        "version": "1",
        "devices": [{"kind": "cpu", "index": 0, "name": platform.processor() or platform.machine()}],
        "software": {"python": platform.python_version(), "libc": " ".join(platform.libc_ver())},
        "workloads": [PySort.INFO],
    }


def chunk(case, request):
    """Samples until there are enough of them or the time is over, and at least one."""
    replies, begin = [], time.monotonic_ns()
    while not replies or (
        len(replies) < request["max_samples"] and time.monotonic_ns() - begin <= request["max_ns"]
    ):
        replies.append(case.sample(request["min_sample_ns"]))
    return replies + [{"kind": "sampled", "samples": len(replies)}]


def serve(request, case):
    """The replies to a request, and the case that is prepared after it."""
    kind = request["request"]
    if kind == "hello":
        return [hello()], case
    if kind == "prepare":
        spec = request["case"]
        if spec["workload"] != PySort.INFO["name"]:
            raise ValueError(f"no workload is called `{spec['workload']}`")
        if spec["device"] != "cpu":
            return [{"kind": "skipped", "reason": "py-sort runs on the CPU only"}], None
        if spec["timing"] != "hot":
            raise ValueError(f"timing mode `{spec['timing']}` is not supported")
        case = PySort(spec)
        return [case.prepared()], case
    if kind not in ("sample", "verify", "teardown"):
        raise ValueError(f"no request is called `{kind}`")
    if case is None:
        raise ValueError("no case is prepared")
    if kind == "sample":
        return chunk(case, request), case
    if kind == "verify":
        return [case.verify()], case
    return [{"kind": "torn_down", "values": {}}], None


def main():
    case = None
    for line in sys.stdin.buffer:
        try:
            replies, case = serve(json.loads(line), case)
        except Exception as error:  # a bad request costs its reply, not the worker
            replies = [{"kind": "failed", "reason": f"{type(error).__name__}: {error}"}]
        for reply in replies:
            # allow_nan: NaN and Infinity are not JSON, and no measurement either.
            print(json.dumps({"v": PROTOCOL, **reply}, allow_nan=False))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
