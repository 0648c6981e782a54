"""The size of a step, for notebook 07: how much one step changes each layer, and how much of its promise it keeps.

This is measured at several moments of training, with several seeds, and recorded as a study.
"""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from ..datasets.batches import Batches, Normalisation
from ..datasets.shapes10 import shapes10
from ..models.networks import build
from ..training.experiments import LIVE_RATE, NETWORKS
from ..training.loop import sgd, step, training_batches
from ..training.recipes import recipe
from ..training.study import Plan, grid
from .measures import kept_promises, relative_gradients

MOMENTS = (0, 1, 5, 20, 100)  # steps of training done
PROMISED = (0.01, 0.1, 1.0)  # decreases of the loss


def steps(root: Path) -> Plan:
    """At each moment: "relative", one number per layer, from the first to the linear one; "kept", the share that is
    kept of each of `PROMISED`; "sgd", what a step of plain SGD at the learning rate promises, and the share kept."""
    data = shapes10(4096, seed=0)
    chosen = replace(recipe("demo"), lr=LIVE_RATE)
    normalisation = Normalisation.of(data)
    images, labels = next(iter(Batches(data, 256, normalisation)))

    def look(network: torch.nn.Module) -> dict:
        kept, square = kept_promises(network, images, labels, PROMISED)
        (by_sgd,), _ = kept_promises(network, images, labels, [chosen.lr * square])
        relative = relative_gradients(network, images, labels)
        return {
            "relative": [float(f"{number:.4g}") for number in relative.values()],
            "kept": [round(share, 4) for share in kept],
            "sgd": [float(f"{chosen.lr * square:.4g}"), float(f"{by_sgd:.4g}")],
        }

    def trial(network: str, seed: int) -> dict:
        model = build(network, seed=seed).to(memory_format=torch.channels_last)
        optimiser = sgd(model.parameters(), chosen)
        found = {"0": look(model)}
        batches = training_batches(data, normalisation, chosen, seed=seed)
        for iteration, inputs, answers in batches.steps(0, max(MOMENTS)):
            step(model.train(), inputs, answers, optimiser)
            if iteration + 1 in MOMENTS:
                found[str(iteration + 1)] = look(model)
        return {"moments": found}

    shared = {
        "data": {"name": data.name, "train": data.identity},
        "recipe": asdict(chosen),
        "precision": "float32",
        "measured on": "the first 256 training images",
        "promised": list(PROMISED),
    }
    question = "How much does a step change each layer, and how much of what its gradient promises does it bring?"
    return Plan("steps", question, shared, grid(seed=range(8), network=NETWORKS), trial)
