#!/usr/bin/env python3
"""Step times of PyTorch on an NVIDIA GPU, for build/bench/steps --backend cuda to be held against.

    python3 bench/pytorch_cuda.py mlp resnet18 ... [--steps 200] [--tf32]

FP32 without TF32 unless asked for, batch 32, the step of bench/pytorch_pairs.py with its batch copied from pinned memory. Modes: eager, compiled,
and a whole step as a CUDA graph (torch.cuda.graph over forward, backward and update, eager and compiled), each with contiguous and
channels_last images, the likely best first. Prints the median milliseconds of each, and the best so far, so that a run that is cut
short says what it saw.
"""
import argparse
import statistics
import time

import torch
import torch._dynamo

import pytorch_models

BATCH, BATCHES, WARM_UP = 32, 50, 30
# Compiled, as a graph, channels_last.
MODES = [(True, True, False), (False, True, False), (True, True, True), (False, True, True),
         (True, False, False), (False, False, False), (True, False, True), (False, False, True)]


class Step:
    """One training step in a mode; run(number) leaves when the device is done."""

    def __init__(self, name, compiled, graph, last):
        layout = torch.channels_last if last else torch.contiguous_format
        torch.manual_seed(1)
        self.model = pytorch_models.build(name).cuda().to(memory_format=layout)
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, fused=True)
        criterion = torch.nn.CrossEntropyLoss()
        shape = (BATCHES * BATCH, *pytorch_models.SHAPES[name])
        self.images = [part.to(memory_format=layout).pin_memory()
                       for part in torch.randint(0, 256, shape, dtype=torch.uint8).split(BATCH)]
        self.labels = [part.pin_memory() for part in torch.randint(0, pytorch_models.CLASSES, (BATCHES * BATCH,)).split(BATCH)]
        self.image, self.label = self.images[0].cuda(), self.labels[0].cuda()

        def loss_of(image, label):
            return criterion(self.model(image.float() / 255), label)

        self.loss_of = torch.compile(loss_of) if compiled else loss_of
        self.graph = None
        if graph:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    self.step()
            torch.cuda.current_stream().wait_stream(stream)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.step()

    def step(self):
        self.optimiser.zero_grad(set_to_none=True)
        self.loss_of(self.image, self.label).backward()
        self.optimiser.step()

    def run(self, number):
        self.image.copy_(self.images[number % BATCHES], non_blocking=True)
        self.label.copy_(self.labels[number % BATCHES], non_blocking=True)
        if self.graph:
            self.graph.replay()
        else:
            self.step()
        torch.cuda.synchronize()


def median_milliseconds(name, compiled, graph, last, steps):
    step, times = Step(name, compiled, graph, last), []
    for number in range(WARM_UP + steps):
        start = time.perf_counter()
        step.run(number)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[WARM_UP:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", choices=list(pytorch_models.SHAPES))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--tf32", action="store_true")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no NVIDIA GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arguments.tf32
    torch.backends.cudnn.benchmark = True
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}, TF32 {'on' if arguments.tf32 else 'off'}, batch {BATCH}")
    for name in arguments.models:
        best = None
        for compiled, graph, last in MODES:
            mode = ("compiled" if compiled else "eager") + (", graph" if graph else "") + (", channels_last" if last else "")
            torch._dynamo.reset()  # else one mode's compilations count towards the next one's limit
            try:
                milliseconds = median_milliseconds(name, compiled, graph, last, arguments.steps)
            except RuntimeError as problem:
                print(f"{name:16} {mode:34} failed: {str(problem).splitlines()[0][:80]}", flush=True)
                continue
            best = min(best or (milliseconds, mode), (milliseconds, mode))
            print(f"{name:16} {mode:34} {milliseconds:8.3f} ms; best so far: {best[1]}, {best[0]:.3f} ms", flush=True)


if __name__ == "__main__":
    main()
