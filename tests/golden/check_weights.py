"""Logits and accuracy of a weight file in PyTorch, for comparison with what ffbench says of the same weights. Run by
hand:

    ffbench train --model resnet18 --dataset cifar10 --algorithm bp_fp32 --epochs 1 --save-weights w.safetensors
    python tests/golden/check_weights.py resnet18 w.safetensors DIRECTORY

DIRECTORY holds CIFAR-10's binary files. Weights that were trained with --standardise need the same behind it: images are
then standardised by all training images, where ffbench leaves out its validation split, and accuracies may differ by some
hundredths of a percent. Names and shapes must all match, as load_state_dict is strict.
"""

import os
import sys

import numpy
import safetensors.torch
import torch

from make_golden import MODELS


def records(path):
    raw = numpy.fromfile(path, dtype=numpy.uint8).reshape(-1, 3073)
    return torch.from_numpy(raw[:, 0].astype(numpy.int64)), raw[:, 1:].reshape(-1, 3, 32, 32)


def standard(directory):
    images = [records(os.path.join(directory, "data_batch_%d.bin" % number))[1] for number in range(1, 6)]
    pixels = numpy.concatenate(images).transpose(1, 0, 2, 3).reshape(3, -1) / 255
    return pixels.mean(1).reshape(1, 3, 1, 1), pixels.std(1).reshape(1, 3, 1, 1)


def main():
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in MODELS or sys.argv[4:] not in ([], ["--standardise"]):
        sys.exit("usage: check_weights.py %s FILE DIRECTORY [--standardise]" % "|".join(MODELS))
    model = MODELS[sys.argv[1]].make()
    state = safetensors.torch.load_file(sys.argv[2])
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):  # ffbench has none
            state[name] = tensor
    model.load_state_dict(state)
    model.eval()
    labels, pixels = records(os.path.join(sys.argv[3], "test_batch.bin"))
    mean, deviation = standard(sys.argv[3]) if len(sys.argv) == 5 else (0.0, 1.0)
    right, loss = 0, 0.0
    with torch.no_grad():
        for first in range(0, len(labels), 100):
            images = (pixels[first : first + 100] / 255 - mean) / deviation
            logits = model(torch.from_numpy(images.astype(numpy.float32)))
            if first == 0:
                print("logits of the first record: " + " ".join("%.5f" % value for value in logits[0].tolist()))
            right += int((logits.argmax(1) == labels[first : first + 100]).sum())
            loss += float(torch.nn.functional.cross_entropy(logits, labels[first : first + 100], reduction="sum"))
    print("%d records: accuracy %.2f %%, cross-entropy %.5f" % (len(labels), 100 * right / len(labels), loss / len(labels)))


if __name__ == "__main__":
    main()
