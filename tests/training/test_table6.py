"""The paper's table 6 beside our runs: which runs count, the arithmetic, the text."""

from dataclasses import asdict, replace

import pytest
import torch

from resnet_lesson.training.recipes import RECIPES
from resnet_lesson.training.runs import COLUMNS, Run
from resnet_lesson.training.table6 import NETWORKS, recipe_of, table6

SHORT = RECIPES["short"]


def run(name, seed, test_error, recipe=SHORT, data="cifar10", options=(), **changes):
    row = dict.fromkeys(COLUMNS, 0.0) | {"epoch": 1, "iteration": 4, "train_error": test_error / 2}
    made = dict(
        network={"name": name, "seed": seed, "options": dict(options)},
        recipe=asdict(recipe),
        data={"name": data},
        seed=seed,
        precision="float32",
        threads=1,
        machine={"hardware": "Abacus"},
        status="finished",
        history=[row | {"test_error": 0.01}, row | {"test_error": test_error}],  # the best epoch is not the last one
    )
    return Run(**(made | changes))


def rows(table):
    """The cells by network."""
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.split("\n\n")[0].splitlines()]
    return {name: rest for name, *rest in lines[2:]}


def test_mean_and_deviation_are_of_the_last_epoch_over_the_seeds():
    ours = [run("resnet20", seed, error) for seed, error in enumerate((0.10, 0.12, 0.17))] + [run("plain20", 0, 0.2)]
    assert rows(table6(ours, "short", ["plain20", "resnet20", "resnet32"])) == {
        "plain-20": ["269,722", "—", "20.00", "1", "10.00", "—"],
        "ResNet-20": ["269,722", "8.75", "13.00 ± 3.61", "3", "6.50", "—"],  # 3.61² = (9 + 1 + 16) / 2
        "ResNet-32": ["464,154", "7.51", "—", "0", "—", "—"],
    }


@pytest.mark.parametrize(
    "other",
    [
        run("resnet20", 1, 0.2, status="interrupted"),
        run("resnet20", 1, 0.2, recipe=replace(SHORT, name="other")),
        run("resnet20", 1, 0.2, recipe=replace(SHORT, iterations=5)),
        run("resnet20", 1, 0.2, data="shapes10"),
        run("resnet20", 1, 0.2, options={"shortcut": "B"}),
        run("resnet32", 1, 0.2),
        run("resnet20", 0, 0.1),  # the same seed once more
    ],
)
def test_only_whole_runs_by_the_recipe_with_option_a_count_and_each_seed_once(other):
    good, explicit = run("resnet20", 0, 0.1), run("resnet20", 7, 0.3, options={"shortcut": "A"})
    cells = rows(table6([other, good, explicit], "short", ["resnet20"]))["ResNet-20"]
    assert cells[2:4] == ["20.00 ± 14.14", "2"]


def test_the_ensemble_is_the_error_of_the_mean_of_the_softmax(tmp_path):
    labels = torch.tensor([0, 0, 1, 2])
    one = [[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.7, 0.25, 0.05]]
    other = [[0.3, 0.7, 0.0], [0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.01, 0.25, 0.74]]
    # Together wrong about the third image only. The mean of the logits would answer 1 to the last one as well.
    ours = [run("resnet20", seed, 0.25, folder=tmp_path / str(seed)) for seed in (0, 1, 2)]
    for chances, its in zip((one, other), ours, strict=False):
        its.save_predictions(torch.tensor(chances).log(), labels)
    together = [rows(table6(ours[:k], "short", ["resnet20"]))["ResNet-20"][-1] for k in (1, 2, 3)]
    assert together == ["—", "25.00", "25.00 (of 2)"]  # the third was recorded without predictions


def test_110_layers_get_the_papers_warm_up_with_the_papers_recipe_only():
    assert recipe_of("resnet110", "paper") == RECIPES["paper110"]
    assert recipe_of("resnet110", "short") == SHORT and recipe_of("resnet56", "paper") == RECIPES["paper"]


def test_as_text_and_in_a_notebook_it_is_one_markdown_table_with_an_honest_note():
    table = table6([run("resnet110", 0, 0.1, precision="bfloat16")], "short", NETWORKS)
    assert str(table) == table._repr_markdown_() == repr(table)
    text, note = table.split("\n\n")
    assert len(text.splitlines()) == 2 + 9 and len({len(line) for line in text.splitlines()}) == 1
    assert rows(table)["ResNet-110"][1] == "6.61 ± 0.16"
    note = " ".join(note.split())
    assert "recipe short, 1 epochs of cifar10, Abacus, bfloat16" in note and "not the paper's recipe" in note
    paper = table6([run("resnet20", 0, 0.1, recipe=RECIPES["paper"])], "paper")
    assert "not the paper's recipe" not in " ".join(paper.split()) and rows(paper)["ResNet-20"][2] == "10.00"
