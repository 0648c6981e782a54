"""Right and wrong answers to the exercises, a file a notebook.

RIGHT[exercise][style] = answer, and WRONG[exercise][kind of mistake] = (answer, the name of the mistake that the check
must tell). Where the answer has named parts, it is a dict.
"""

from importlib import import_module
from pathlib import Path

MODULES = [import_module(f"answers.{path.stem}") for path in sorted(Path(__file__).parent.glob("n*.py"))]
RIGHT = {name: answers for module in MODULES for name, answers in module.RIGHT.items()}
WRONG = {name: answers for module in MODULES for name, answers in module.WRONG.items()}
