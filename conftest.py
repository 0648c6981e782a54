"""The order of tests and notebooks, and what nbval alone would let pass in a notebook."""

import pytest

# The files that take longest come first, so that two processes end at about the same time.
LONGEST = ("02_", "01_", "test_browser", "test_train", "08_", "07_", "test_grade", "05_", "06_", "test_alone", "03_")

# Warnings that code will stop working are errors where a cell or the package raises them; in 05 and 08, which show
# torchvision's networks and weights, also where torch or torchvision does. pyproject.toml has the same for the tests.
WARNINGS = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
OURS = r"(__main__|resnet_lesson)(\.|$)"
TORCH = r"(__main__|resnet_lesson|torch|torchvision)(\.|$)"
WITH_TORCH = ("05", "08")


def pytest_collection_modifyitems(items):
    def place(item):
        return next((i for i, name in enumerate(LONGEST) if item.path.name.startswith(name)), len(LONGEST))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A cell may write nothing to stderr. nbval compares that only without NBVAL_IGNORE_OUTPUT, and IPython only
    prints there that it does not know a magic. And a cell fails at its time limit: nbval interrupts it, which a
    training takes as Ctrl-C and ends well."""
    kernel = getattr(item.parent, "kernel", None)
    if kernel and item.cell_num == 0:
        module = TORCH if item.path.name.startswith(WITH_TORCH) else OURS
        lines = [f"__import__('warnings').filterwarnings('error', '', {name}, {module!r})" for name in WARNINGS]
        kernel.await_idle(kernel.kc.execute("\n".join(lines), silent=True), 60)
    result = yield
    for output in (kernel and item.test_outputs) or ():
        if output.get("name") == "stderr":
            item.raise_cell_error(f"It wrote to stderr: {output.text}")
    if kernel and item.parent.timed_out:
        item.raise_cell_error("It was interrupted at its time limit.")
    return result
