"""Explorers that look inside networks: a loss surface to turn and cut, and blocks to take out."""

from collections.abc import Mapping
from html import escape
from itertools import pairwise

from matplotlib.figure import Figure

from .landscape import Surface
from .lesions import Images, blocks_of, error_of, lesion, movable
from .live import Explorer, explorer
from .plots import label, line_style
from .plots_inside import scale_of, surface_view
from .resnet import ResNet


def surface_explorer(surfaces: Mapping[str, Mapping[str, Surface]]) -> Explorer:
    """Loss surfaces to turn, to look at from above and to cut, all on one scale.

    surfaces: {network: {directions: surface}}, each network with the same names of directions, or ValueError.
    """
    if len({tuple(several) for several in surfaces.values()}) != 1:
        raise ValueError("Give each network surfaces of the same names.")
    scale = scale_of([one for several in surfaces.values() for one in several.values()])

    def view(network, directions, azimuth=-60, height=30, cut=0.0) -> Figure:
        return surface_view(surfaces[network][directions], network, azimuth, height, cut, scale)

    return explorer(
        view,
        network=list(surfaces),
        directions=list(next(iter(surfaces.values()))),
        azimuth=(-180, 180, 15),
        height=(0, 90, 15),
        cut=(-1.0, 1.0, 0.125),
    )


def lesion_explorer(networks: Mapping[str, ResNet], batches: Images) -> Explorer:
    """Boxes to tick: blocks to take out; two neighbours to exchange; whose statistics BN takes. Below, the errors.

    networks: trained ones with blocks of the same names, by their name, such as "plain20".
    batches: images (N, 3, H, W), normalised, and labels (N,), over which the error is measured each time.
    """
    blocks = list(blocks_of(next(iter(networks.values()))))
    stay = set.intersection(*(set(movable(network)) for network in networks.values()))
    pairs = [pair for pair in pairwise(blocks) if stay.issuperset(pair) and pair[0][:8] == pair[1][:8]]

    def errors(exchange, bn_of_these_images=False, **taken: bool) -> str:
        drop = [block for block, out in taken.items() if out]
        rows = "".join(_row(name, networks[name], batches, bn_of_these_images, drop, exchange) for name in networks)
        head = "".join(f'<th scope="col">{title}</th>' for title in ("network", "whole", "with this lesion"))
        return f'<table cellpadding="6"><caption>Wrong answers</caption><tr>{head}</tr>{rows}</table>'

    exchange = {"nothing": []} | {" and ".join(pair): [pair] for pair in pairs}
    return explorer(errors, **dict.fromkeys(blocks, False), exchange=exchange, bn_of_these_images=False)


def _row(name: str, network: ResNet, batches: Images, bn_of_these_images: bool, drop: list, swap: list) -> str:
    whole = error_of(network, batches, batch_statistics=bn_of_these_images)
    try:
        with lesion(network, drop, swap):
            error = error_of(network, batches, batch_statistics=bn_of_these_images)
        bar = f"display:inline-block;height:0.8em;width:{12 * error:.2f}em;background:{line_style(name)['color']}"
        found = f'<span style="{bar}"></span> {error:.1%}'
    except ValueError as problem:  # a plain block that changes the shape
        found = escape(str(problem))
    return f'<tr><th scope="row">{label(name)}</th><td>{whole:.1%}</td><td style="text-align:left">{found}</td></tr>'
