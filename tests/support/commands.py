"""The command line, called as a user would."""

import pytest

from resnet_lesson.commands import cli


def call(capsys, *words):
    """Exit status, and what was printed to stdout and to stderr."""
    with pytest.raises(SystemExit) as end:
        cli.main(list(words))
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err
