"""What must never be unpickled."""

import pytest


class Hostile:
    """Whoever unpickles this fails the test."""

    def __reduce__(self):
        return pytest.fail, ("this was unpickled",)
