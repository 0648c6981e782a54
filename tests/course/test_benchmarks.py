"""The benchmark compares like with like, and its exit status follows its bounds."""

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
