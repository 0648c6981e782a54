"""The command line, as a person types it."""

import os
import subprocess
import sys

import pytest
from support.commands import call

from resnet_lesson.commands import cli
from resnet_lesson.datasets.shapes10 import shapes10
from resnet_lesson.training.runs import load


@pytest.fixture
def small_data(monkeypatch):
    sets = shapes10(128, seed=0), shapes10(64, seed=1)
    monkeypatch.setitem(cli.DATASETS, "shapes10", lambda root: sets)


TINY = ["train", "--network", "resnet8", "--recipe", "demo", "--dataset", "shapes10", "--iterations", "3"]


def test_train_records_the_run_and_does_it_once(capsys, small_data, tmp_path):
    out = tmp_path / "run"
    status, printed, _ = call(capsys, *TINY, "--seed", "5", "--out", str(out))
    assert status == 0 and "training error" in printed and "after 3 iterations" in printed
    run = load(out)
    assert (run.status, run.seed, run.network["name"], run.network["seed"]) == ("finished", 5, "resnet8", 5)
    written = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert set(written) == {"run.json", "history.csv", "weights.safetensors", "predictions.safetensors"}
    assert call(capsys, *TINY, "--seed", "5", "--out", str(out))[0] == 0
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == written


def test_rows_every_step_recomputation_and_visdom_are_asked_for(capsys, small_data, tmp_path, monkeypatch):
    recomputed, drawn = [], []
    monkeypatch.setattr(cli, "recompute", recomputed.append)
    monkeypatch.setattr(cli, "VisdomWindows", lambda port: lambda run: drawn.append(run.history[-1]["iteration"]))
    words = ["--record-every", "1", "--recompute", "--visdom", "--out", str(tmp_path / "run")]
    assert call(capsys, *TINY, *words)[0] == 0
    assert load(tmp_path / "run").column("iteration") == drawn == [1, 2, 3]
    assert call(capsys, "runs", "--root", str(tmp_path))[1].splitlines()[1].split()[4] == "2"  # epochs, in three rows
    assert [network.spec["name"] for network in recomputed] == ["resnet8"]


@pytest.mark.parametrize("words, port", [(["--visdom"], 8097), (["--visdom", "9000"], 9000)])
def test_visdom_is_looked_for_at_the_port_that_is_given(capsys, small_data, tmp_path, monkeypatch, words, port):
    ports = []
    monkeypatch.setattr(cli, "VisdomWindows", lambda port: ports.append(port) or (lambda run: None))
    assert call(capsys, *TINY, *words, "--out", str(tmp_path / "run"))[0] == 0 and ports == [port]


def test_a_trial_does_not_take_the_folder_of_the_whole_run(capsys, small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(cli.machine, "DATA", tmp_path)
    assert call(capsys, *TINY)[0] == 0
    assert call(capsys, *TINY, "--shortcut", "B")[0] == 0
    names = [path.name for path in sorted((tmp_path / "runs").iterdir())]
    assert names == ["demo-resnet8-seed0-shapes10-3steps", "demo-resnet8-seed0-shapes10-3steps-shortcutB"]


def test_another_run_in_the_folder_is_refused_in_one_line(capsys, small_data, tmp_path):
    call(capsys, *TINY, "--out", str(tmp_path / "run"))
    status, _, error = call(capsys, *TINY, "--seed", "1", "--out", str(tmp_path / "run"))
    assert status == 2 and "another run" in error and "seed" in error and error.count("\n") == 1


def test_an_imagenet_network_gets_as_many_classes_as_the_data(capsys, small_data, tmp_path):
    words = [*TINY, "--out", str(tmp_path / "run")]
    words[words.index("resnet8")] = "resnet18"
    assert call(capsys, *words)[0] == 0
    assert load(tmp_path / "run").network["options"] == {"num_classes": 10}


@pytest.mark.parametrize(
    "words, near",
    [
        (["trian"], "'train'"),
        (["train", "--netwrk", "plain20"], "'--network'"),
        (["train", "--network", "plian20"], "'plain20'"),
        (["train", "--network", "plain20", "--recipe", "papr"], "'paper'"),
        (["train", "--network", "plain20", "--dataset", "cifar"], "'cifar10'"),
        (["cost", "resnet55"], "'resnet56'"),
    ],
)
def test_wrong_names_get_a_suggestion(capsys, words, near):
    status, _, error = call(capsys, *words)
    assert status == 2 and f"Did you mean {near}?" in error and "Traceback" not in error


@pytest.mark.parametrize(
    "command", [[], ["train"], ["data"], ["runs"], ["cost"], ["doctor"], ["reproduce"], ["visdom"]]
)
def test_help_says_what_each_command_does(capsys, command):
    status, printed, _ = call(capsys, *command, "--help")
    assert status == 0 and len(printed) > 100 and "None" not in printed


def test_runs_lists_a_run_with_its_final_errors(capsys, small_data, tmp_path):
    call(capsys, *TINY, "--out", str(tmp_path / "my-run"))
    status, printed, _ = call(capsys, "runs", "--root", str(tmp_path))
    assert status == 0 and "my-run" in printed and f"{load(tmp_path / 'my-run').final():.2%}" in printed
    figure = tmp_path / "curves.png"
    assert call(capsys, "runs", "my-run", "--root", str(tmp_path), "--figure", str(figure))[0] == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "Did you mean 'my-run'" in call(capsys, "runs", "my-ran", "--root", str(tmp_path))[2]
    status, printed, _ = call(capsys, "runs", "--root", str(tmp_path / "nothing"))
    assert status == 0 and "No recorded runs" in printed


def test_cost_prints_the_layers_and_the_total(capsys):
    status, printed, _ = call(capsys, "cost", "resnet20")
    assert status == 0 and "stages.2.2.residual.conv2" in printed
    assert printed.splitlines()[-1].split() == ["total", "269,722", "40,551,040"]


def test_it_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "resnet_lesson", "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stdout.startswith("usage: python -m resnet_lesson")


@pytest.mark.skipif(os.name != "posix", reason="needs a shell with pipes")
def test_who_reads_only_the_first_line_sees_no_traceback():
    command = f"'{sys.executable}' -m resnet_lesson runs | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=100)
    assert done.stdout.startswith("run ") and done.stderr == ""
