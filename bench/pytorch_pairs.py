#!/usr/bin/env python3
"""Our training step beside PyTorch's, and our algorithms beside each other: interleaved turns on one machine.

    python3 bench/pytorch_pairs.py [--models mlp resnet18 ...] [--algorithms bp_fp32 ff_int8:preset=one_pass ...] [--rounds 30]

Every contestant is a process that stays alive: PyTorch in each of its modes, and ours (build/bench/steps --serve) with each
algorithm. In each round all of them run a number of steps, in a new random order; a turn's result is its median step. A ratio is taken
within a round, and its median over the rounds is printed with a 95 % bootstrap interval. Ours is held against the mode of PyTorch with the
least median of the same run. Needs PyTorch and torchvision; nothing else in this repository does. See bench/README.md.
"""
import argparse
import os
import platform
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time

BATCH, THREADS, BATCHES = 32, 2, 200
MODES = {  # name: (mode of torch.compile or None, channels_last)
    "eager": (None, False),
    "eager,channels_last": (None, True),
    "compiled": ("default", False),
    "compiled,channels_last": ("default", True),
    "autotuned": ("max-autotune-no-cudagraphs", False),
    "autotuned,channels_last": ("max-autotune-no-cudagraphs", True),
}
STANDARD_MODES = list(MODES)[:4]
MODELS = ["mlp", "mobilenet_v2", "efficientnet_b0", "resnet18"]
ALGORITHMS = ["bp_fp32", "bp_int8", "bp_ui8", "bp_gdai8", "ff_int8", "ff_int8:preset=one_pass"]
# As experiments/tuned.lua trains them.
CONVOLUTIONAL_ALGORITHMS = ALGORITHMS[:4] + [
    "ff_int8:preset=tuned,lookahead=scalar,goodness=mean_squares,theta=1,label=pattern,pattern_amplitude=1",
    "ff_int8:preset=one_pass,optimiser=sgd,momentum=0,input_rounding=nearest"]
FEWEST_ROUNDS = 5
START_SECONDS, TURN_SECONDS = 900, 120  # until a contestant is given up

# What PyTorch's tuning guide recommends, without another allocator: freed memory is kept, so that steps do not fault pages in anew.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "67108864"}
INDUCTOR = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # no pool of compiling processes that outlives the compilation
OURS = {"GOMP_SPINCOUNT": "10000"}  # as ffbench sets for itself


# ---- PyTorch's half of the protocol ----------------------------------------------------------------------------------


def make_step(name, mode, settings):
    import torch
    import pytorch_models
    compiled, last = MODES[mode]
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    layout = torch.channels_last if last else torch.contiguous_format
    model = pytorch_models.build(name, settings).to(memory_format=layout)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    criterion = torch.nn.CrossEntropyLoss()
    shape = (BATCHES * BATCH, *pytorch_models.SHAPES[name])
    images = torch.randint(0, 256, shape, dtype=torch.uint8).to(memory_format=layout).split(BATCH)
    labels = torch.randint(0, pytorch_models.CLASSES, (BATCHES, BATCH))

    def loss_of(batch, label):
        return criterion(model(batch.float() / 255), label)

    if compiled:
        # Else inductor turns contiguous convolutions into channels_last ones, and the two modes are one.
        torch._inductor.config.layout_optimization = last
        loss_of = torch.compile(loss_of, mode=compiled)

    def step(number):
        optimiser.zero_grad(set_to_none=True)
        value = loss_of(images[number % BATCHES], labels[number % BATCHES])
        value.backward()
        optimiser.step()
        return value

    return step


def serve(name, mode, settings):
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not look like an answer
    step = make_step(name, mode, settings)
    number, began = 0, time.perf_counter()
    while number < 8 or (number < 50 and time.perf_counter() - began < 5):
        step(number)
        number += 1
    print("ready", file=answers)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            value = step(number)
            times.append(time.perf_counter() - start)
            number += 1
        if not value.isfinite():
            raise SystemExit(f"the loss is {float(value.detach())} after {number} steps")
        print(f"{1e3 * statistics.median(times):.6f}", file=answers)


# ---- contestants -----------------------------------------------------------------------------------------------------


