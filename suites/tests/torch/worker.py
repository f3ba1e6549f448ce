"""What the worker of PyTorch does before it measures, by which library it multiplies, with how many threads, and what it refuses; what it tells
of a training, and that it finds out one that goes wrong."""
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

# What Assay has of the same: `loss_over_entropy` is over this.
of_bytes = worker.nats_of_bytes(b"the star is 7.\n")
assert abs(sum(of_bytes) + worker.math.log(4 / 8 * 3 / 12 * 4 / 8 / 10 * 20 / 60)) < 1e-12
# An `s` begins `star ` and `sun `, which the next byte tells apart.
assert [round(nats, 12) for nats in of_bytes[4:9]] == [round(worker.math.log(2), 12)] * 2 + [0] * 3, of_bytes
assert abs(worker.judged_nats(b"the star is 7.\n", 8) - sum(of_bytes[5:13]) / 8) < 1e-12


def examined(stored, change=None, curve=lambda losses: losses):
    """What an examination of a small training finds, of which a gradient or the losses that were timed are changed."""
    sizes = dict(batch=2, length=12, layers=2, width=16, heads=2, steps=6, warmup=2, corpus=4000, threads=1, stored=stored)
    p = {**{info["name"]: info.get("default") for info in worker.INFO["parameters"]}, **sizes}
    text, _ = worker.corpus(5, p["corpus"])

    def begin(**changed):
        training = worker.Training(5, {**p, **changed}, text)
        if change and not changed:
            training.model.layers[1].attention.output.weight.register_hook(change)
        return training

    training = begin()
    losses = [training.step()[0] for _ in range(4)]
    return worker.examine(begin, stored, curve(losses))


if worker.MISSING:
    print(f"skipped: {worker.MISSING}")
else:
    for stored in ("f32", "bf16"):
        error, wrong = examined(stored)
        assert wrong is None and error <= worker.LOSS[stored], (error, wrong)
        name = "layers.1.attention.output.weight"
        _, wrong = examined(stored, lambda gradient: -gradient)
        assert wrong and f"step 1: the gradient of `{name}`" in wrong, wrong
        # A row of 16 that nobody computes.
        keep = worker.torch.ones(16, 16)
        keep[-1] = 0
        _, wrong = examined(stored, lambda gradient: gradient * keep)
        assert wrong and name in wrong, wrong
        _, wrong = examined(stored, curve=lambda losses: [*losses[:2], losses[2] + 0.1, *losses[3:]])
        assert wrong and "step 3 had a loss of" in wrong, wrong
    worker.set_threads(1)
    pools = [ctypes.CDLL(path) for path in worker.blas_libraries()]
    pools = [pool.openblas_get_num_threads() for pool in pools if hasattr(pool, "openblas_get_num_threads")]
    assert worker.torch.get_num_threads() == 1 and all(pool == 1 for pool in pools), pools
    assert worker.blas().startswith(("/", "within PyTorch: ")), worker.blas()
