"""What does a training step of the default networks for images cost, term by term?

    python benchmarks/step_terms.py             # writes benchmarks/results/step_terms.md

50 avatars of 32×32 pixels with 16 labels, forward and backward pass, the median of `--rounds` in one thread, in bfloat16 where
the machine has it. The floor is what the networks alone take: both encoders and the decoder, once each. Each row adds a term to
the step of the row before; a training does the intervention loss in every second step, and the mean step says so.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from ccvae.config import TrainConfig
from ccvae.data import avatars
from ccvae.distributed.shard import Shard
from ccvae.model.ccvae import CCVAE
from ccvae.training.fit import precision_of
from ccvae.training.losses import ObjectiveLoss, Step

RESULTS = Path(__file__).parent / "results" / "step_terms.md"
ROWS, STEPS = 50, 1000
LATE = 901
"""A step after all warm-ups, in which every row reads its style from the neutralised input."""


def seconds(works, rounds):
    """Median seconds of several pieces of work, which take turns."""
    taken = {name: [] for name in works}
    for turn in range(rounds + 2):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if turn >= 2:
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in taken.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = avatars(600, size=32, seed=0, validation=50, test=50)
    torch.manual_seed(0)
    model = CCVAE.for_data(data).train()
    plain = CCVAE.for_data(data, neutral_style=False).train()
    precision = precision_of(model, TrainConfig())
    mixed = precision == "bf16-mixed"
    x = data.tensor(slice(ROWS)).contiguous(memory_format=torch.channels_last)
    y = torch.tensor(data.labels[:ROWS])
    z = torch.randn(ROWS, model.config.latent_dim)
    generator = torch.Generator().manual_seed(0)

    def passes(network, compute):
        def work():
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                result = compute()
            result.float().sum().backward()
            network.zero_grad()

        return work

    def step(of, number, **settings):
        loss = ObjectiveLoss(of, TrainConfig(**settings))

        def compute():
            return loss.training_loss(of, x, y, Step(number, STEPS, generator, Shard(ROWS)))[0]

        return passes(of, compute)

    works = {
        "networks alone: labels' encoder": passes(model, lambda: model.encoder(x, "labels")),
        "networks alone: style's encoder": passes(model, lambda: model.encoder(x, "style")),
        "networks alone: decoder": passes(model, lambda: model.decoder(z)),
        "the bound": step(plain, LATE, intervention_weight=0.0, redrawn_share=0.0),
        "… blocks of absent labels drawn again": step(plain, LATE, intervention_weight=0.0),
        "… style from the neutralised input": step(model, LATE, intervention_weight=0.0),
        "… intervention loss, in that step": step(model, LATE - 1),
    }
    found = seconds(works, arguments.rounds)
    floor = sum(value for name, value in found.items() if name.startswith("networks"))
    found["a mean step of training"] = (
        found["… style from the neutralised input"] + found["… intervention loss, in that step"]
    ) / 2
    lines = [
        "# A step, term by term",
        "",
        *__doc__.splitlines()[4:],
        "",
        f"Precision {precision}, torch {torch.__version__}.",
        "",
    ]
    lines += ["| | ms | relative to the networks alone |", "|---|---:|---:|"]
    lines += [f"| {name} | {1000 * value:.0f} | {value / floor:.2f} |" for name, value in found.items()]
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[-len(found) :]))


if __name__ == "__main__":
    main()
