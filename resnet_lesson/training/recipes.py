"""Recipes: everything about a training run except the network, the data and the seed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

from ..errors import unknown


def step_schedule(
    iteration: int, lr: float = 0.1, milestones: Sequence[int] = (32_000, 48_000), warmup: int = 0
) -> float:
    """The learning rate of step `iteration` (the first is 0), which depends on nothing else: the paper's section 4.2.

    It is `lr`, divided by 10 from each milestone on, and lr / 10 in the first `warmup` iterations. There may be any
    number of milestones.
    """
    if iteration < warmup:
        return lr / 10
    return lr * 0.1 ** sum(iteration >= milestone for milestone in milestones)


@dataclass(frozen=True)
class Recipe:
    """How to train with stochastic gradient descent.

    iterations: steps of the optimiser in all; batch_size: images in each.
    lr: the highest learning rate. schedule: "step" divides it by 10 at each of `milestones`;
        "one-cycle" rises linearly from 0 over `warmup` iterations and falls linearly to 0.
        In a "step" schedule the first `warmup` iterations use lr / 10.
    normalisation: "channel" (mean and standard deviation of each colour) or "pixel" (the paper's:
        subtract the mean image, no division).
    padding, flip: the augmentation: zeros added on each side before a random crop; random mirroring.

    Raises ValueError for a schedule or normalisation that does not exist, and for numbers that make no sense.
    """

    name: str
    iterations: int
    batch_size: int = 128
    lr: float = 0.1
    schedule: str = "step"
    milestones: tuple[int, ...] = ()
    warmup: int = 0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    normalisation: str = "channel"
    padding: int = 4
    flip: bool = True

    def __post_init__(self):
        for name, known in (("schedule", ("step", "one-cycle")), ("normalisation", ("channel", "pixel"))):
            if getattr(self, name) not in known:
                raise ValueError(unknown(name, getattr(self, name), known))
        whole = "a whole number of at least 1"
        for name, fits, rule in (
            ("iterations", isinstance(self.iterations, Integral) and self.iterations >= 1, whole),
            ("batch_size", isinstance(self.batch_size, Integral) and self.batch_size >= 1, whole),
            ("lr", 0 < self.lr < float("inf"), "above 0"),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", 0 <= self.weight_decay < float("inf"), "0 or more"),
        ):
            if not fits:
                raise ValueError(f"{name} of the recipe {self.name!r} must be {rule}, not {getattr(self, name)}.")

    def lr_at(self, iteration: int) -> float:
        """The learning rate of step `iteration` (the first is 0); it depends on nothing else."""
        if self.schedule == "one-cycle":
            if iteration < self.warmup:
                return self.lr * (iteration + 1) / self.warmup
            return self.lr * (self.iterations - iteration) / (self.iterations - self.warmup)
        return step_schedule(iteration, self.lr, self.milestones, self.warmup)

    def scaled(self, iterations: int) -> "Recipe":
        """The same recipe with a different number of iterations; milestones and warm-up scale with it."""
        factor = iterations / self.iterations
        return replace(
            self,
            iterations=iterations,
            milestones=tuple(round(m * factor) for m in self.milestones),
            warmup=round(self.warmup * factor),
        )


PAPER = Recipe("paper", 64_000, milestones=(32_000, 48_000), normalisation="pixel")

RECIPES = {
    recipe.name: recipe
    for recipe in (
        PAPER,  # section 4.2: about 164 epochs of CIFAR-10
        replace(PAPER, name="paper110", warmup=400),  # section 4.2, "n = 18": lr 0.01 for about 400 iterations
        # Four epochs of CIFAR-10: the real data in minutes (20 layers) to tens of minutes (56) on a laptop.
        Recipe("short", 4 * 391, lr=0.4, schedule="one-cycle", warmup=391, nesterov=True, weight_decay=5e-4),
        # The live experiments of the notebooks: four epochs of 4,096 images of shapes10 at 16x16. No crop
        # and no flip: shapes10 varies enough by itself.
        Recipe("demo", 4 * 64, batch_size=64, milestones=(192,), padding=0, flip=False),
        # The study post "Lab 10-6": 20 epochs, crops but no flips.
        Recipe("lab10_6", 20 * 196, batch_size=256, flip=False),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ValueError with the nearest name for one that does not exist."""
    if name not in RECIPES:
        raise ValueError(unknown("recipe", name, RECIPES))
    return RECIPES[name]
