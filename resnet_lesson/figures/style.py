"""The course's figures, in one style: plain networks dashed and warm, residual ones solid and cool,
deeper ones thicker, in every notebook alike. The colours are safe for colour-blind eyes and differ in
grey, and the ground is white, so that figures read the same in a light and a dark notebook."""

import re

PLAIN = ("#e69f00", "#b03a00")  # shallow, deep
RESIDUAL = ("#56b4e9", "#00467f")
STYLE = {
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "font.size": 11,
    "legend.frameon": False,
    "text.color": "black",
    "axes.labelcolor": "black",
    "axes.edgecolor": "black",
    "xtick.color": "black",
    "ytick.color": "black",
}


def depth(name: str) -> int:
    """The number of layers in a network's name; 50 where it has none, as lab10_6 has.

    >>> depth("plain56")
    56
    """
    return int((re.match(r"(?:plain|resnet)(\d+)", name) or [0, 50])[1])


def line_style(name: str) -> dict:
    """How to draw a network of that name: colour, dashes, width."""
    plain = name.startswith("plain")
    deep = depth(name) > 32
    return {
        "color": (PLAIN if plain else RESIDUAL)[deep],
        "linestyle": "--" if plain else "-",
        "linewidth": 2.8 if deep else 1.6,
    }
