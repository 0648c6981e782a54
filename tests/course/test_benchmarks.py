"""The benchmark compares like with like, and its exit status follows its bounds."""

import sys

import pytest
import torch
from support.paths import REPO

sys.path.insert(0, str(REPO / "benchmarks"))

import throughput  # noqa: E402

ROW = {"usual": 100.0, "ours": 160.0, "ratio": 1.6, "input": 0.01}


def test_both_ways_run(monkeypatch):
    monkeypatch.setattr(throughput.machine, "keep_freed_memory", lambda: None)  # not in this process
    monkeypatch.setattr(throughput, "BATCH", 8)
    assert next(throughput.usual(8, 2, images=100)) > 0
    whole, batch = next(throughput.ours(8, 2, images=100))
    assert whole > batch > 0


@pytest.mark.parametrize(
    "depth, row, device, precision, words",
    [
        (20, {}, "cpu", "float32", []),
        (20, {"ratio": 1.19}, "cpu", "float32", ["1.19 times the usual speed, not at least 1.2"]),
        (56, {"input": 0.021}, "cpu", "float32", ["the input takes 2.1% of a step"]),
        (20, {"ratio": 4, "input": 0.09}, "cuda", "bfloat16", ["4.00 times the usual speed", "input takes 9.0%"]),
    ],
)
def test_each_bound_that_does_not_hold_is_named(depth, row, device, precision, words):
    failed = throughput.failures(depth, ROW | row, device, precision)
    assert all(part in line and line.startswith(f"ResNet-{depth}: ") for part, line in zip(words, failed, strict=True))


@pytest.mark.parametrize("ratio, status", [(1.6, 0), (1.05, 1)])
def test_it_exits_by_its_bounds(monkeypatch, capsys, ratio, status):
    monkeypatch.setattr(throughput.machine, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(throughput.machine, "pick_precision", lambda device: "float32")
    monkeypatch.setattr(throughput, "measure", lambda *_: ROW | {"ratio": ratio})
    assert throughput.main() == status
    assert capsys.readouterr().out.count("times the usual speed") == 2 * status  # 20 and 56 layers
