"""Each exercise stands in one notebook; with its solution pasted in, the notebook runs and the check passes."""

import matplotlib.pyplot as plt
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from support.paths import NOTEBOOKS, REPO
from support.stubs import about_the_exercises, exercise_in, paste_solution, stubs, text_of
from traitlets.config import Config

import resnet_lesson
from resnet_lesson import exercises
from resnet_lesson.training import transfer, transfer_study


@pytest.fixture
def brief(monkeypatch):
    """What is taught here is not the training: four steps of each do."""
    train, fine_tune = resnet_lesson.train, transfer.fine_tune

    def brief_training(network, train_set, test_set, recipe, **options):
        recipe = resnet_lesson.recipe(recipe) if isinstance(recipe, str) else recipe
        return train(network, train_set, test_set, recipe.scaled(min(recipe.iterations, 4)), **options)

    def brief_tuning(network, train_set, test_set, normalisation, recipe=transfer.FINE_TUNING, **options):
        return fine_tune(network, train_set, test_set, normalisation, recipe.scaled(4), **options)

    monkeypatch.setattr(resnet_lesson, "train", brief_training)
    for module in (transfer, transfer_study):
        monkeypatch.setattr(module, "fine_tune", brief_tuning)
    monkeypatch.chdir(REPO / "notebooks")


@pytest.fixture
def shell():
    """IPython without a kernel: a new one for each notebook would import torch again."""
    yield InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    InteractiveShell.clear_instance()
    plt.close("all")


WITH_EXERCISES = [path for path in NOTEBOOKS if stubs(nbformat.read(path, as_version=4))]


def test_every_exercise_stands_in_one_notebook():
    found = [exercise_in(cell) for path in NOTEBOOKS for cell in stubs(nbformat.read(path, as_version=4))]
    assert sorted(found) == sorted(exercises.names())


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_stubs_are_unattempted_and_help_is_at_hand(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, following in zip(code, code[1:], strict=False):
        if exercise_in(cell):
            assert "not attempted yet" in text_of(cell)
            assert "# ex.hint()" in following.source and "# ex.solution()" in following.source


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_with_the_solutions_every_check_passes_and_the_notebook_runs(path, brief, shell):
    notebook = nbformat.read(path, as_version=4)
    for cell in stubs(notebook):
        paste_solution(cell)
    for cell in about_the_exercises(notebook.cells):
        done = shell.run_cell(cell.source)
        assert done.success, cell.source
        if exercise_in(cell):
            assert done.result.passed, done.result
