"""The benchmarks compare like with like, measure what the cells do, and say what does not fit or hold."""

import full_scale
import pytest
import throughput
import torch

ROW = {"usual": 100.0, "ours": 160.0, "ratio": 1.6, "input": 0.01}


def test_both_ways_run(monkeypatch):
    monkeypatch.setattr(throughput.machine, "keep_freed_memory", lambda: None)  # not in this process
    monkeypatch.setattr(throughput, "BATCH", 8)
    assert next(throughput.usual(8, 2, images=100)) > 0
    whole, batch = next(throughput.ours(8, 2, images=100))
    assert whole > batch > 0


@pytest.mark.parametrize(
    "row, words",
    [
        ({}, []),
        ({"ratio": 1.19}, ["ResNet-20: ours has 1.19 times the usual speed, not at least 1.2 times."]),
        ({"input": 0.021}, [f"ResNet-{depth}: the input takes 2.1% of a step, not at most 2%." for depth in (20, 56)]),
    ],
)
def test_it_names_each_bound_that_does_not_hold_and_exits_by_them(monkeypatch, capsys, row, words):
    monkeypatch.setattr(throughput.machine, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(throughput.machine, "pick_precision", lambda device: "float32")
    monkeypatch.setattr(throughput, "measure", lambda *_: ROW | row)
    assert throughput.main() == bool(words)
    assert capsys.readouterr().out.splitlines()[4:] == words  # after a line for each of two networks


def test_full_scale_does_the_work_of_both_cells_and_prints_seconds_and_memory(monkeypatch, capsys, tmp_path):
    work = []
    monkeypatch.setattr(full_scale, "cifar10", lambda: ("train", "test"))
    monkeypatch.setattr(full_scale, "train", lambda network, *_: work.append(network.spec["name"]))
    monkeypatch.setattr(full_scale, "measure", lambda run, *_, folder, **size: work.append((run.name, size)))
    monkeypatch.setattr(full_scale.machine, "pick_device", lambda: torch.device("cuda"))
    for name, value in (
        ("get_device_name", "a card"),
        ("reset_peak_memory_stats", None),
        ("max_memory_allocated", 2**31),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    assert full_scale.main() == 0
    size = {"images": 2048, "points": 51}
    assert work == ["plain20", "plain56", ("paper-plain56-seed0", size), ("paper-resnet56-seed0", size)]
    card, first, *_ = capsys.readouterr().out.splitlines()
    assert (card, first) == ("a card", "01: plain20, 8,000 steps: 0 s, 2.0 GiB")


def test_full_scale_without_a_gpu_says_so(monkeypatch, capsys):
    monkeypatch.setattr(full_scale.machine, "pick_device", lambda: torch.device("cpu"))
    assert full_scale.main() == 1 and "needs a GPU" in capsys.readouterr().out
