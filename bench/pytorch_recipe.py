#!/usr/bin/env python3
"""What ffbench's bp_fp32 trains, trained by PyTorch: the same split, batches, crops and learning rates, on CIFAR-10.

    python3 bench/pytorch_recipe.py --data DIR --epochs 30 --learning-rate 0.05 --weight-decay 5e-4 --crop-padding 4 --flip --seeds 1 2 3

is the counterpart of

    build/ffbench train --model resnet18 --algorithm bp_fp32 --dataset cifar10 --data DIR --epochs 30 --standardise --crop-padding 4 \\
        --flip --seed 1 --set learning_rate=0.05 --set weight_decay=5e-4

Every random choice is a function of the seed through the same generator (base/random.h), so both sides see the same bytes in the same order.
What differs: initial weights of one distribution but another generator (unless --load-weights gives a file that ffbench saved), and the
order of FP32 sums. Prints one JSON line for each seed; progress goes to standard error. The test set is read once, with the last weights.
"""
import argparse
import contextlib
import json
import math
import os
import sys
import time

import numpy
import torch

import pytorch_models

PURPOSE_SPLIT, PURPOSE_SHUFFLE, PURPOSE_AUGMENT = 1, 2, 7  # base/random.h
VALIDATION = 5000
SIDE, CHANNELS = 32, 3


# ---- base/random.h ---------------------------------------------------------------------------------------------------


def philox(seed, purpose, step, blocks):
    """Philox 4x32-10: [blocks][4] words."""
    low = numpy.uint64(0xFFFFFFFF)
    half = numpy.uint64(32)
    blocks = numpy.asarray(blocks, numpy.uint64)
    c0, c1 = blocks & low, blocks >> half
    c2, c3 = numpy.full_like(blocks, purpose), numpy.full_like(blocks, step)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = numpy.uint64(0xD2511F53) * c0, numpy.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ numpy.uint64(k0), p1 & low, (p0 >> half) ^ c3 ^ numpy.uint64(k1), p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return numpy.stack([c0, c1, c2, c3], axis=-1)


