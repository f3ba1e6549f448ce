#!/usr/bin/env python3
"""Trainings of a perceptron, a convolutional network and an autoencoder in PyTorch, and of the parts of trainings, which
`tests/torch/models.rs` compares with Assay's. Data are random numbers of the generator that both sides have.

    apt-get install python3-torch libopenblas0-pthread
    /usr/bin/python3 suites/tests/torch/golden_models.py

writes models.json beside this file, or with --check compares it with what it makes; it was made with torch 1.13 of Debian 12 and
OpenBLAS 0.3.21.
"""
import math
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "workers"))
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402
import torch_lm  # noqa: E402
from kept import keep  # noqa: E402

SEED = 11
STEPS = 20
RECIPE = {"rate": 1e-2, "decay": 0.1, "clip": 1.0, "warmup": 3, "steps": STEPS, "schedule": "cosine"}
# Streams of the generator: drawn rows, stochastic depth, mixing, noise of codes, drawn labels.
ROWS, DEPTH, MIXING, NOISE, LABELS = (1 << bit for bit in (43, 44, 45, 46, 47))
CURVATURE_TURNS = 1 << 40


def numbers(stream, first, count):
    """Uniform on [-1, 1)."""
    upper = (torch_lm.words(1, stream, first, count) >> np.uint64(8)).astype(np.float32)
    return upper * np.float32(2.0**-23) - np.float32(1)


def word(stream, index, seed=SEED):
    return int(torch_lm.words(seed, stream, index, 1)[0])


def root(x):
    return np.sqrt(np.float32(x))


class Model:
    """Parameters in the order of Assay's, each from a stream of its own."""

    def __init__(self):
        self.all = []

    def add(self, value):
        self.all.append(value.requires_grad_(True))
        return value

    def uniform(self, shape, deviation):
        return self.add(torch.from_numpy(torch_lm.uniform(SEED, torch_lm.PARAMETERS + len(self.all), shape, deviation)))

    def zeros(self, count):
        return self.add(torch.zeros(count))

    def ones_then_zeros(self, count):
        return self.add(torch.cat([torch.ones(count), torch.zeros(count)]))

    def linear(self, inputs, outputs, deviation):
        return self.uniform((inputs, outputs), deviation), self.zeros(outputs)

    def hidden(self, inputs, outputs):
        return self.linear(inputs, outputs, root(np.float32(2) / np.float32(inputs)))

    def head(self, inputs, outputs):
        return self.linear(inputs, outputs, np.float32(1) / root(inputs))


def gelu(x):
    return F.gelu(x, approximate="tanh")


class Rounded(torch.autograd.Function):
    """A product of numbers that are rounded to a type first, and so is the gradient that comes back."""

    @staticmethod
    def forward(context, x, weight, kind):
        x, weight = x.to(kind).float(), weight.to(kind).float()
        context.save_for_backward(x, weight)
        context.kind = kind
        return x @ weight

    @staticmethod
    def backward(context, dy):
        x, weight = context.saved_tensors
        dy = dy.to(context.kind).float()
        return dy @ weight.T, x.T @ dy, None


def norm(x, parameters):
    gain, shift = parameters.chunk(2)
    return F.layer_norm(x, x.shape[-1:], gain, shift, 1e-5)


def drawn(turn, batch, rows):
    words = torch_lm.words(SEED, ROWS, turn * batch, batch)
    return [int(w) * rows >> 32 for w in words]


