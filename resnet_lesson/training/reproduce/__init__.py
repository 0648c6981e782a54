"""The paper's table 6 again: its trainings by one command, and the table with ours beside it.

`table` has the numbers, `job` one training in a process of its own, `many` several of them, `command` the command line.

>>> from . import table6
>>> table6(recipe="short")  # in a notebook it shows as a table; print() gives the same as text
"""

from .table import NETWORKS, add_predictions, table6

__all__ = ["NETWORKS", "add_predictions", "table6"]
