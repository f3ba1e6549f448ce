#!/usr/bin/env python3
"""A worker that trains Assay's language model in PyTorch: the same parameters, the same text, the same windows, the same recipe.

Workload `torch-lm` takes the parameters of `train-lm`, and `mode`. Beginnings follow from the seed by the same generator, so the
losses are those of `train-lm` up to rounding, and `suites/tests/torch/golden.py` takes its golden values from here. With `stored` as
bf16 it is autocast, as PyTorch's users do: logits are of 16 bits then, too. On a GPU attention is what PyTorch takes for fastest, and
the optimizer its fused one. Where torch is not installed, or has no such device, every case is skipped, with that as the reason.

On the host `threads` is what OpenMP has and what the library of products (BLAS) has, which may have a pool of its own. Cases are skipped
where that is the reference implementation, which nobody multiplies by who wants to be fast.
"""
import ctypes
import hashlib
import json
import math
import os
import platform
import re
import resource
import statistics
import sys
import time

# Threads of OpenMP that wait for work would take the time of those of BLAS. It is read when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

try:
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F

    MISSING = None
except ImportError as error:
    MISSING = f"{error.name or 'PyTorch'} is not installed: {error}"

    class nn:  # what the classes below are read with
        Module = object


PROTOCOL = 1
BYTES = 256
# Streams of the generator: of sentences, of parameters, of the places of windows.
SENTENCES, PARAMETERS, WINDOWS = 1 << 40, 1 << 41, 1 << 42
HELD_OUT = 1 << 32
DEVIATION = 0.02
# Factor of the loss of load balancing.
BALANCE = 0.01
MASK = (1 << 32) - 1


# -- the same beginnings: Philox4x32-10, the grammar, windows --


def philox(seed, stream, blocks):
    """Words of some blocks, four each (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11)."""
    blocks = np.asarray(blocks, dtype=np.uint64)
    c = [blocks & MASK, blocks >> np.uint64(32)]
    c += [np.full_like(blocks, stream & MASK), np.full_like(blocks, stream >> 32)]
    k = [seed & MASK, seed >> 32]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [
            (b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]),
            b & np.uint64(MASK),
            (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]),
            a & np.uint64(MASK),
        ]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return np.stack(c, axis=-1).reshape(-1)


