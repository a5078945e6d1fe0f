#!/usr/bin/env python3
"""Our step against PyTorch's, in interleaved pairs: MLP 784-1000-1000-10, batch 32, two threads.

    python3 bench/pytorch_pairs.py [--pairs 30] [--steps 200] [--mode eager|compiled] [ALGORITHM[:option=value,...] ...]

Two processes stay alive, ours (build/bench/steps --serve) and PyTorch's. In turn each runs a number of steps and tells their median;
the ratio is taken pair by pair and printed with a 95 % interval (bootstrap of the median). PyTorch runs in the faster of eager
(torch.optim.SGD with fused=True) and compiled (the whole step under torch.compile), found by a short trial. Needs PyTorch; nothing else in this repository does.
"""
import argparse
import os
import random
import statistics
import subprocess
import sys
import time

BATCH, THREADS = 32, 2


def make_step(mode):
    import torch
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 1000, bias=False), torch.nn.ReLU(),
        torch.nn.Linear(1000, 1000, bias=False), torch.nn.ReLU(),
        torch.nn.Linear(1000, 10, bias=False))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    loss = torch.nn.CrossEntropyLoss()
    images = torch.randint(0, 256, (200, BATCH, 784), dtype=torch.uint8)
    labels = torch.randint(0, 10, (200, BATCH))

    def step(batch, label):
        optimiser.zero_grad(set_to_none=True)
        value = loss(model(batch.float() / 255), label)
        value.backward()
        optimiser.step()

    run = torch.compile(step) if mode == "compiled" else step
    return lambda i: run(images[i % 200], labels[i % 200])


def serve(mode):
    step = make_step(mode)
    for i in range(30):
        step(i)
    print("ready", flush=True)
    number = 0
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step(number)
            times.append(time.perf_counter() - start)
            number += 1
        print(f"{1e3 * statistics.median(times):.6f}", flush=True)


class Process:
    def __init__(self, command, **settings):
        self.process = subprocess.Popen(command, env=dict(os.environ, **settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{' '.join(command)}: did not start")

    def median(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def torch_process(mode):
    return Process([sys.executable, __file__, "--serve-pytorch", mode])


def interval(values, draws=4000):
    """95 % bootstrap interval of the median."""
    generator = random.Random(1)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws) - 1]


def compare(title, theirs, arguments):
    ours = Process(["build/bench/steps", "--serve", title], GOMP_SPINCOUNT="10000")  # as ffbench sets for itself
    ratios, our_times, their_times = [], [], []
    for pair in range(arguments.pairs):
        order = [("ours", ours), ("theirs", theirs)]
        if pair % 2:
            order.reverse()
        times = {name: process.median(arguments.steps) for name, process in order}
        ratios.append(times["ours"] / times["theirs"])
        our_times.append(times["ours"])
        their_times.append(times["theirs"])
    ours.close()
    low, high = interval(ratios)
    print(f"{title:28} ours {statistics.median(our_times):7.3f} ms   PyTorch {statistics.median(their_times):7.3f} ms   "
          f"ratio {statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}]", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("algorithms", nargs="*", default=["bp_fp32", "ff_int8", "ff_int8:preset=one_pass"])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--mode", choices=["eager", "compiled"])
    parser.add_argument("--serve-pytorch", choices=["eager", "compiled"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve_pytorch:
        return serve(arguments.serve_pytorch)
    import torch
    modes = [arguments.mode] if arguments.mode else ["eager", "compiled"]
    processes = {}
    for mode in modes:
        try:
            processes[mode] = torch_process(mode)
        except SystemExit as problem:
            print(f"PyTorch {mode}: {problem}", file=sys.stderr)
    trial = {mode: statistics.median(process.median(100) for _ in range(5)) for mode, process in processes.items()}
    best = min(trial, key=trial.get)
    for mode, process in processes.items():
        if mode != best:
            process.close()
    print(f"PyTorch {torch.__version__}: " + ", ".join(f"{mode} {value:.3f} ms" for mode, value in trial.items())
          + f"; compared with {best}; {arguments.pairs} interleaved pairs of {arguments.steps} steps")
    for title in arguments.algorithms:
        compare(title, processes[best], arguments)
    processes[best].close()


if __name__ == "__main__":
    main()
