"""Reference numbers of the convolutional networks from PyTorch and torchvision, in FP64. Run by hand:

    python tests/golden/make_golden.py [network...]

Weights, statistics and images are made by a formula (values(), below; tests/golden.h has the same in C), so that no
weight has to be stored. For each network one file says, for one training step over its images: the loss, the logits,
the gradient of every parameter, the running statistics after the step, and the logits in evaluation mode with the
statistics as the step left them and the weights as they were.

A tensor a is stored as its digest: its L2 norm and its products with vectors s of pseudo-random signs. For another
tensor b and independent signs E[(s.(a - b))^2] = |a - b|^2, so the mean of (s.a - s.b)^2 over the stored signs
estimates the squared L2 distance of b from a, whatever the difference looks like: four signs have a relative deviation
of at most sqrt(2 / 4). The estimate falls below a hundredth of the true distance with a probability of about 2e-8 per
tensor (chi-square with four degrees of freedom), so a wrong gradient does not pass.

Activations with a kink (ReLU, ReLU6) are what FP32 and FP64 may disagree on by more than rounding: an input within
rounding of the kink flips a whole gradient element. The seed of each network is searched for one that keeps all inputs
away from the kinks, by a multiple of what PyTorch's own FP32 is off by there. In the larger networks no seed does, so their
shifts keep all but about one input in a hundred on one side (of ReLU6: between both kinks). Images have 64 pixels
a side where the stem has a stride, so that the last batch normalisations see 16 values a channel: with the 4 of a small
image rounding is amplified too much to tell it from a mistake. The files that end in _32 have images of 32 pixels, whose
last maps are a single pixel, and 16 of them for the same reason.

Some gradients are zero by symmetry, as that of a shift which a later batch normalisation takes away. A bias's gradient is
therefore measured against the larger of its own norm and that of the weight beside it.
"""

import collections
import os
import sys

import numpy
import safetensors.torch
import torch
import torchvision

HERE = os.path.dirname(os.path.abspath(__file__))
CLASSES, SIGNS, SEEDS, CANDIDATES = 10, 4, 24, 6
M32 = 0xFFFFFFFF


def name_hash(name):
    """FNV-1a."""
    value = 2166136261
    for byte in name.encode():
        value = (value ^ byte) * 16777619 & M32
    return value


def bits(name, seed, count):
    """The finaliser of MurmurHash3 over a counter."""
    x = numpy.arange(count, dtype=numpy.uint32) * numpy.uint32(2654435761)
    x += numpy.uint32(name_hash(name) + seed * 40503 & M32)
    x ^= x >> numpy.uint32(16)
    x *= numpy.uint32(0x85EBCA6B)
    x ^= x >> numpy.uint32(13)
    x *= numpy.uint32(0xC2B2AE35)
    x ^= x >> numpy.uint32(16)
    return x


def values(name, seed, count, scale, centre=0.0):
    """centre + scale * u in FP32, u uniform in [-1, 1) with 24 bits."""
    u = (bits(name, seed, count) >> numpy.uint32(8)).astype(numpy.float32) * numpy.float32(2.0**-23) - numpy.float32(1)
    return numpy.float32(centre) + numpy.float32(scale) * u


def parameter_values(name, shape, seed, norms, spread):
    """`spread`: centre and scale of a normalisation's factors, then of its shifts."""
    count = int(numpy.prod(shape))
    if name.endswith("running_mean"):
        return values(name, seed, count, 0.1)
    if name.endswith("running_var"):
        return values(name, seed, count, 1.0, 2.0)
    if len(shape) > 1:  # by fan-in, so that every layer keeps the size of what it takes
        return values(name, seed, count, float(numpy.sqrt(6.0 / float(numpy.prod(shape[1:])))))
    layer, what = name.rsplit(".", 1)
    if layer not in norms:
        return values(name, seed, count, 0.1)
    return values(name, seed, count, spread[what == "bias"][1], spread[what == "bias"][0])


