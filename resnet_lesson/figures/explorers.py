"""Explorers: a figure or table that follows sliders and buttons, and is a still picture if no kernel is running.

The controls are ipywidgets (the `lab` extra). Without it, on GitHub and on a printed page, an explorer shows its first
state.
"""

import inspect
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from ..inside.landscape import Surface
from ..inside.lesions import Images, blocks_of, error_of, lesion
from ..models.blocks import BasicBlock, Bottleneck, PlainBlock
from ..models.cost import cost_of
from ..models.networks import label
from ..models.resnet import ResNet
from ..training.study import Study
from .diagrams import block_diagram
from .inside import scale_of, surface_view
from .studies import dose_view
from .style import RESIDUAL, line_style, png

WIDGET = "application/vnd.jupyter.widget-view+json"


def import_ipywidgets(instead: str) -> Any:
    """The package ipywidgets; or, if it is missing, None and a line that says what there is instead."""
    try:
        import ipywidgets
    except ImportError as problem:
        print(f"{instead} ({problem}): pip install --upgrade ipywidgets")
        return None
    return ipywidgets


def bundle(still: dict[str, str], view: Any) -> dict[str, Any]:
    """What a notebook is to show, by MIME type: the widget `view`, and the still content if no kernel is running."""
    if view is None:
        return still
    return {**still, WIDGET: {"version_major": 2, "version_minor": 0, "model_id": view.model_id}}


def _start(control, parameter: inspect.Parameter | None):
    """The first value of a control: the argument's default in `draw`, or else the first one offered."""
    if parameter is not None and parameter.default is not parameter.empty:
        return parameter.default
    return control if isinstance(control, bool) else control[0]


def _widget(ipywidgets, name: str, control, value, label_width: str):
    """The widget for a control; all labels are as wide as the longest, so that none is cut off."""
    if isinstance(control, list) and len(control) <= 5:
        widget = ipywidgets.ToggleButtons(options=control, value=value, style={"button_width": "auto"})
        widget.add_class("widget-inline-hbox")  # its label in line with the others
    elif isinstance(control, list) and isinstance(value, (int, float)):
        widget = ipywidgets.SelectionSlider(options=control, value=value)
    else:
        widget = ipywidgets.interactive.widget_from_abbrev(control, value)
    widget.description = name.replace("_", " ")
    widget.style.description_width = label_width
    widget.layout.width = f"min(100%, {label_width} + 24em)"
    return widget


class Explorer:
    """What `explorer` returns. `controls`: the widgets by name; `output`: the HTML widget that shows the result."""

    def __init__(self, draw: Callable[..., Figure | str], controls: Mapping):
        parameters = inspect.signature(draw).parameters
        values = {name: _start(control, parameters.get(name)) for name, control in controls.items()}
        self.draw, self.controls, self.view = draw, {}, None
        self._words = f"{draw.__name__}: " + ", ".join(f"{name}={value!r}" for name, value in values.items())
        self._still = self._render(values)
        if ipywidgets := import_ipywidgets("This is only a picture, without controls"):
            width = f"{max(map(len, controls)) + 1}ch"
            for name, control in controls.items():
                self.controls[name] = _widget(ipywidgets, name, control, values[name], width)
                self.controls[name].observe(self._update, names="value")
            self.output = ipywidgets.HTML(self._still["text/html"])
            self.view = ipywidgets.VBox([*self.controls.values(), self.output])

    def _update(self, change) -> None:
        try:
            html = self._render({name: control.value for name, control in self.controls.items()})["text/html"]
        except Exception as error:  # nobody would see it if it were raised here
            html = f'<p role="alert"><b>Not possible.</b> {escape(str(error))}</p>'
        self.output.value = html

    def _render(self, values: dict) -> dict[str, str]:
        """What `draw` returns for the values, as {MIME type: content}; HTML is always included."""
        result = self.draw(**values)
        if isinstance(result, str):
            return {"text/html": result}
        picture = png(result)
        plt.close(result)
        alt = escape(str(result.get_label() or self.draw.__name__))
        wide, high = result.canvas.get_width_height()
        start = f'<img alt="{alt}" width="{wide}" height="{high}" style="max-width:100%;height:auto" '
        return {"image/png": picture, "text/html": f'{start}src="data:image/png;base64,{picture}">'}

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        """The widgets and, for readers without a kernel, their first state as a PNG or else as HTML."""
        kind = next(iter(self._still))
        return bundle({kind: self._still[kind], "text/plain": self._words}, self.view)


def explorer(draw: Callable[..., Figure | str], **controls) -> Explorer:
    """One control for each argument of `draw`, and below them the figure or HTML that `draw(**values)` returns.

    A control is (low, high, step) for a slider, a list to choose from, or True or False for a box to tick. It starts at
    the argument's default in `draw`, or else at its first value. If `draw` raises an error once a control has moved,
    the message is shown in place of the figure.

    explorer(lambda n=3: f"<b>{n ** 2}</b>", n=(0, 9, 1))
    """
    return Explorer(draw, controls)


def shapes(block="basic", in_channels=64, width=64, stride=1, shortcut="B", size=32) -> Figure:
    """The diagram of a block, titled with the Python that makes it."""
    kind = {"plain": PlainBlock, "basic": BasicBlock, "bottleneck": Bottleneck}[block]
    options = {"stride": stride} if kind is PlainBlock else {"stride": stride, "shortcut": shortcut}
    with torch.device("meta"):  # only shapes are wanted
        module = kind(in_channels, width, **options)
    said = ", ".join(f"{name}={value!r}" for name, value in options.items())
    title = f"{kind.__name__}({in_channels}, {width}, {said})"
    return block_diagram(module, (in_channels, size, size), title)