def words(seed, stream, first, count):
    begin = first // 4
    return philox(seed, stream, np.arange(begin, (first + count + 3) // 4))[first - 4 * begin :][:count]


def uniform(seed, stream, shape, deviation):
    """Numbers about 0 with this deviation, in f32 as Assay makes them."""
    count = math.prod(shape)
    upper = (words(seed, stream, 0, count) >> np.uint64(8)).astype(np.float32)
    numbers = upper * np.float32(2.0**-23) - np.float32(1)
    return (numbers * (np.float32(deviation) * np.sqrt(np.float32(3)))).reshape(shape)


def digits(odds):
    return [(odds, str(digit), 4) for digit in range(10)]


# As in `suites/src/training/grammar.rs`: odds, word, next state.
STATES = [
    [(4, "the ", 1), (2, "a ", 1), (1, "no ", 1), (1, "every ", 1)],
    [(3, "star ", 2), (3, "sun ", 2), (2, "moon ", 2), (2, "comet ", 2), (1, "probe ", 2), (1, "dim ", 1)],
    [(4, "is ", 3), (2, "has ", 3), (1, "was ", 3), (1, "lost ", 3)],
    digits(1),
    digits(4) + [(20, ".\n", 0)],
]


def sentence(seed, number):
    text, state, turn, random = "", 0, 0, []
    while True:
        if turn == len(random):
            random.extend(int(word) for word in philox(seed, SENTENCES + number, np.arange(turn // 4, turn // 4 + 8)))
        choices = STATES[state]
        drawn = random[turn] * sum(odds for odds, _, _ in choices) >> 32
        for odds, word, following in choices:
            if drawn < odds:
                break
            drawn -= odds
        text, state, turn = text + word, following, turn + 1
        if state == 0:
            return text


def grammar(seed, first, count, known=frozenset()):
    """Sentences from number `first` on, but for those that are known."""
    parts, size = [], 0
    while size < count:
        text = sentence(seed, first)
        first += 1
        if text not in known:
            parts.append(text)
            size += len(text)
    return parts


def corpus(seed, count):
    """What is trained on, and a tenth of that of other sentences."""
    train = grammar(seed, 0, count)
    held_out = grammar(seed, HELD_OUT, -(-count // 10), set(train))
    return "".join(train).encode(), "".join(held_out).encode()


def nats_of_bytes(text):
    """What each byte of whole sentences says, in nats, to who knows all before it; together as much as the choices that made them."""
    at, state, nats = 0, 0, []
    while at < len(text):
        choices = STATES[state]
        _, word, following = next(choice for choice in choices if text.startswith(choice[1].encode(), at))
        alike = [sum(odds for odds, other, _ in choices if other.startswith(word[:count])) for count in range(len(word) + 1)]
        nats += [math.log(before / after) for before, after in zip(alike, alike[1:])]
        at, state = at + len(word), following
    return nats


def windows(text, length):
    """Where windows of held-out text begin; their second halves are judged."""
    return list(range(0, len(text) - length, max(1, -(-length // 2))))[:256]


def judged_nats(text, length):
    """What a byte says of those that are judged."""
    nats = nats_of_bytes(text)
    judged = [nats[begin + 1 + length // 2 : begin + 1 + length] for begin in windows(text, length)]
    return sum(map(sum, judged)) / sum(map(len, judged))


def tokens(text, device):
    return torch.from_numpy(np.frombuffer(text, dtype=np.uint8).astype(np.int64)).to(device)


# -- the model --


class Norm(nn.Module):
    def __init__(self, kind, width):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width)) if kind == "layernorm" else None

    def forward(self, x):
        if self.shift is not None:
            return F.layer_norm(x, x.shape[-1:], self.gain, self.shift, 1e-5)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.gain


def quantised(weights):
    """What codes of 8 bits stand for, with a scale for each input, as `kernels/src/ml/quantise/code.rs` has them."""
    largest = np.abs(weights).max(axis=1, keepdims=True)
    codes = np.rint(weights * (np.float32(127) / largest)).clip(-127, 127)
    return codes * (largest / np.float32(127))


class Begin:
    """Parameters in the order of Assay's, each from a stream of its own; weights of layers are quantised where a base is of integers."""

    def __init__(self, seed, base):
        self.seed, self.count, self.quantises = seed, 0, base == "int8"

    def skip(self):
        self.count += 1

    def numbers(self, shape, deviation):
        self.count += 1
        return torch.from_numpy(uniform(self.seed, PARAMETERS + self.count - 1, shape, deviation))

    def linear(self, parts, inputs, outputs, bias, deviation):
        """One layer of some that have the same input: their outputs side by side."""
        layer = nn.Linear(inputs, parts * outputs, bias=bias)
        weights = []
        for _ in range(parts):
            weight = self.numbers((inputs, outputs), deviation)
            if self.quantises:
                weight = torch.from_numpy(quantised(weight.numpy()))
            weights.append(weight.T)
            self.count += bias
        with torch.no_grad():
            layer.weight.copy_(torch.cat(weights))
            if bias:
                layer.bias.zero_()
        return layer


def slopes(heads):
    of_power = lambda n: [2.0 ** (-8 * (h + 1) / n) for h in range(n)]
    lower = 1 << (heads.bit_length() - 1)
    return of_power(lower) + of_power(2 * lower)[0::2][: heads - lower]


class Attention(nn.Module):
    def __init__(self, begin, p, bias, of_last):
        super().__init__()
        width, self.heads, self.position = p["width"], p["heads"], p["position"]
        self.inputs = begin.linear(3, width, width, bias, DEVIATION)
        self.output = begin.linear(1, width, width, bias, of_last)
        # Of queries and values; every other parameter stays as it is.
        self.adapters = nn.ParameterList()
        for _ in range(2 if p["rank"] else 0):
            deviation = np.float32(1) / np.sqrt(np.float32(width))
            self.adapters.append(nn.Parameter(begin.numbers((width, p["rank"]), deviation)))
            self.adapters.append(nn.Parameter(torch.zeros(p["rank"], width)))
            begin.skip()
        length = p["length"]
        self.register_buffer("mask", torch.full((length, length), -math.inf).triu(1))
        if self.position == "rope":
            pairs = width // self.heads // 2
            angles = torch.outer(
                torch.arange(length, dtype=torch.float64),
                10000.0 ** (-torch.arange(pairs, dtype=torch.float64) / pairs),
            )
            self.register_buffer("cosines", angles.cos().float())
            self.register_buffer("sines", angles.sin().float())
        if self.position == "alibi":
            places = torch.arange(length)
            apart = (places[:, None] - places[None, :]).abs().float()
            self.mask = self.mask - torch.tensor(slopes(self.heads))[:, None, None] * apart

    def rotate(self, x):
        pairs = x.unflatten(-1, (-1, 2))
        even, odd = pairs[..., 0], pairs[..., 1]
        turned = even * self.cosines - odd * self.sines, even * self.sines + odd * self.cosines
        return torch.stack(turned, -1).flatten(-2)

    def forward(self, x):
        batch, length, width = x.shape
        split = lambda y: y.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        q, k, v = self.inputs(x).split(width, dim=2)
        if len(self.adapters):
            a, b, c, d = self.adapters
            q, v = q + x @ a @ b, v + x @ c @ d
        q, k, v = map(split, (q, k, v))
        if self.position == "rope":
            q, k = self.rotate(q), self.rotate(k)
        if hasattr(F, "scaled_dot_product_attention"):
            told = self.position == "alibi"
            mixed = F.scaled_dot_product_attention(q, k, v, self.mask if told else None, is_causal=not told)
        else:
            scores = q @ k.transpose(-2, -1) * (1.0 / math.sqrt(q.shape[-1])) + self.mask
            mixed = torch.softmax(scores, -1) @ v
        return self.output(mixed.transpose(1, 2).reshape(batch, length, width))


class FeedForward(nn.Module):
    def __init__(self, begin, p, bias, of_last):
        super().__init__()
        width, self.is_gated = p["width"], p["activation"] == "swiglu"
        hidden = -(-(-(-8 * width // 3)) // 8) * 8 if self.is_gated else 4 * width
        self.up = begin.linear(1 + self.is_gated, width, hidden, bias, DEVIATION)
        self.down = begin.linear(1, hidden, width, bias, of_last)

    def forward(self, x):
        if self.is_gated:
            gate, up = self.up(x).chunk(2, dim=-1)
            return self.down(F.silu(gate) * up)
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Mixture(nn.Module):
    """Experts with SwiGLU, of which each token goes to a few; those beyond an expert's slots, in the order of tokens, get nothing of it.
    Every expert computes every token: this is for comparison, not for speed."""

    def __init__(self, begin, p, of_last):
        super().__init__()
        width, experts = p["width"], p["experts"]
        self.chosen, self.experts, self.capacity = p["chosen"], experts, p["capacity"]
        hidden = -(-(-(-8 * width // 3)) // 8) * 8
        self.gate = nn.Parameter(begin.numbers((width, experts), DEVIATION))
        self.w1 = nn.Parameter(begin.numbers((experts, width, hidden), DEVIATION))
        self.w3 = nn.Parameter(begin.numbers((experts, width, hidden), DEVIATION))
        self.w2 = nn.Parameter(begin.numbers((experts, hidden, width), of_last))
        self.balance, self.dropped = 0.0, 0.0

    def forward(self, x):
        rows = x.flatten(0, 1)
        p = torch.softmax(rows @ self.gate, -1)
        top, choices = p.topk(self.chosen, -1)
        picked = F.one_hot(choices.flatten(), self.experts)
        place = (picked.cumsum(0) - 1).gather(1, choices.flatten()[:, None])
        slots = math.ceil(len(rows) * self.chosen / self.experts * self.capacity)
        kept = (place < slots).view_as(top)
        weights = top / top.sum(-1, keepdim=True) * kept
        self.dropped = 1.0 - kept.float().mean().detach()
        share = picked.sum(0) / (len(rows) * self.chosen)
        self.balance = self.experts * (share * p.mean(0)).sum()
        each = torch.stack([(F.silu(rows @ w1) * (rows @ w3)) @ w2 for w1, w3, w2 in zip(self.w1, self.w3, self.w2)], 1)
        picks = each.gather(1, choices[:, :, None].expand(-1, -1, rows.shape[-1]))
        return (weights[:, :, None] * picks).sum(1).view_as(x)


class Layer(nn.Module):
    def __init__(self, begin, p):
        super().__init__()
        bias, of_last = p["norm"] == "layernorm", np.float32(DEVIATION) / np.sqrt(np.float32(2 * p["layers"]))
        begin.skip()
        self.norm1, self.attention = Norm(p["norm"], p["width"]), Attention(begin, p, bias, of_last)
        begin.skip()
        self.norm2 = Norm(p["norm"], p["width"])
        self.feed_forward = Mixture(begin, p, of_last) if p["experts"] else FeedForward(begin, p, bias, of_last)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class Decoder(nn.Module):
    def __init__(self, seed, p):
        super().__init__()
        begin = Begin(seed, p.get("base_stored", "f32"))
        self.tokens = nn.Parameter(begin.numbers((max(p.get("vocabulary", 0), BYTES), p["width"]), DEVIATION))
        learned = p["position"] == "learned"
        self.places = nn.Parameter(begin.numbers((p["length"], p["width"]), DEVIATION)) if learned else None
        self.layers = nn.ModuleList(Layer(begin, p) for _ in range(p["layers"]))
        self.norm = Norm(p["norm"], p["width"])

    def forward(self, ids, labels, reduction="mean"):
        x = F.embedding(ids, self.tokens)
        if self.places is not None:
            x = x + self.places
        for layer in self.layers:
            x = layer(x)
        logits = F.linear(self.norm(x), self.tokens)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction=reduction)


def rate(p, step):
    """The learning rate of a step, counted from 1: as `kernels/src/ml/optimizer/schedule.rs`."""
    peak, floor, cosine = p["rate"], p["rate"] / 10, lambda u: 0.5 + 0.5 * math.cos(math.pi * u)
    if step < p["warmup"]:
        u = step / p["warmup"]
        return peak * (0.04 + 0.96 * (1 - cosine(u)) if p["schedule"] == "one-cycle" else u)
    if step >= p["steps"]:
        return floor
    u = (step - p["warmup"]) / (p["steps"] - p["warmup"])
    powers = {"linear": 1, "polynomial": 2}
    fall = (1 - u) ** powers[p["schedule"]] if p["schedule"] in powers else cosine(u)
    return floor + (peak - floor) * fall


class Training:
    """A training from its beginning on, step by step."""

    def __init__(self, seed, p, text, device="cpu"):
        self.p, self.seed, self.turn, self.at, self.device = p, seed, 0, 0, torch.device(device)
        self.train = tokens(text, device)
        self.model = Decoder(seed, p).to(device)
        if p["rank"]:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_("adapters" in name)
        trained = self.trained()
        # Matrices decay; biases, gains and shifts do not.
        groups = [
            {"params": [x for x in trained if x.dim() > 1], "weight_decay": p["decay"]},
            {"params": [x for x in trained if x.dim() < 2], "weight_decay": 0.0},
        ]
        how = {"fused": True} if self.device.type == "cuda" else {"foreach": True}
        self.optimizer = torch.optim.AdamW(groups, lr=p["rate"], betas=(0.9, 0.99), eps=1e-8, **how)
        self.loss_of = torch.compile(self.model) if p.get("mode") == "compiled" else self.model

    def trained(self):
        return [x for x in self.model.parameters() if x.requires_grad]

    def mixtures(self):
        return [x for x in self.model.modules() if isinstance(x, Mixture)]

    def balance(self):
        """The loss of load balancing of the last batch, where there are experts."""
        return BALANCE * sum(x.balance for x in self.mixtures())

    def dropped(self):
        """The share of choices of the last batch that found no slot."""
        found = [float(x.dropped) for x in self.mixtures()]
        return sum(found) / len(found)

    def widen(self):
        """Everything in f64 from now on."""
        for module in self.model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.double())
        self.model.double()

    def windows(self):
        batch, length = self.p["batch"], self.p["length"]
        drawn = words(self.seed, WINDOWS, self.turn * batch, batch)
        begins = (drawn * np.uint64(len(self.train) - length) >> np.uint64(32)).astype(np.int64)
        self.turn += 1
        places = (torch.from_numpy(begins)[:, None] + torch.arange(length)).to(self.device)
        return self.train[places], self.train[places + 1]

    def narrow(self):
        """Products of 16 bits, where they are stored so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.p.get("stored") == "bf16")

    def step(self):
        """Loss before the update, and the norm of the gradients before clipping: these stay, clipped."""
        p, losses = self.p, []
        self.at += 1
        self.optimizer.zero_grad(set_to_none=True)
        for _ in range(p["accumulation"]):
            with self.narrow():
                loss = self.loss_of(*self.windows())
            ((loss + self.balance()) / p["accumulation"]).backward()
            losses.append(loss.detach())
        most = p["clip"] if p["clip"] > 0 else math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.trained(), most)
        for group in self.optimizer.param_groups:
            group["lr"] = rate(p, self.at)
        self.optimizer.step()
        # Last, for it waits for a GPU.
        loss = sum(loss.item() for loss in losses) / len(losses)
        if not math.isfinite(loss):
            raise ValueError(f"step {self.at}: the loss is {loss}")
        return loss, norm.item()

    def judge(self, text):
        """Mean loss of held-out tokens with at least half a window before them."""
        with torch.no_grad():
            return self.judge_without_gradients(text)

    def judge_without_gradients(self, text):
        held_out, length, batch = tokens(text, self.device), self.p["length"], self.p["batch"]
        begins = windows(text, length)
        total, count = 0.0, 0
        for first in range(0, len(begins), batch):
            places = (torch.tensor(begins[first : first + batch])[:, None] + torch.arange(length)).to(self.device)
            losses = self.model(held_out[places], held_out[places + 1], "none").view(len(places), length)
            total += losses[:, length // 2 :].double().sum().item()
            count += losses[:, length // 2 :].numel()
        return total / count


# -- whether what was timed is right --

# Steps that are taken once more, as they were timed and in f64.
REPEATED = 3
# How far a loss may be from that in f64, and the gradient of a tensor, as a share of its norm; those of small norms by this share of all.
LOSS = {"f32": 1e-4, "bf16": 1e-2}
GRADIENT = {"f32": 1e-4, "bf16": 0.1}
LEAST = 1e-2


def furthest(found, exact):
    """The tensor whose gradient is furthest from the same in f64, and how far."""
    pairs = [
        (name, x.grad.double(), y.grad)
        for (name, x), (_, y) in zip(found.model.named_parameters(), exact.model.named_parameters())
        if y.requires_grad
    ]
    least = LEAST * math.sqrt(sum(y.square().sum().item() for _, _, y in pairs))
    apart = [((x - y).norm().item() / max(y.norm().item(), least), name) for name, x, y in pairs]
    return max(apart, key=lambda one: math.inf if math.isnan(one[0]) else one[0])


def examine(begin, stored, curve):
    """Takes the first steps once more, as they were timed, beside the same training in f64 without a compiler: the largest difference of a
    loss that was timed from that in f64, and what is wrong, if anything is. `begin` begins a training with some parameters changed."""
    found, exact = begin(), begin(stored="f32", mode="eager")
    exact.widen()
    error, wrong = 0.0, None
    for step, timed in enumerate(curve[:REPEATED], 1):
        repeated, expected = found.step()[0], exact.step()[0]
        apart = abs(timed - expected)
        error = max(error, apart) if not math.isnan(apart) else math.nan
        if not abs(timed - repeated) <= LOSS[stored]:
            wrong = wrong or f"step {step} had a loss of {timed}, and {repeated} when it was repeated"
        far, name = furthest(found, exact)
        if not far <= GRADIENT[stored]:
            wrong = wrong or f"step {step}: the gradient of `{name}` lies {far:.2e} of its norm from that in f64, {GRADIENT[stored]} allowed"
    return error, wrong


# -- the worker --


def parameter(name, default, kind="int", choices=()):
    info = {"name": name, "type": kind, **({} if default is None else {"default": default})}
    return {**info, **({"choices": list(choices)} if choices else {})}


INFO = {
    "name": "torch-lm",
    "summary": "a step of training a language model on bytes in PyTorch, while it learns",
    "definition": 2,
    "parameters": [
        *(parameter(name, None) for name in ("batch", "length", "layers", "width", "heads")),
        parameter("vocabulary", 0),
        parameter("position", "learned", "text", ("learned", "rope", "alibi")),
        parameter("norm", "layernorm", "text", ("layernorm", "rmsnorm")),
        parameter("activation", "gelu", "text", ("gelu", "swiglu")),
        parameter("experts", 0),
        parameter("chosen", 2),
        parameter("capacity", 1.25, "float"),
        parameter("rank", 0),
        parameter("stored", "f32", "text", ("f32", "bf16")),
        parameter("schedule", "cosine", "text", ("cosine", "linear", "polynomial", "one-cycle")),
        parameter("rate", 3e-3, "float"),
        parameter("decay", 0.1, "float"),
        parameter("clip", 1.0, "float"),
        parameter("steps", 100),
        parameter("warmup", 0),
        parameter("accumulation", 1),
        parameter("corpus", 1000000),
        parameter("mode", "eager", "text", ("eager", "compiled")),
        parameter("threads", 1),
    ],
    "timing": ["hot"],
    "devices": ["cpu", "cuda"],
}


class Skipped(Exception):
    pass


def gpus():
    return range(torch.cuda.device_count() if not MISSING and torch.cuda.is_available() else 0)


def chosen(selector):
    """The device that a selector means: `cpu`, `cuda`, one by its number, `cuda:1`, or by its model, `cuda:H100`."""
    if MISSING:
        raise Skipped(MISSING)
    kind, _, which = selector.partition(":")
    if kind == "cpu":
        return torch.device("cpu")
    names = [torch.cuda.get_device_name(index) for index in gpus()]
    fits = [index for index, name in enumerate(names) if which in ("", str(index)) or (not which.isdigit() and which in name)]
    if kind != "cuda" or not fits:
        raise Skipped(f"torch {torch.__version__} has no device `{selector}`; there are: {', '.join(['cpu', *names])}")
    return torch.device("cuda", fits[0])


# Of Debian's libblas3 alone.
REFERENCE = "/blas/libblas.so"


def blas_libraries(maps="/proc/self/maps"):
    """Files of the libraries of products that are mapped, but for NumPy's own; none where PyTorch has one within."""
    name = re.compile(r"/\S*/lib(?:open)?(?:blas|mkl_rt|blis|flexiblas)[^/]*\.so\S*$")
    with open(maps) as lines:
        found = {match[0] for line in lines if (match := name.search(line.rstrip()))}
    return sorted(path for path in found if "numpy" not in path)


def usable_cpus():
    return len(os.sched_getaffinity(0))


def set_threads(count):
    """Of OpenMP, and of every library of products that has a pool of its own."""
    torch.set_num_threads(count)
    for path in blas_libraries():
        library = ctypes.CDLL(path)
        for name in ("openblas_set_num_threads", "MKL_Set_Num_Threads", "bli_thread_set_num_threads"):
            if hasattr(library, name):
                getattr(library, name)(ctypes.c_long(count))


def check_host(threads):
    """Skips what the host cannot do, or not as anybody would do it."""
    if not 1 <= threads <= usable_cpus():
        raise Skipped(f"this process may use {usable_cpus()} CPUs, {threads} `threads` are asked for")
    if any(REFERENCE in path for path in blas_libraries()):
        raise Skipped(f"torch {torch.__version__} multiplies by the reference BLAS, which is slow: install libopenblas0-pthread")


def blas():
    """What multiplies, in words."""
    within = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    within = f"within PyTorch: {within[1] if within else 'unknown'}"
    return ", ".join(os.path.realpath(path) for path in blas_libraries()) or within


def check_parameters(p):
    """Refuses what `train-lm` refuses."""
    wrong = lambda name, expected: ValueError(f"parameter `{name}`: expected {expected}, found {p[name]}")
    for name in ("batch", "length", "layers", "width", "heads", "steps", "accumulation", "corpus", "threads"):
        if p[name] < 1:
            raise wrong(name, "an integer from 1")
    multiple = p["heads"] * (2 if p["position"] == "rope" else 1)
    if p["width"] % multiple:
        raise wrong("width", f"a multiple of {multiple}")
    if p["experts"] and not 1 <= p["chosen"] <= p["experts"]:
        raise wrong("chosen", f"1 to `experts`, {p['experts']}")
    if not 0 <= p["rank"] <= p["width"]:
        raise wrong("rank", f"0 to `width`, {p['width']}")
    if not 0 <= p["warmup"] <= p["steps"]:
        raise wrong("warmup", f"0 to `steps`, {p['steps']}")
    if p["vocabulary"] and p["vocabulary"] < BYTES:
        raise wrong("vocabulary", f"0, or at least {BYTES}")


class Clock:
    """Time of a step, by the host and, where that is a GPU, by the device."""

    def __init__(self, device):
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else None
        self.start, self.times = 0, {}

    def __enter__(self):
        self.start = time.monotonic_ns()
        if self.events:
            self.events[0].record()

    def __exit__(self, *_):
        self.times = {}
        if self.events:
            self.events[1].record()
            self.events[1].synchronize()
            self.times["device_ns"] = max(1, round(self.events[0].elapsed_time(self.events[1]) * 1e6))
        self.times["host_ns"] = max(1, time.monotonic_ns() - self.start)

    def ns(self):
        return self.times.get("device_ns", self.times["host_ns"])


class Case:
    def __init__(self, spec):
        self.device = chosen(spec["device"])
        self.clock = Clock(self.device)
        self.p, self.seed = dict(spec["params"]), int(spec["seed"])
        if set(self.p) != {info["name"] for info in INFO["parameters"]}:
            raise ValueError("`torch-lm` takes the parameters that it declares, each once")
        check_parameters(self.p)
        if self.p["mode"] == "compiled" and not hasattr(torch, "compile"):
            raise Skipped(f"torch {torch.__version__} has no torch.compile")
        if self.device.type == "cpu":
            check_host(self.p["threads"])
        set_threads(self.p["threads"])
        self.text, self.held_out = corpus(self.seed, self.p["corpus"])
        if min(len(self.text), len(self.held_out)) <= self.p["length"]:
            raise ValueError("the corpus is not longer than `length`; give more, or a shorter `length`")
        self.floors = [statistics.fmean(nats_of_bytes(self.text)), judged_nats(self.held_out, self.p["length"])]
        self.curve, self.times, self.judged, self.peak = [], [], None, None
        self.restart()

    def restart(self):
        self.training = Training(self.seed, self.p, self.text, self.device)

    def flops(self):
        """Of a token, without attention and with; see `train-lm`."""
        model, p = self.training.model, self.p
        places = 0 if model.places is None else model.places.numel()
        experts = sum(x.numel() for name, x in model.named_parameters() if name.endswith((".w1", ".w3", ".w2")))
        idle = experts // max(1, p["experts"]) * (p["experts"] - p["chosen"]) if p["experts"] else 0
        frozen = sum(x.numel() for name, x in model.named_parameters() if not x.requires_grad and name != "places")
        of_products = 6 * (sum(x.numel() for x in model.parameters()) - places - idle) - 2 * frozen
        return of_products, of_products + 12 * p["layers"] * p["width"] * p["length"]

    def prepared(self):
        count = self.p["batch"] * self.p["length"] * self.p["accumulation"]
        metric = lambda name, unit, direction, kind="case": dict(name=name, unit=unit, direction=direction, kind=kind)
        is_gpu = self.device.type == "cuda"
        uuid = getattr(torch.cuda.get_device_properties(self.device), "uuid", None) if is_gpu else None
        of_memory = "of tensors, and of all cases so far" if is_gpu else "of the whole process until its training ended, and of all its cases so far"
        return {
            "kind": "prepared",
            **({} if uuid is None else {"device": f"GPU-{uuid}"}),
            "work": {"items": count, "flops": count * self.flops()[1], "formula": "items = tokens, flops = (6 N + 12 L W S) tokens"},
            "metrics": [
                {**metric("loss", "nats", "neutral", "sample"), "floor": self.floors[0]},
                metric("gradient_norm", "1", "neutral", "sample"),
                {**metric("final_loss", "nats", "lower"), "floor": self.floors[0]},
                {**metric("held_out_loss", "nats", "lower"), "floor": self.floors[1]},
                metric("perplexity", "1", "lower"),
                metric("bits_per_byte", "bits/B", "lower"),
                metric("loss_over_entropy", "1", "lower"),
                *([metric("dropped_choices", "1", "lower", "sample")] if self.p["experts"] else []),
                metric("peak_memory", "B", "lower"),
                metric("mfu_palm", "1", "higher"),
                metric("mfu_6n", "1", "higher"),
                metric("product_rate", "FLOP/s", "neutral"),
            ],
            "inputs": {"corpus": "sha256:" + hashlib.sha256(self.text + self.held_out).hexdigest()},
            "deterministic": False,
            "facts": {
                "blas": blas(),
                "peak_memory": of_memory,
            },
        }

    def sample(self):
        if self.training.at == self.p["steps"]:
            self.judge_once()
            self.restart()
        with self.clock:
            loss, norm = self.training.step()
        self.times.append(self.clock.ns())
        if len(self.curve) < self.training.at:
            self.curve.append(loss)
        return {
            "kind": "sample",
            "start_ns": self.clock.start,
            "iterations": 1,
            **self.clock.times,
            "values": {
                "loss": loss,
                "gradient_norm": norm,
                **({"dropped_choices": self.training.dropped()} if self.p["experts"] else {}),
            },
        }

    def judge_once(self):
        if self.judged is None:
            # Before anything is checked: what that takes is not the training's.
            self.peak = peak_memory(self.device)
            self.judged = self.training.judge(self.held_out)

    def complete(self):
        while len(self.curve) < self.p["steps"]:
            self.curve.append(self.training.step()[0])
        self.judge_once()

    def verify(self):
        """The losses that were timed, and the gradients of the same steps, beside those in f64."""
        self.complete()
        # Its memory is needed: the next sample begins anew, as after a last step.
        self.training = None
        begin = lambda **changed: Training(self.seed, {**self.p, **changed}, self.text, self.device)
        error, wrong = examine(begin, self.p["stored"], self.curve)
        self.restart()
        tolerance = LOSS[self.p["stored"]]
        bits = b"".join(np.float64(loss).tobytes() for loss in self.curve)
        told = (
            f"largest difference of the first {REPEATED} losses from those in f64, in nats; gradients of these steps lie within "
            f"{GRADIENT[self.p['stored']]} of their norms; the digest is of all losses of the training"
        )
        return {
            "kind": "verified",
            "passed": error <= tolerance and wrong is None,
            **({"error": error} if math.isfinite(error) else {}),
            "tolerance": tolerance,
            "output": "sha256:" + hashlib.sha256(bits).hexdigest(),
            "detail": wrong or told,
        }

    def values(self):
        self.complete()
        count = self.p["batch"] * self.p["length"] * self.p["accumulation"]
        seconds = sorted(self.times)[len(self.times) // 2] / 1e9
        rate = product_rate(self.device, torch.bfloat16 if self.p["stored"] == "bf16" else torch.float32)
        of_products, of_all = (flops * count / seconds / rate for flops in self.flops())
        last = self.curve[-10:]
        return {
            "final_loss": sum(last) / len(last),
            "held_out_loss": self.judged,
            "perplexity": math.exp(self.judged),
            "bits_per_byte": self.judged / math.log(2),
            "loss_over_entropy": self.judged / self.floors[1],
            "peak_memory": self.peak,
            "mfu_palm": of_all,
            "mfu_6n": of_products,
            "product_rate": rate,
        }


def peak_memory(device):
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def product_rate(device, kind):
    """Flops a second of a product of matrices of this type: the fastest of some, on the host of many, each shorter than a time slice."""
    side, count, kind = (4096, 8, kind) if device.type == "cuda" else (256, 64, torch.float32)
    a, b = (torch.rand((side, side), device=device).to(kind) for _ in range(2))
    clock, best = Clock(device), math.inf
    for _ in range(count):
        with clock:
            a @ b
        best = min(best, clock.ns())
    return 2 * side**3 / best * 1e9


def hello():
    cuda = [{"kind": "cuda", "index": index, "name": torch.cuda.get_device_name(index)} for index in gpus()]
    software = {"python": platform.python_version(), "torch": "not installed" if MISSING else torch.__version__}
    return {
        "kind": "hello",
        "protocol": PROTOCOL,
        "worker": "torch_lm.py",
        "version": "1",
        "devices": [{"kind": "cpu", "index": 0, "name": platform.processor() or platform.machine()}, *cuda],
        "software": software,
        "workloads": [INFO],
    }


def chunk(case, request):
    replies, begin = [], time.monotonic_ns()
    while not replies or (
        len(replies) < request["max_samples"] and time.monotonic_ns() - begin <= request["max_ns"]
    ):
        replies.append(case.sample())
    return replies + [{"kind": "sampled", "samples": len(replies)}]


def is_out_of_memory(error):
    said = str(error)
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def serve(request, case):
    """The replies to a request, and the case that is prepared after it."""
    kind = request["request"]
    if kind == "hello":
        return [hello()], case
    if kind == "prepare":
        spec = request["case"]
        if spec["workload"] != INFO["name"] or spec["timing"] != "hot":
            raise ValueError(f"expected workload `{INFO['name']}` and timing mode `hot`")
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
    case = None
    for line in sys.stdin.buffer:
        try:
            replies, case = serve(json.loads(line), case)
        except Skipped as reason:
            replies, case = [{"kind": "skipped", "reason": str(reason)}], None
        except Exception as error:  # a bad request costs its reply, not the worker
            kind = "skipped" if is_out_of_memory(error) else "failed"
            replies = [{"kind": kind, "reason": f"{type(error).__name__}: {error}"}]
            case = None if kind == "skipped" else case
        for reply in replies:
            print(json.dumps({"v": PROTOCOL, **reply}, allow_nan=False))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
