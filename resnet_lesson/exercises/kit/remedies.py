"""What an exception of the student's code means, and what to do about it."""

import re

from .outcomes import Stopped

REMEDIES = {  # what Python or torch says: what to do about it
    r"Module\.__init__\(\) call": "The first line of `__init__` must be `super().__init__()`.",
    r"positional arguments? but|missing \d+ required positional|unexpected keyword": "Compare the arguments with those "
    "that the task names. In a class, `self` comes first.",
    r"has no attribute '(\w+)'": "Is it spelled the same where you make it, and made in `__init__`?",
    r"input\(\)": "Leave input() out: what your code needs is in its arguments.",
}


def remedy_for(error: Stopped) -> tuple[str, str, str]:
    """The mistake's name, what was raised, and what to do, with the student's own line."""
    if 'missing the required "forward"' in error.text:
        why = "Your class has no `forward`. Is it named so, and indented like `__init__`?"
        return "no forward", "NotImplementedError", why
    if error.kind == "NotImplementedError" and "not implemented for" not in error.text:  # that would be torch's own
        why = "A part of your answer still raises NotImplementedError: write that part too."
        return "unfinished", "NotImplementedError", why
    where = f"It was raised in your {error.where}." if error.where else "It was raised when your code was called."
    remedy = next((remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, error.text)), "")
    return f"your code stopped with {error.kind}", str(error), f"{where} {remedy}".rstrip()