def shape_explorer() -> Explorer:
    """The shapes inside a block, for every block, width, stride, shortcut and image size."""
    return explorer(
        shapes,
        block=["plain", "basic", "bottleneck"],
        in_channels=[3, 16, 32, 64, 128, 256, 512],
        width=[16, 32, 64, 128, 256, 512],
        stride=[1, 2],
        shortcut=["A", "B", "C"],
        size=[7, 8, 14, 15, 16, 28, 32, 56, 112],
    )


def costs(channels=256, inner_width=64, size=56) -> str:
    """A table of what a basic block and a bottleneck with the same outer channels cost, with either shortcut."""
    if channels % inner_width:
        raise ValueError(
            f"A bottleneck has a whole multiple of its inner width as outer channels (4 times in the paper), but "
            f"{channels} is not a multiple of {inner_width}: choose an inner width that divides {channels}."
        )
    narrow = type("Bottleneck", (Bottleneck,), {"expansion": channels // inner_width})
    blocks = {
        f"basic, {channels} → {channels}": (BasicBlock, channels, channels),
        f"bottleneck, {channels} → {inner_width} → {channels}": (narrow, channels, inner_width),
        f"basic, {inner_width} → {inner_width}": (BasicBlock, inner_width, inner_width),
    }
    rows = []
    for name, (kind, outer, inner) in blocks.items():
        for option, shortcut in {"B": "identity", "C": "projection"}.items():
            with torch.device("meta"):
                block = kind(outer, inner, shortcut=option)
            rows.append((name, shortcut, cost_of(block, (outer, size, size))))
    most = max(cost.macs for *_, cost in rows)
    right, bar = 'style="text-align:right"', f"display:inline-block;height:0.8em;background:{RESIDUAL[0]}"
    body = "".join(
        f'<tr><th scope="row">{name}</th><td>{shortcut}</td><td {right}>{cost.parameters:,}</td>'
        f'<td {right}>{cost.macs / 1e6:,.1f}</td><td style="text-align:left"><span style="{bar};'
        f'width:{12 * cost.macs / most:.2f}em"></span> {cost.macs / most:.1%}</td></tr>'
        for name, shortcut, cost in rows
    )
    heads = ("block", "shortcut", "parameters", "multiply-adds (million)", "of the most expensive")
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    caption = f"One block, stride 1, on {size} x {size} pixels"
    return f'<table cellpadding="6"><caption>{caption}</caption><tr>{head}</tr>{body}</table>'


def cost_explorer() -> Explorer:
    """What the bottleneck saves: its parameters and multiply-adds beside those of basic blocks of either width."""
    return explorer(
        costs,
        channels=[64, 128, 256, 512, 1024, 2048],
        inner_width=[16, 32, 64, 128, 256, 512],
        size=(7, 56, 7),
    )


def surface_explorer(surfaces: Mapping[str, Mapping[str, Surface]]) -> Explorer:
    """Loss surfaces that you can turn, look at from above, and cut, all on one scale.

    surfaces: {network: {directions: surface}}, with the same names of directions for each network.
    """
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


def dose_explorer(study: Study) -> Explorer:
    """A slider over the recorded doses: the error at the end, and epoch by epoch at the chosen dose."""
    doses = sorted({trial["dose"] for trial in study.trials})

    def view(dose=doses[0]) -> Figure:
        return dose_view(study, dose)

    return explorer(view, dose=doses)


def lesion_explorer(networks: Mapping[str, ResNet], batches: Images) -> Explorer:
    """Boxes to tick: which blocks to take out, and which statistics BN uses. The errors are shown below.

    networks: trained networks by name, such as "plain20"; their blocks must have the same names.
    batches: images (N, 3, H, W), normalised, and labels (N,), on which the error is measured each time.
    """

    def errors(bn_of_these_images=False, **taken: bool) -> str:
        drop = [block for block, out in taken.items() if out]
        rows = "".join(_row(name, networks[name], batches, bn_of_these_images, drop) for name in networks)
        head = "".join(f'<th scope="col">{title}</th>' for title in ("network", "whole", "with this lesion"))
        return f'<table cellpadding="6"><caption>Wrong answers</caption><tr>{head}</tr>{rows}</table>'

    blocks = blocks_of(next(iter(networks.values())))
    return explorer(errors, **dict.fromkeys(blocks, False), bn_of_these_images=False)


def _row(name: str, network: ResNet, batches: Images, bn_of_these_images: bool, drop: list) -> str:
    whole = error_of(network, batches, batch_statistics=bn_of_these_images)
    try:
        with lesion(network, drop):
            error = error_of(network, batches, batch_statistics=bn_of_these_images)
        bar = f"display:inline-block;height:0.8em;width:{12 * error:.2f}em;background:{line_style(name)['color']}"
        found = f'<span style="{bar}"></span> {error:.1%}'
    except ValueError as problem:  # a plain block that changes the shape
        found = escape(str(problem))
    return f'<tr><th scope="row">{label(name)}</th><td>{whole:.1%}</td><td style="text-align:left">{found}</td></tr>'
