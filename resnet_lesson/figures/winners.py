"""How deep the leading networks of the ImageNet competition were, and how often they were wrong, for notebook 00."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from .style import PLAIN, RESIDUAL, styled

WINNERS = (  # name, year, layers with weights, top-5 test error of the entry in percent
    ("AlexNet", 2012, 8, "15.3"),  # Krizhevsky et al. 2012, abstract
    ("VGG", 2014, 19, "7.3"),  # this and the following errors: ResNet paper, table 5
    ("GoogLeNet", 2014, 22, "6.7"),
    ("ResNet", 2015, 152, "3.57"),
)


@styled
def winners() -> Figure:
    """One row per network, with a box for each of its layers, followed by its depth and its error."""
    figure, ax = plt.subplots(figsize=(10, 2.9), layout="constrained")
    for row, (name, _, layers, error) in enumerate(WINNERS):
        color = RESIDUAL[1] if name == "ResNet" else PLAIN[0]
        ax.barh([row] * layers, 0.7, left=range(layers), height=0.55, color=color, snap=False)
        ax.text(layers + 1.5, row, f"{layers} layers\n{error}% wrong", va="center")
    ax.set_yticks(range(len(WINNERS)), [f"{year}  {name}" for name, year, _, _ in WINNERS])
    ax.set(xlabel="layers, from the image on the left to the answer on the right", xlim=(-1, 172), ylim=(3.6, -0.6))
    ax.grid(False)
    return figure
