"""The course's exercises, one module a notebook.

from resnet_lesson import exercises

ex = exercises.basic_block
ex.check(BasicBlock)    # judges what your class does, not how it is written
ex.hint()               # one more hint each time
ex.solution()           # the course's own code
"""

from ..errors import unknown
from .core import Exercise
from .n01_plain_networks import curves_figure, plain_block, reading_curves
from .n02_jacobian import jacobian
from .n02_residual_learning import residual_forward
from .n03_projection import projection
from .n03_residual_block import basic_block, option_a
from .n04_bottleneck import bottleneck
from .n04_cost_by_hand import cost_by_hand
from .n05_full_resnet import assemble_resnet
from .n05_make_stage import make_stage
from .n05_torchvision import load_torchvision
from .n06_schedule import schedule
from .n06_training_loop import training_loop
from .n07_direction import filter_direction
from .n07_lesion import lesion
from .n08_freeze import freeze
from .n08_replace_head import replace_head
from .n09_preact_block import preact_block


def names() -> list[str]:
    """The exercises, notebook by notebook."""
    return [name for name, value in globals().items() if isinstance(value, Exercise)]


def __getattr__(name: str):
    raise AttributeError(unknown("exercise", name, names()))


__all__ = [
    "assemble_resnet",
    "basic_block",
    "bottleneck",
    "cost_by_hand",
    "curves_figure",
    "filter_direction",
    "freeze",
    "jacobian",
    "lesion",
    "load_torchvision",
    "make_stage",
    "names",
    "option_a",
    "plain_block",
    "preact_block",
    "projection",
    "reading_curves",
    "replace_head",
    "residual_forward",
    "schedule",
    "training_loop",
]