def signs(name, count):
    """SIGNS rows of +-1."""
    words = bits(name + "#", 0, count)
    return [1.0 - 2.0 * ((words >> numpy.uint32(8 + k)) & numpy.uint32(1)).astype(numpy.float64) for k in range(SIGNS)]


def digest(name, tensor):
    flat = tensor.detach().double().reshape(-1).numpy()
    return [float(numpy.linalg.norm(flat))] + [float(sign @ flat) for sign in signs(name, flat.size)]


def resnet18(stem):
    model = torchvision.models.resnet18(num_classes=CLASSES)
    if stem == "cifar":
        model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        model.maxpool = torch.nn.Identity()
    return model


def mobilenet_v2():
    return torchvision.models.mobilenet_v2(num_classes=CLASSES, dropout=0.0)


def efficientnet_b0(squeeze):
    model = torchvision.models.efficientnet_b0(num_classes=CLASSES, dropout=0.0, stochastic_depth_prob=0.0)
    if not squeeze:
        for module in list(model.modules()):
            for key, child in list(module.named_children()):
                if isinstance(child, torchvision.ops.SqueezeExcitation):
                    setattr(module, key, torch.nn.Identity())
    return model


# `rows` images of `side` pixels a side; the spread of the normalisations.
Network = collections.namedtuple("Network", "make rows side spread")
WIDE, SMOOTH, BETWEEN = ((1.5, 1.0), (0.0, 0.2)), ((1.2, 0.4), (0.5, 0.3)), ((1.2, 0.2), (3.0, 0.3))
MODELS = {
    "resnet18": Network(lambda: resnet18("imagenet"), 4, 64, WIDE),
    "resnet18_32": Network(lambda: resnet18("imagenet"), 16, 32, WIDE),
    "resnet18_cifar": Network(lambda: resnet18("cifar"), 4, 32, BETWEEN),
    "mobilenet_v2": Network(mobilenet_v2, 4, 64, BETWEEN),
    "mobilenet_v2_32": Network(mobilenet_v2, 16, 32, BETWEEN),
    "efficientnet_b0": Network(lambda: efficientnet_b0(False), 4, 64, SMOOTH),
    "efficientnet_b0_32": Network(lambda: efficientnet_b0(False), 16, 32, SMOOTH),
    "efficientnet_b0_squeeze": Network(lambda: efficientnet_b0(True), 4, 64, SMOOTH),
    "efficientnet_b0_squeeze_32": Network(lambda: efficientnet_b0(True), 16, 32, SMOOTH),
}


def fill(model, seed, spread):
    """Every tensor by formula."""
    norms = {name for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}
    state = model.state_dict()
    for name, tensor in state.items():
        if not name.endswith("num_batches_tracked"):
            made = parameter_values(name, tuple(tensor.shape), seed, norms, spread)
            state[name] = torch.from_numpy(made).reshape(tensor.shape).to(tensor.dtype)
    model.load_state_dict(state)


def batch(network, seed, dtype):
    shape = (network.rows, 3, network.side, network.side)
    images = torch.from_numpy(values("images", seed, int(numpy.prod(shape)), 2.0))
    labels = torch.tensor([(7 * row + 3) % CLASSES for row in range(network.rows)])
    return images.reshape(shape).to(dtype), labels


def step(network, seed, dtype):
    """Forward: model, images, logits, loss; and the inputs of activations with a kink."""
    model = network.make().to(dtype)
    fill(model, seed, network.spread)
    model.train()
    inputs = []
    for module in model.modules():
        if isinstance(module, (torch.nn.ReLU, torch.nn.ReLU6)):
            module.inplace = False
            upper = 6.0 if isinstance(module, torch.nn.ReLU6) else float("inf")
            module.register_forward_hook(lambda _, taken, __, upper=upper: inputs.append((taken[0].detach(), upper)))
    images, labels = batch(network, seed, dtype)
    logits = model(images)
    return model, images, logits, torch.nn.functional.cross_entropy(logits, labels), inputs