class Failed(Exception):
    """A contestant that ended, answered nonsense or did not answer in time."""


class Contestant:
    def __init__(self, title, command, environment):
        self.title, self.failure = title, None
        self.medians, self.wall, self.steps = {}, 0.0, 0  # medians by round
        self.errors = tempfile.TemporaryFile()
        self.pending = b""
        try:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=self.errors, bufsize=0, start_new_session=True)
        except OSError as problem:
            self.process, self.failure = None, str(problem)

    @property
    def alive(self):
        return self.failure is None

    def wait_until_ready(self):
        if self.alive and self.answer(START_SECONDS) != "ready":
            raise Failed(self.reason("did not say that it was ready"))

    def turn(self, steps):
        """Median milliseconds and the seconds that the turn took by our own clock."""
        start = time.perf_counter()
        try:
            self.process.stdin.write(b"%d\n" % steps)
            text = self.answer(TURN_SECONDS)
            return float(text), time.perf_counter() - start
        except OSError as problem:
            raise Failed(self.reason("ended")) from problem
        except ValueError as problem:
            raise Failed(self.reason(f"answered {text!r}")) from problem

    def answer(self, seconds):
        end = time.monotonic() + seconds
        descriptor = self.process.stdout.fileno()
        while b"\n" not in self.pending:
            readable, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
            if not readable:
                raise Failed(self.reason(f"no answer in {seconds} s"))
            data = os.read(descriptor, 4096)
            if not data:
                raise Failed(self.reason("ended"))
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode().strip()

    def reason(self, what):
        """With the exit status and the last line that it wrote to its error output."""
        try:
            status = self.process.wait(2)
            what += f" (signal {signal.Signals(-status).name})" if status < 0 else f" (status {status})"
        except subprocess.TimeoutExpired:
            pass
        self.errors.seek(0)
        lines = [line for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        return what + (f": {lines[-1].strip()}" if lines else "")

    def give_up(self, failure):
        self.failure = str(failure)
        self.close()

    def close(self):
        if not self.process:
            return
        try:
            self.process.stdin.close()
            self.process.wait(5 if self.alive else 0.1)
        except (OSError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: whatever it started goes with it
        except OSError:
            pass
        self.process.wait()

    def processor_seconds(self):
        """Of all its threads so far."""
        total = 0.0
        folder = f"/proc/{self.process.pid}/task"
        try:
            for thread in os.listdir(folder):
                with open(f"{folder}/{thread}/schedstat") as file:
                    total += int(file.read().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):
            pass
        return total


def environment(**settings):
    """Ours without what would tune one side only."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "MALLOC_", "GLIBC_TUNABLES"))}
    return {**kept, **settings}


def start_all(model, arguments, theirs, ours):
    settings = arguments.set
    waiting = {"OMP_WAIT_POLICY": arguments.wait_policy} if arguments.wait_policy else {}
    for mode in arguments.modes:
        if model == "mlp" and MODES[mode][1]:
            continue  # no images, so no order of channels
        command = [sys.executable, os.path.abspath(__file__), "--serve", model, mode]
        command += [word for pair in settings for word in ("--set", "=".join(pair))]
        theirs.append(Contestant(f"PyTorch {mode}", command, environment(**ALLOCATOR, **INDUCTOR, **waiting)))
        start(theirs[-1])
    chosen = arguments.algorithms
    if chosen is None:
        chosen = ALGORITHMS if model == "mlp" else CONVOLUTIONAL_ALGORITHMS
    for algorithm in chosen:
        own = "".join(f"{',' if i or ':' in algorithm else ':'}{'='.join(pair)}" for i, pair in enumerate(settings))
        command = [arguments.steps_program, "--serve", f"{model}/{algorithm}{own}"]
        ours.append(Contestant(algorithm, command, environment(**(waiting or OURS))))
        start(ours[-1])


def start(contestant):
    try:
        contestant.wait_until_ready()
    except Failed as problem:
        contestant.give_up(problem)
    if not contestant.alive:
        print(f"  {contestant.title}: {contestant.failure}", file=sys.stderr, flush=True)


# ---- turns -----------------------------------------------------------------------------------------------------------


def busy_seconds():
    """Of all processors since the machine started, and what the hypervisor took."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, interrupt, soft, steal = map(int, file.readline().split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + interrupt + soft) / tick, steal / tick


class Watch:
    """What else ran during the turns: contestants that were not theirs, and other processes."""

    def __init__(self):
        self.elapsed = self.idle_contestants = self.worst = self.others = self.stolen = 0.0

    def turn(self, contestant, alive, steps):
        resting = [other for other in alive if other is not contestant]
        wait_until_quiet(resting)
        contestant.turn(1)  # caches hold the turn before
        before, own, (busy, steal) = total(resting), contestant.processor_seconds(), busy_seconds()
        result = contestant.turn(steps)
        after, own_after, (busy_after, steal_after) = total(resting), contestant.processor_seconds(), busy_seconds()
        seconds = result[1]
        self.elapsed += seconds
        self.idle_contestants += after - before
        self.worst = max(self.worst, (after - before) / seconds)
        self.others += busy_after - busy - (own_after - own) - (after - before)
        self.stolen += steal_after - steal
        return result

    def text(self):
        share = 100 / max(self.elapsed, 1e-9)
        processors = os.cpu_count() or 1
        return (f"during the turns, resting contestants used {share * self.idle_contestants:.2f} % of one processor "
                f"(worst turn {100 * self.worst:.1f} %), other processes {max(0, share * self.others / processors):.1f} % "
                f"and the hypervisor {share * self.stolen / processors:.1f} % of the machine")

    def shared(self):
        return self.others + self.stolen > 0.05 * self.elapsed * (os.cpu_count() or 1)


def total(contestants):
    return sum(contestant.processor_seconds() for contestant in contestants)


def wait_until_quiet(contestants, most=1.0):
    """OpenMP threads spin for some milliseconds after their last loop before they sleep."""
    end, before = time.monotonic() + most, total(contestants)
    while time.monotonic() < end:
        time.sleep(0.01)
        now = total(contestants)
        if now - before < 1e-4:
            return
        before = now


def steps_for(contestants, arguments):
    """So many that a turn of the slowest lasts about --turn-seconds, the same for all."""
    if arguments.steps:
        return arguments.steps
    slowest = 1e-3 * max(contestant.turn(5)[0] for contestant in contestants)
    return max(5, min(200, round(arguments.turn_seconds / slowest)))


def play(contestants, steps, rounds, watch):
    order = random.Random(1)
    for number in range(rounds):
        alive = [contestant for contestant in contestants if contestant.alive]
        for contestant in order.sample(alive, len(alive)):
            try:
                median, seconds = watch.turn(contestant, [c for c in alive if c.alive], steps)
            except Failed as problem:
                contestant.give_up(problem)
                print(f"  round {number + 1}: {contestant.title}: {problem}", file=sys.stderr, flush=True)
                continue
            contestant.medians[number] = median
            contestant.wall += seconds
            contestant.steps += steps


# ---- the table -------------------------------------------------------------------------------------------------------


def interval(values, draws=4000):
    """95 % bootstrap interval of the median."""
    generator = random.Random(1)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws) - 1]


