"""Our models in PyTorch: torchvision's, with what our options change, and the MLP."""
import torch
import torchvision

# --set options of ours that these builders understand, with our defaults.
OPTIONS = {
    "mlp": {},
    "mobilenet_v2": {"stem": "imagenet"},
    "efficientnet_b0": {"stem": "imagenet", "squeeze_excitation": "false"},
    "resnet18": {"stem": "imagenet"},
}
SHAPES = {name: (1, 28, 28) if name == "mlp" else (3, 32, 32) for name in OPTIONS}
CLASSES = 10


def options_of(name, settings):
    """The model's options with the `model.` settings put in; a ValueError names what is unknown."""
    options = dict(OPTIONS[name])
    for key, value in settings:
        if key.startswith("model."):
            if key[6:] not in options:
                raise ValueError(f"{key}: PyTorch's {name} has no such option here (has: {', '.join(options) or 'none'})")
            options[key[6:]] = value
    return options


def without_squeeze_excitation(model):
    for block in list(model.modules()):
        for name, child in list(block.named_children()):
            if isinstance(child, torchvision.ops.SqueezeExcitation):
                setattr(block, name, torch.nn.Identity())


def small_stem(name, model):
    """ResNet-18: a 3x3 convolution of stride 1, no pool; the others: stride 1 in the first convolution."""
    if name == "resnet18":
        model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        torch.nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = torch.nn.Identity()
    else:
        model.features[0][0].stride = (1, 1)


def build(name, settings=()):
    """In training mode, drawn by torch's generator; dropout and stochastic depth are torchvision's defaults."""
    options = options_of(name, settings)
    if name == "mlp":
        return torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(784, 1000, bias=False), torch.nn.ReLU(),
            torch.nn.Linear(1000, 1000, bias=False), torch.nn.ReLU(),
            torch.nn.Linear(1000, CLASSES, bias=False))
    model = getattr(torchvision.models, name)(num_classes=CLASSES)
    if options.get("squeeze_excitation", "true") == "false":
        without_squeeze_excitation(model)
    if options["stem"] == "cifar":
        small_stem(name, model)
    return model.train()
