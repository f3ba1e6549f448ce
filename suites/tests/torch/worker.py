"""What the worker of PyTorch does before it measures: by which library it multiplies, with how many threads, and what it refuses."""
import ctypes
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "workers"))
import torch_lm as worker


def refused(kind, words, call, *arguments):
    try:
        call(*arguments)
    except kind as error:
        assert words in str(error), error
        return
    raise AssertionError(f"not refused: {words}")


MAPS = """\
7f0-7f1 r--p 00000000 00:18 1 /usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0
7f1-7f2 r-xp 00000000 00:18 1 /usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0
7f2-7f3 r--p 00000000 00:18 2 /usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblasp-r0.3.21.so
7f3-7f4 r--p 00000000 00:18 3 /venv/numpy.libs/libopenblas64_p-r0-0cf96a72.3.23.dev.so
7f4-7f5 rw-p 00000000 00:00 0 [heap]
7f5-7f6 r--p 00000000 00:18 4 /usr/lib/x86_64-linux-gnu/libc.so.6
"""
with tempfile.NamedTemporaryFile("w") as maps:
    maps.write(MAPS)
    maps.flush()
    found = worker.blas_libraries(maps.name)
folder = "/usr/lib/x86_64-linux-gnu"
assert found == [f"{folder}/blas/libblas.so.3.11.0", f"{folder}/openblas-pthread/libopenblasp-r0.3.21.so"], found
assert worker.REFERENCE in found[0] and worker.REFERENCE not in found[1]
assert worker.REFERENCE not in f"{folder}/openblas-pthread/libblas.so.3"

given = {info["name"]: info.get("default", 8) for info in worker.INFO["parameters"]}
worker.check_parameters(given)
for name, value, expected in [
    ("heads", 0, "an integer from 1"),
    ("batch", 0, "an integer from 1"),
    ("width", 12, "a multiple of 8"),
    ("rank", 9, "0 to `width`, 8"),
    ("warmup", 101, "0 to `steps`, 100"),
    ("vocabulary", 100, "0, or at least 256"),
]:
    refused(ValueError, f"parameter `{name}`: expected {expected}, found {value}", worker.check_parameters, {**given, name: value})
refused(ValueError, "a multiple of 16", worker.check_parameters, {**given, "position": "rope"})
refused(worker.Skipped, "CPUs, 4096 `threads` are asked for", worker.check_host, 4096)

if worker.MISSING:
    print(f"skipped: {worker.MISSING}")
else:
    worker.set_threads(1)
    pools = [ctypes.CDLL(path) for path in worker.blas_libraries()]
    pools = [pool.openblas_get_num_threads() for pool in pools if hasattr(pool, "openblas_get_num_threads")]
    assert worker.torch.get_num_threads() == 1 and all(pool == 1 for pool in pools), pools
    assert worker.blas().startswith(("/", "within PyTorch: ")), worker.blas()
