"""Whether torchvision's network, given weights that ffbench saved, answers as ffbench does. Run by hand:

    ffbench train --model resnet18 --dataset cifar10 --algorithm bp_fp32 --epochs 1 --standardise --record r.json \\
        --save-weights w.safetensors --save-scores s.csv
    python tests/golden/check_weights.py r.json w.safetensors s.csv DIRECTORY

DIRECTORY holds CIFAR-10's binary files. Names and shapes of the weights must all match (load_state_dict is strict). Mean and
deviation are those of the training records of the run, drawn anew here (bench/pytorch_recipe.py) and held against the record.
Prints one JSON line; exit status 1 where the logits differ by more than a relative L2 error of 1e-4, where another
number of test records is right, or where the record says another accuracy.
"""

import argparse
import json
import os
import sys

import numpy
import safetensors.torch
import torch
import torchvision

from make_golden import HERE, MODELS

sys.path.insert(0, os.path.join(HERE, "..", "..", "bench"))
import pytorch_recipe  # noqa: E402

LARGEST_ERROR = 1e-4


def network(config, path):
    """torchvision's, with the weights of the file."""
    options = config["model_options"]
    name = config["model"] + ("_squeeze" if options.get("squeeze_excitation") else "")
    name += "_cifar" if options.get("stem") == "cifar" else ""
    if name not in MODELS or options.get("width", 1) != 1:
        sys.exit("check_weights: no network here for %s with %s" % (config["model"], options))
    model = MODELS[name][0]()
    state = safetensors.torch.load_file(path)
    for key, tensor in model.state_dict().items():
        if key.endswith("num_batches_tracked"):  # ffbench has none
            state[key] = tensor
    model.load_state_dict(state)
    return name, model.eval()


def standard(data, config, dataset):
    """Mean and deviation of the run's training records; they must be those that the record tells."""
    train, _, _ = data.split(config["seed"], argparse.Namespace(train_limit=config["train_limit"], eval_limit=0))
    mean, deviation = data.standard(train) if config["standardise"] else (numpy.zeros(3), numpy.ones(3))
    if not (numpy.allclose(mean, dataset["mean"], atol=1e-6) and numpy.allclose(deviation, dataset["deviation"], atol=1e-6)):
        sys.exit("check_weights: mean %s, deviation %s are not those of the record" % (mean, deviation))
    return mean.reshape(1, 3, 1, 1), deviation.reshape(1, 3, 1, 1)


def answers(model, pixels, mean, deviation):
    with torch.no_grad():
        parts = [(pixels[first : first + 100] / 255 - mean) / deviation for first in range(0, len(pixels), 100)]
        return torch.cat([model(torch.from_numpy(part.astype(numpy.float32))) for part in parts]).double()


def measures(logits, labels):
    right = int((logits.argmax(1) == labels).sum())
    return {"right": right, "cross_entropy": float(torch.nn.functional.cross_entropy(logits, labels))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("record", "weights", "scores", "directory"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    with open(arguments.record, encoding="utf-8") as file:
        record = json.load(file)
    config = record["config"]
    data = pytorch_recipe.Data(argparse.Namespace(data=arguments.directory, crop_padding=0, flip=False))
    mean, deviation = standard(data, config, record["dataset"])
    name, model = network(config, arguments.weights)
    table = numpy.loadtxt(arguments.scores, delimiter=",", ndmin=2)
    places, labels = table[:, 0].astype(numpy.int64), torch.from_numpy(table[:, 1].astype(numpy.int64))
    ours, theirs = torch.from_numpy(table[:, 2:]), answers(model, data.test[places], mean, deviation)
    difference = ours - theirs
    line = {
        "model": name,
        "command": record["command"],
        "weights_sha256": record["weights_sha256"],
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "test_records": len(table),
        "ffbench": measures(ours, labels),
        "torchvision_says": measures(theirs, labels),
        "other_predictions": int((ours.argmax(1) != theirs.argmax(1)).sum()),
        "logits_relative_l2": float(difference.norm() / theirs.norm()),
        "logits_largest_difference": float(difference.abs().max()),
        "logits_largest": float(theirs.abs().max()),
    }
    print(json.dumps(line))
    same = bool((data.test_labels[places] == labels).all()) and len(set(places)) == len(places)
    accuracy = 100 * line["torchvision_says"]["right"] / len(table)
    good = line["logits_relative_l2"] <= LARGEST_ERROR and line["ffbench"]["right"] == line["torchvision_says"]["right"]
    sys.exit(0 if same and good and abs(accuracy - record["accuracy"]["test"]) < 1e-6 else 1)


if __name__ == "__main__":
    main()