class Perceptron:
    BATCH, FEATURES, WIDTH, LAYERS, CLASSES, COUNT = 16, 7, 24, 3, 4, 200

    def __init__(self, kind=None):
        model = Model()
        self.product = torch.matmul if kind is None else lambda x, weight: Rounded.apply(x, weight, kind)
        widths = [self.FEATURES] + [self.WIDTH] * self.LAYERS
        self.layers = [model.hidden(*sides) for sides in zip(widths, widths[1:])]
        self.head = model.head(self.WIDTH, self.CLASSES)
        self.parameters = model.all
        self.x = torch.from_numpy(numbers(2, 0, self.COUNT * self.FEATURES)).view(-1, self.FEATURES)
        labels = torch_lm.words(1, 2, 1_000_000, self.COUNT) % np.uint64(self.CLASSES)
        self.labels = torch.from_numpy(labels.astype(np.int64))

    def logits(self, turn):
        x = self.x[drawn(turn, self.BATCH, self.COUNT)]
        for weight, bias in self.layers:
            x = gelu(self.product(x, weight) + bias)
        return self.product(x, self.head[0]) + self.head[1]

    def losses(self, turn):
        labels = self.labels[drawn(turn, self.BATCH, self.COUNT)]
        return F.cross_entropy(self.logits(turn), labels, reduction="none")

    def of_drawn_labels(self, turn):
        """Mean loss of labels that are drawn from what the model says, and of how many."""
        logits = self.logits(turn)
        labels = []
        for row, values in enumerate(logits.detach().double()):
            weights = (values - values.max()).exp()
            share = (word(LABELS, turn * self.BATCH + row) + 0.5) * 2.0**-32 * weights.sum()
            labels.append(int((weights.cumsum(0) > share).int().argmax()))
        return F.cross_entropy(logits, torch.tensor(labels)), self.BATCH


