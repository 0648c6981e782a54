"""In a notebook, conftest.py makes fail what nbval alone lets pass."""

import os
import re
import shutil
import subprocess
import sys

from nbformat import v4, write
from support.paths import REPO

WARN = "exec('import warnings; warnings.warn(\"old\", {}, 1)', {{'__name__': '{}'}})"
CELLS = [
    "1",
    WARN.format("DeprecationWarning", "torch.nn"),  # torch's own affair
    WARN.format("DeprecationWarning", "__main__"),
    WARN.format("FutureWarning", "resnet_lesson.models.blocks"),
    "%no_such_magic",
]


def test_an_unknown_magic_and_a_warning_fail_even_where_outputs_are_not_compared(tmp_path):
    shutil.copy(REPO / "conftest.py", tmp_path)
    cells = [v4.new_code_cell(f"# NBVAL_IGNORE_OUTPUT\n{source}", execution_count=1) for source in CELLS]
    write(v4.new_notebook(cells=cells), tmp_path / "00.ipynb")
    words = [sys.executable, *"-m pytest -q -rA --tb=no -p nbval.plugin --nbval --nbval-current-env".split()]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    said = subprocess.run(words, cwd=tmp_path, env=alone, capture_output=True, text=True).stdout
    assert re.findall(r"^PASSED 00.ipynb::Cell (\d)", said, re.M) == ["0", "1"], said