def ratio(contestant, base):
    if not base or contestant is base:
        return "-"
    values = [contestant.medians[number] / base.medians[number] for number in contestant.medians if number in base.medians]
    if len(values) < FEWEST_ROUNDS:
        return "too few rounds"
    low, high = interval(values)
    return f"{statistics.median(values):.3f} [{low:.3f}, {high:.3f}]"


def measured(contestants):
    return [contestant for contestant in contestants if len(contestant.medians) >= FEWEST_ROUNDS]


def median_of(contestant):
    return statistics.median(contestant.medians.values())


def rows(theirs, ours):
    best = min(measured(theirs), key=median_of, default=None)
    named = {contestant.title: contestant for contestant in measured(ours)}
    fp32, gdai8 = named.get("bp_fp32"), named.get("bp_gdai8")
    for contestant in theirs + ours:
        if contestant not in measured(theirs + ours):
            yield contestant.title, None, None, contestant.failure or "too few rounds"
            continue
        forward = contestant.title.startswith("ff_int8")
        yield (contestant.title, median_of(contestant), 1e3 * contestant.wall / contestant.steps, ratio(contestant, best),
               ratio(contestant, fp32) if contestant in ours else "", ratio(contestant, gdai8) if forward else "",
               f"failed later: {contestant.failure}" if contestant.failure else "")