class Convnet:
    BATCH, SIDE, CHANNELS, WIDTH, STAGES, BLOCKS, CLASSES, COUNT = 4, 8, 2, 3, 2, 2, 4, 20
    DROP, SMOOTHING = 1 << 31, 0.1

    def __init__(self):
        model = Model()
        self.stem = self.conv(model, self.CHANNELS, self.WIDTH, 1)
        self.stages = []
        for stage in range(self.STAGES):
            width = self.WIDTH << stage
            narrow = self.conv(model, width // 2, width, 1) if stage else None
            blocks = []
            for _ in range(self.BLOCKS):
                parts = [model.ones_then_zeros(width), self.conv(model, width, width, 1), model.zeros(width)]
                blocks.append(parts + [self.conv(model, width, width, 0.1)])
            self.stages.append((narrow, blocks))
        last = self.WIDTH << (self.STAGES - 1)
        self.norm, self.head = model.ones_then_zeros(last), model.head(last, self.CLASSES)
        self.parameters = model.all
        size = self.SIDE * self.SIDE * self.CHANNELS
        self.x = torch.from_numpy(numbers(2, 0, self.COUNT * size)).view(-1, self.SIDE, self.SIDE, self.CHANNELS)
        labels = torch_lm.words(1, 2, 1_000_000, self.COUNT) % np.uint64(self.CLASSES)
        self.labels = [int(label) for label in labels]

    def conv(self, model, inputs, outputs, times):
        window = 9 * inputs
        return model.uniform((window, outputs), np.float32(times) * root(np.float32(2) / np.float32(window)))

    @staticmethod
    def convolve(x, filters):
        weight = filters.view(3, 3, x.shape[-1], -1).permute(3, 2, 0, 1)
        return F.conv2d(x.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1)

    def factors(self, turn, branch):
        branches = self.STAGES * self.BLOCKS
        threshold = self.DROP * (branch + 1) // branches
        words = torch_lm.words(SEED, DEPTH + branch, turn * self.BATCH, self.BATCH)
        kept = np.float32(1 / (1 - threshold / 2**32))
        return torch.tensor([0.0 if int(w) < threshold else kept for w in words]).view(-1, 1, 1, 1)

    def mixed(self, turn, b):
        """A picture of a turn, and its soft label."""
        one = drawn(turn, self.BATCH, self.COUNT)[b]
        w = [int(x) for x in torch_lm.words(SEED, MIXING, 8 * (turn * self.BATCH + b), 8)]
        other, share = w[0] * self.COUNT >> 32, np.float32(w[1] >> 8) * np.float32(2.0**-24)
        if w[4] & 1:
            cut = int(np.sqrt(np.float32(1) - share) * np.float32(self.SIDE))
            ranges = []
            for centre in (w[2] * self.SIDE >> 32, w[3] * self.SIDE >> 32):
                ranges.append((max(0, centre - cut // 2), min(self.SIDE, centre + cut - cut // 2)))
            (top, bottom), (left, right) = ranges
            x = self.x[one].clone()
            x[top:bottom, left:right] = self.x[other][top:bottom, left:right]
            share = 1 - (bottom - top) * (right - left) / self.SIDE**2
        else:
            x = float(share) * self.x[one] + (1 - float(share)) * self.x[other]
        target = torch.full((self.CLASSES,), self.SMOOTHING / self.CLASSES)
        target[self.labels[one]] += (1 - self.SMOOTHING) * float(share)
        target[self.labels[other]] += (1 - self.SMOOTHING) * (1 - float(share))
        return x, target

    def losses(self, turn):
        pairs = [self.mixed(turn, b) for b in range(self.BATCH)]
        x, targets = torch.stack([x for x, _ in pairs]), torch.stack([t for _, t in pairs])
        x, branch = self.convolve(x, self.stem), 0
        for narrow, blocks in self.stages:
            if narrow is not None:
                pooled = F.avg_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
                x = self.convolve(pooled, narrow)
            for gains, first, bias, second in blocks:
                between = gelu(self.convolve(norm(x, gains), first) + bias)
                x = x + self.factors(turn, branch) * self.convolve(between, second)
                branch += 1
        logits = norm(x, self.norm).mean((1, 2)) @ self.head[0] + self.head[1]
        return -(targets * torch.log_softmax(logits, -1)).sum(-1)


class Autoencoder:
    BATCH, POINTS, WIDTH, LAYERS, CODE, BETA, COUNT = 8, 12, 16, 2, 3, 0.5, 50

    def __init__(self):
        model = Model()
        self.encoder = self.half(model, self.POINTS, 2 * self.CODE)
        self.decoder = self.half(model, self.CODE, self.POINTS)
        self.parameters = model.all
        shape = (self.COUNT, self.POINTS)
        self.x = torch.from_numpy(numbers(2, 0, self.COUNT * self.POINTS)).view(shape)
        self.w = torch.from_numpy(numbers(2, 1000, self.COUNT * self.POINTS)).view(shape).clamp(min=0)

    def half(self, model, inputs, outputs):
        widths = [inputs] + [self.WIDTH] * self.LAYERS
        return [model.hidden(*sides) for sides in zip(widths, widths[1:])] + [model.head(self.WIDTH, outputs)]

    @staticmethod
    def apply(half, x):
        for weight, bias in half[:-1]:
            x = gelu(x @ weight + bias)
        return x @ half[-1][0] + half[-1][1]

    def noise(self, turn, b):
        """Normal numbers, by inversion, two words each."""
        row = turn * self.BATCH + b
        w = [int(x) for x in torch_lm.words(SEED, NOISE, 4 * (row << 20), 2 * self.CODE)]
        units = [(((low | high << 32) >> 11) + 0.5) / 2**53 for low, high in zip(w[::2], w[1::2])]
        return [statistics.NormalDist().inv_cdf(u) for u in units]

    def losses(self, turn):
        rows = drawn(turn, self.BATCH, self.COUNT)
        x, w = self.x[rows], self.w[rows]
        mu, v = self.apply(self.encoder, x).chunk(2, -1)
        eps = torch.tensor([self.noise(turn, b) for b in range(self.BATCH)])
        y = self.apply(self.decoder, mu + (v / 2).exp() * eps)
        divergence = (mu.square() + v.exp() - 1 - v).sum(-1) / 2
        return ((w * (y - x).square()).sum(-1) / 2 + self.BETA * divergence) / self.POINTS


def centralise(parameter):
    """The mean over all inputs of an output is taken out: weights here are inputs by outputs."""
    if parameter.dim() > 1:
        parameter.grad -= parameter.grad.mean(0, keepdim=True)


def clip_units(parameter, clipping):
    """The gradient of the weights of an output, or of all of a bias, is clipped beside the norm of these."""
    of_unit = lambda x: x.norm(dim=0, keepdim=True) if x.dim() > 1 else x.norm()
    most = clipping * of_unit(parameter.detach()).clamp(min=1e-3)
    norm_of = of_unit(parameter.grad)
    parameter.grad *= torch.where(norm_of <= most, torch.ones_like(norm_of), most / norm_of)


class SophiaG:
    """H. Liu et al., "Sophia", ICLR 2024, algorithm 3."""

    def __init__(self, parameters, constants):
        self.parameters, self.constants = parameters, constants
        self.m = [torch.zeros_like(x) for x in parameters]
        self.h = [torch.zeros_like(x) for x in parameters]

    def estimate(self, loss, examples):
        gradients = torch.autograd.grad(loss, self.parameters)
        beta2 = self.constants["beta2"]
        for h, g in zip(self.h, gradients):
            h.mul_(beta2).add_((1 - beta2) * examples * g.square())

    @torch.no_grad()
    def step(self, rate, decay):
        c = self.constants
        for x, m, h in zip(self.parameters, self.m, self.h):
            m.mul_(c["beta1"]).add_((1 - c["beta1"]) * x.grad)
            ratio = (m / (c["gamma"] * h).clamp(min=c["epsilon"])).clamp(-1, 1)
            x -= rate * (decay if x.dim() > 1 else 0.0) * x + rate * ratio


class Sgd:
    """PyTorch's own SGD, in the form that Assay has: its velocity has the rates in it, and decay is beside it (SGDW)."""

    def __init__(self, groups, momentum):
        self.momentum, self.last = momentum, None
        self.decays = [(group["params"], group["weight_decay"]) for group in groups]
        groups = [{**group, "weight_decay": 0.0} for group in groups]
        self.inner = torch.optim.SGD(groups, lr=1.0, momentum=momentum)

    def step(self, rate):
        for parameters, decay in self.decays:
            for x in parameters:
                x.data *= 1 - rate * decay
        for group in self.inner.param_groups:
            # A velocity of gradients, times a rate, goes on as one that has the rate of each gradient in it. (Where the momentum is 0,
            # PyTorch begins none.)
            group["lr"], group["momentum"] = rate, self.momentum * (self.last or rate) / rate
        self.last = rate
        self.inner.step()


def train(network, options):
    parameters = network.parameters
    groups = [
        {"params": [x for x in parameters if x.dim() > 1], "weight_decay": RECIPE["decay"]},
        {"params": [x for x in parameters if x.dim() < 2], "weight_decay": 0.0},
    ]
    recipe = {**RECIPE, **options}
    adamw = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.99), eps=1e-8)
    sophia = SophiaG(parameters, options["sophia"]) if "sophia" in options else None
    sgd = Sgd(groups, options["momentum"]) if "momentum" in options else None
    losses, norms, curvature_turn = [], [], CURVATURE_TURNS
    for step in range(STEPS):
        if sophia and step % options["curvature_every"] == 0:
            sophia.estimate(*network.of_drawn_labels(curvature_turn))
            curvature_turn += 1
        for x in parameters:
            x.grad = None
        loss = network.losses(step).mean()
        (loss * options.get("scale", 1.0)).backward()
        for x in parameters:
            x.grad /= options.get("scale", 1.0)
            if options.get("centralise"):
                centralise(x)
            if "adaptive_clip" in options:
                clip_units(x, options["adaptive_clip"])
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, recipe["clip"]).item())
        losses.append(loss.item())
        rate = torch_lm.rate(recipe, step + 1)
        if sophia:
            sophia.step(rate, recipe["decay"])
        elif sgd:
            sgd.step(rate)
        else:
            for group in adamw.param_groups:
                group["lr"] = rate
            adamw.step()
    return {"losses": losses, "norms": norms}


SOPHIA = {"beta1": 0.96, "beta2": 0.99, "gamma": 0.05, "epsilon": 1e-12}
CASES = {
    "perceptron": (Perceptron, {}),
    "convnet": (Convnet, {}),
    "autoencoder": (Autoencoder, {}),
    "bf16": (lambda: Perceptron(torch.bfloat16), {}),
    "f16": (lambda: Perceptron(torch.float16), {"scale": 65536.0}),
    "units": (Perceptron, {"centralise": True, "adaptive_clip": 0.05}),
    "sgd": (Perceptron, {"momentum": 0.9, "rate": 1e-1}),
    "sophia": (Perceptron, {"sophia": SOPHIA, "curvature_every": 3, "rate": 1e-3}),
}


def main():
    golden = {name: train(network(), options) for name, (network, options) in CASES.items()}
    keep(HERE / "models.json", golden)


if __name__ == "__main__":
    main()