def permutation(seed, purpose, step, count):
    """Fisher-Yates from the end; element i draws below i."""
    bits = philox(seed, purpose, step, numpy.arange(count // 4 + 1)).reshape(-1)[:count + 1]
    draws = ((bits * numpy.arange(count + 1, dtype=numpy.uint64)) >> numpy.uint64(32)).tolist()
    order = list(range(count))
    for i in range(count, 1, -1):
        j = draws[i]
        order[i - 1], order[j] = order[j], order[i - 1]
    return numpy.array(order)


# ---- data ------------------------------------------------------------------------------------------------------------


def read_part(directory, names):
    """Images [N][3][32][32] and labels of CIFAR-10's binary files."""
    folder = os.path.join(directory, "cifar-10-batches-bin")
    folder = folder if os.path.isdir(folder) else directory
    records = [numpy.fromfile(os.path.join(folder, name), numpy.uint8).reshape(-1, 1 + CHANNELS * SIDE * SIDE) for name in names]
    records = numpy.concatenate(records)
    return records[:, 1:].reshape(-1, CHANNELS, SIDE, SIDE), torch.from_numpy(records[:, 0].astype(numpy.int64))


class Data:
    def __init__(self, arguments):
        self.train, self.train_labels = read_part(arguments.data, [f"data_batch_{i}.bin" for i in range(1, 6)])
        self.test, self.test_labels = read_part(arguments.data, ["test_batch.bin"])
        self.padding, self.flip = arguments.crop_padding, arguments.flip
        frame = ((0, 0), (0, 0), (self.padding, self.padding), (self.padding, self.padding))
        # crops[n, :, down, right] is a view of image n: none is copied until a batch is gathered.
        self.crops = numpy.lib.stride_tricks.sliding_window_view(numpy.pad(self.train, frame), (SIDE, SIDE), axis=(2, 3))

    def split(self, seed, arguments):
        validation = min(VALIDATION, len(self.train) // 10)
        order = permutation(seed, PURPOSE_SPLIT, 0, len(self.train))
        cut = len(order) - validation
        test = permutation(seed, PURPOSE_SPLIT, 1, len(self.test))
        return (order[:cut][:arguments.train_limit or None], order[cut:][:arguments.eval_limit or None],
                test[:arguments.eval_limit or None])

    def standard(self, records):
        """Mean and deviation of byte / 255 for each channel; sums of bytes are exact."""
        planes = self.train[records].transpose(1, 0, 2, 3).reshape(CHANNELS, -1)
        counts = [numpy.bincount(plane, minlength=256) for plane in planes]
        values = numpy.arange(256)
        mean = numpy.array([(count * values).sum() for count in counts]) / planes.shape[1] / 255
        squares = numpy.array([(count * values * values).sum() for count in counts]) / planes.shape[1] / 255**2
        return mean, numpy.sqrt(squares - mean * mean)

    def batch(self, seed, epoch, records):
        """Bytes of training records as the epoch sees them: crop, then mirror."""
        words = philox(seed, PURPOSE_AUGMENT, epoch, records)
        places = numpy.uint64(2 * self.padding + 1)
        down, right = ((words[:, i] * places >> numpy.uint64(32)).astype(numpy.int64) for i in (0, 1))
        images = self.crops[records, :, down, right]
        if self.flip:
            mirrored = (words[:, 2] >> numpy.uint64(31)).astype(bool)
            images[mirrored] = images[mirrored][..., ::-1]
        return images


# ---- weights ---------------------------------------------------------------------------------------------------------


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        content = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = entry["data_offsets"]
        tensors[name] = torch.frombuffer(bytearray(content[begin:end]), dtype=torch.float32).reshape(entry["shape"])
    return tensors


def load_weights(model, path):
    answer = model.load_state_dict(read_safetensors(path), strict=False)
    missing = [name for name in answer.missing_keys if not name.endswith("num_batches_tracked")]
    if missing:
        raise SystemExit(f"{path}: without {', '.join(missing[:3])}")


# ---- training --------------------------------------------------------------------------------------------------------


class Trainer:
    def __init__(self, data, seed, arguments):
        self.data, self.seed, self.arguments = data, seed, arguments
        self.train, self.validation, self.test = data.split(seed, arguments)
        mean, deviation = data.standard(self.train) if arguments.standardise else (numpy.zeros(CHANNELS), numpy.ones(CHANNELS))
        self.mean, self.deviation = (torch.tensor(values, dtype=torch.float32).reshape(1, CHANNELS, 1, 1) for values in (mean, deviation))
        self.layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
        torch.manual_seed(seed)
        model = pytorch_models.build(arguments.model, [("model.stem", arguments.stem)])
        if arguments.load_weights:
            load_weights(model, arguments.load_weights)
        self.model = model.to(memory_format=self.layout)
        self.optimiser = torch.optim.SGD(model.parameters(), lr=arguments.learning_rate, momentum=arguments.momentum,
                                         weight_decay=arguments.weight_decay, fused=True)
        self.criterion = torch.nn.CrossEntropyLoss()
        self.step, self.batches = 0, math.ceil(len(self.train) / arguments.batch)

    def convert(self, images):
        """As CONVERT_IMAGES: (byte / 255 - mean) / deviation."""
        floats = torch.from_numpy(images).to(torch.float32, memory_format=self.layout)
        return floats.div_(255).sub_(self.mean).div_(self.deviation)

    def rate(self):
        """Cosine to zero over the run, by step."""
        return self.arguments.learning_rate * 0.5 * (1 + math.cos(math.pi * self.step / (self.batches * self.arguments.epochs)))

    def train_step(self, epoch, records):
        labels = self.data.train_labels[records]
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        logits = self.model(self.convert(self.data.batch(self.seed, epoch, records)))
        loss = self.criterion(logits, labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        return float(loss.detach()) * len(records), int((logits.argmax(1) == labels).sum())

    def stopped(self):
        return 0 < self.arguments.steps <= self.step

    def train_epoch(self, epoch):
        self.model.train()
        places = permutation(self.seed, PURPOSE_SHUFFLE, epoch, len(self.train))
        loss = correct = seen = 0
        for first in range(0, len(places), self.arguments.batch):
            records = self.train[places[first:first + self.arguments.batch]]
            batch_loss, batch_correct = self.train_step(epoch, records)
            loss, correct, seen = loss + batch_loss, correct + batch_correct, seen + len(records)
            if not math.isfinite(loss) or self.stopped():
                break
        return loss / seen, 100 * correct / seen

    @torch.inference_mode()
    def accuracy(self, images, labels, records):
        self.model.eval()
        correct = 0
        for first in range(0, len(records), 500):
            chosen = records[first:first + 500]
            correct += int((self.model(self.convert(images[chosen])).argmax(1) == labels[chosen]).sum())
        return 100 * correct / len(records)

    def run(self):
        epochs, status, seconds = [], "done", 0.0
        for epoch in range(self.arguments.epochs):
            start = time.perf_counter()
            loss, train_accuracy = self.train_epoch(epoch)
            spent = time.perf_counter() - start
            seconds += spent
            finite = math.isfinite(loss)
            validation = self.accuracy(self.data.train, self.data.train_labels, self.validation)
            epochs.append({"loss": loss if finite else str(loss), "train_accuracy": train_accuracy, "validation_accuracy": validation,
                           "seconds": spent})
            print(f"seed {self.seed}  epoch {epoch + 1}/{self.arguments.epochs}  loss {loss:.4f}  train {train_accuracy:.2f} %  "
                  f"validation {validation:.2f} %  {spent:.1f} s", file=sys.stderr, flush=True)
            if not finite or self.stopped():
                status = "stopped" if finite else "diverged"
                break
        return self.record(epochs, status, seconds)

    def record(self, epochs, status, seconds):
        arguments = self.arguments
        test = None if arguments.skip_test else self.accuracy(self.data.test, self.data.test_labels, self.test)
        recipe = {name: getattr(arguments, name) for name in (
            "model", "stem", "epochs", "batch", "learning_rate", "momentum", "weight_decay", "standardise", "crop_padding", "flip",
            "train_limit", "eval_limit", "load_weights", "channels_last", "threads")}
        return {"seed": self.seed, "status": status, "steps": self.step,
                "accuracy": {"validation": epochs[-1]["validation_accuracy"] if epochs else None, "test": test},
                "train_seconds": seconds, "epochs": epochs, "recipe": {**recipe, "schedule": "cosine", "optimiser": "sgd"},
                "mean": self.mean.flatten().tolist(), "deviation": self.deviation.flatten().tolist(),
                "records": {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)},
                "parameters": sum(parameter.numel() for parameter in self.model.parameters()), "torch": torch.__version__}


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("FFBENCH_DATA", "data"), help="folder with cifar-10-batches-bin")
    parser.add_argument("--model", choices=[name for name in pytorch_models.OPTIONS if name != "mlp"], default="resnet18")
    parser.add_argument("--stem", choices=["imagenet", "cifar"], default="imagenet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--crop-padding", type=int, default=0)
    parser.add_argument("--flip", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--standardise", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--train-limit", type=int, default=0)
    parser.add_argument("--eval-limit", type=int, default=0)
    parser.add_argument("--load-weights", help="initial weights: a safetensors file of ffbench train --save-weights")
    parser.add_argument("--skip-test", action="store_true", help="while options are being chosen")
    parser.add_argument("--steps", type=int, default=0, help="stop after so many, the schedule unchanged; 0: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels-last", action=argparse.BooleanOptionalAction, default=False,
                        help="order of channels in memory; which is faster depends on the model (bench/pytorch_pairs.py)")
    parser.add_argument("--output", help="file that the JSON lines are added to, besides standard output")
    return parser.parse_args()


def main():
    arguments = arguments_of()
    torch.set_num_threads(arguments.threads)
    data = Data(arguments)
    with contextlib.ExitStack() as stack:
        outputs = [sys.stdout] + ([stack.enter_context(open(arguments.output, "a"))] if arguments.output else [])
        for seed in arguments.seeds:
            line = json.dumps(Trainer(data, seed, arguments).run())
            for output in outputs:
                print(line, file=output, flush=True)


if __name__ == "__main__":
    main()
