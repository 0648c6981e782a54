"""The course's exercises, one file each.

from resnet_lesson import exercises

ex = exercises.basic_block
ex.check(BasicBlock)    # judges what your class does, not how it is written
ex.hint()               # one more hint each time
ex.solution()           # the course's own code
"""

# ruff: noqa: F401  (each import is an exercise, or something that its notebook shows)
from ..errors import unknown
from .assemble_resnet import assemble_resnet
from .basic_block import basic_block
from .bottleneck import bottleneck
from .cost_by_hand import cost_by_hand
from .design_the_control import control_results, design_the_control
from .filter_direction import filter_direction
from .find_the_broken_line import broken_curves, broken_resnet, find_the_broken_line
from .freeze import freeze
from .jacobian import jacobian
from .kit.exercise import Exercise
from .lesion import lesion
from .load_torchvision import load_torchvision
from .make_stage import make_stage
from .mystery_curves import mystery_answers, mystery_curves, mystery_figure
from .option_a import option_a
from .plain_block import plain_block
from .preact_block import preact_block
from .projection import projection
from .reading_curves import curves_figure, reading_curves
from .replace_head import replace_head
from .residual_forward import residual_forward
from .schedule import schedule
from .the_dose import the_dose
from .training_loop import training_loop


def names() -> list[str]:
    """The names of the exercises, notebook by notebook."""
    found = {name: value.read for name, value in globals().items() if isinstance(value, Exercise)}
    return sorted(found, key=found.get)  # "notebook 03, section 5"


def __getattr__(name: str):
    raise AttributeError(unknown("exercise", name, names()))