def table(model, theirs, ours, steps, arguments, watch):
    import pytorch_models
    shape = "x".join(map(str, pytorch_models.SHAPES[model]))
    settings = "".join(f", {'='.join(pair)}" for pair in arguments.set)
    lines = [f"{model} {shape}{settings}: {arguments.rounds} rounds of {steps} steps; {watch.text()}",
             f"{'':34} {'median':>9} {'mean':>9}   {'/ PyTorch, its best':22} {'/ bp_fp32':22} / bp_gdai8",
             f"{'':34} {'ms/step':>9} {'ms/step':>9}"]
    if watch.shared():
        lines.insert(1, "THE MACHINE WAS SHARED: these times mean little")
    for title, middle, mean, *cells in rows(theirs, ours):
        numbers = f"{middle:9.3f} {mean:9.3f}" if middle else f"{'-':>9} {'-':>9}"
        lines.append(f"{title:34} {numbers}   " + " ".join(f"{cell:22}" for cell in cells).rstrip())
    return "\n".join(lines)


def processor():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit():
    answer = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def heading(arguments):
    import torch
    import torchvision
    waiting = arguments.wait_policy or "each side's own"
    return (f"$ python3 {' '.join(sys.argv)}\n"
            f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, Python {platform.python_version()}; ffbench {commit()}\n"
            f"{processor()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}; {THREADS} threads each, batch {BATCH}, "
            f"FP32 in PyTorch, SGD with momentum (fused=True)\n"
            f"OpenMP waiting: {waiting}; ratios of medians within a round, median over the rounds [95 % interval]")


def measure(model, arguments):
    theirs, ours = [], []
    try:
        start_all(model, arguments, theirs, ours)
        alive = [contestant for contestant in theirs + ours if contestant.alive]
        watch, steps = Watch(), 0
        if alive:
            steps = steps_for(alive, arguments)
            play(alive, steps, arguments.rounds, watch)
        return table(model, theirs, ours, steps, arguments, watch), all(c.alive for c in theirs + ours)
    finally:
        for contestant in theirs + ours:
            contestant.close()


def setting(text):
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text}: write options as name=value")
    return name, value


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--algorithms", nargs="*", help="ours: ALGORITHM[:option=value,...]; else all, with the options of experiments/tuned.lua "
                        "but for the learning rate: 0.003 on convolutional networks unless named")
    parser.add_argument("--modes", nargs="*", choices=MODES, default=STANDARD_MODES, help="PyTorch's")
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="OPTION=VALUE",
                        help="for every algorithm; model.stem and model.squeeze_excitation change PyTorch's model too")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=0, help="in a turn; 0: by --turn-seconds")
    parser.add_argument("--turn-seconds", type=float, default=0.5, help="of the slowest contestant")
    parser.add_argument("--wait-policy", choices=["passive", "active"], help="OMP_WAIT_POLICY of both sides")
    parser.add_argument("--output", help="file for the table, besides standard output")
    parser.add_argument("--steps-program", default="build/bench/steps")
    parser.add_argument("--serve", nargs=2, metavar=("MODEL", "MODE"), help=argparse.SUPPRESS)
    return parser, parser.parse_args()


def main():
    parser, arguments = arguments_of()
    if arguments.serve:
        serve(*arguments.serve, arguments.set)
        return 0
    try:
        import pytorch_models
        for model in arguments.models:
            pytorch_models.options_of(model, arguments.set)
    except ImportError as problem:
        parser.error(f"{problem}: run this with a Python that has PyTorch and torchvision")
    except ValueError as problem:
        parser.error(str(problem))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(130))  # by way of `finally`, which ends the contestants
    complete, texts = True, [heading(arguments)]
    print(texts[0], flush=True)
    for model in arguments.models:
        text, whole = measure(model, arguments)
        complete = complete and whole
        texts.append(text)
        print(f"\n{text}", flush=True)
        if arguments.output:
            with open(arguments.output, "w") as file:
                file.write("\n\n".join(texts) + "\n")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