def distance(network, seed):
    """The least distance of an input from a kink, in root mean squares of what FP32 is off by in that layer."""
    with torch.no_grad():
        exact, rounded = step(network, seed, torch.float64)[4], step(network, seed, torch.float32)[4]
    least = float("inf")
    for (x, upper), (y, _) in zip(exact, rounded):
        error = float((x - y.double()).square().mean().sqrt())
        least = min(least, float(torch.minimum(x.abs(), (x - upper).abs()).min()) / error)
    return least


def gradients(network, seed, dtype):
    model, images, _, loss, _ = step(network, seed, dtype)
    loss.backward()
    found = {name: parameter.grad.double() for name, parameter in model.named_parameters()}
    model.eval()
    with torch.no_grad():
        return found, model(images).double()


def rounding(network, seed):
    """How far PyTorch's own FP32 is from FP64: the worst gradient, relative as the comment above says; evaluation."""
    (exact, logits), (rounded, other) = gradients(network, seed, torch.float64), gradients(network, seed, torch.float32)
    worst = 0.0
    for name, gradient in exact.items():
        beside = exact[name[: -len("bias")] + "weight"] if name.endswith(".bias") else gradient
        worst = max(worst, float((gradient - rounded[name]).norm() / max(gradient.norm(), beside.norm())))
    return worst, float((logits - other).norm() / logits.norm())


def find_seed(network):
    """Of the seeds that keep farthest from the kinks, the one with the least rounding."""
    far = sorted(((distance(network, seed), seed) for seed in range(1, SEEDS + 1)), reverse=True)[:CANDIDATES]
    return min((rounding(network, seed), seed, margin) for margin, seed in far)


def numbers(row):
    return " ".join("%.8g" % value for value in row)


def write_golden(name, network):
    error, seed, margin = find_seed(network)
    model, images, logits, loss, _ = step(network, seed, torch.float64)
    loss.backward()
    lines = [
        "# made by make_golden.py, which says what this is; PyTorch %s, torchvision %s"
        % (torch.__version__.split("+")[0], torchvision.__version__.split("+")[0]),
        "side %d" % network.side,
        "rows %d" % network.rows,
        "seed %d" % seed,
        "spread %g %g %g %g" % (network.spread[0] + network.spread[1]),
        "loss %.10g" % loss.item(),
    ]
    lines += ["logits " + numbers(row) for row in logits.tolist()]
    for key, parameter in model.named_parameters():
        shape = ",".join(str(length) for length in parameter.shape)
        lines.append("gradient %s %s %s" % (key, shape, numbers(digest(key, parameter.grad))))
    for key, buffer in model.named_buffers():
        if "running" in key:
            lines.append("statistic %s %d %s" % (key, buffer.numel(), numbers(digest(key, buffer))))
    model.eval()
    with torch.no_grad():
        lines += ["evaluation " + numbers(row) for row in model(images).tolist()]
    with open(os.path.join(HERE, name + ".txt"), "w") as to:
        to.write("\n".join(lines) + "\n")
    print(
        "%-24s seed %d, loss %.4f, %.1f roundings from a kink, FP32 is off by %.1e, in evaluation by %.1e"
        % (name, seed, loss.item(), margin, error[0], error[1])
    )


def write_small():
    """A weight file as PyTorch writes one: a convolution, a batch normalisation with its counter, linear layers."""

    def counted(start, *shape):
        return (torch.arange(int(numpy.prod(shape)), dtype=torch.float32) + start).reshape(shape)

    safetensors.torch.save_file(
        {
            "conv.weight": counted(0, 4, 1, 3, 3),
            "bn.weight": counted(100, 4),
            "bn.bias": counted(200, 4),
            "bn.running_mean": counted(300, 4),
            "bn.running_var": counted(400, 4),
            "bn.num_batches_tracked": torch.tensor(7),
            "point.weight": counted(500, 3, 4, 1, 1),
            "squeeze.weight": counted(600, 2, 3, 1, 1),
            "squeeze.bias": counted(700, 2),
            "fc.weight": counted(800, 5, 2),
            "fc.bias": counted(900, 5),
        },
        os.path.join(HERE, "small.safetensors"),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_small()
    for name in sys.argv[1:] or MODELS:
        write_golden(name, MODELS[name])
