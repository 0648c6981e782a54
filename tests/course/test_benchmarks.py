"""The benchmarks: each runs in a tiny setting and prints its table, and its exit status follows its bounds."""

import subprocess
import sys

import pytest
import torch
from support.paths import REPO

from resnet_lesson import machine

FOLDER = REPO / "benchmarks"


class InThisProcess:
    """Takes the place of `Arm`: no process has to start."""

    def __init__(self, function, *arguments):
        self.generator = function(*arguments)

    def __next__(self):
        return next(self.generator)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.generator.close()


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a benchmark, to run in this process, on the CPU, without settings that would outlast it."""
    monkeypatch.syspath_prepend(FOLDER)

    def load(name):
        module = __import__(name)
        monkeypatch.setattr(module, "Arm", InThisProcess, raising=False)
        return module

    monkeypatch.setattr(machine, "keep_freed_memory", lambda: True)
    monkeypatch.setattr(machine, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(machine, "pick_precision", lambda device: "float32")
    return load


def rest(seconds):
    """Takes the place of `time.sleep`."""


# --- arms ------------------------------------------------------------------------------------------------------------

COUNTER = """
import os, time
def count(first):
    yield os.getpid()
    yield first
    yield first + 1
    raise ValueError("nothing after that")
def killed():
    yield 1
    os._exit(3)
def grows():
    from arms import peak_memory
    before = peak_memory()
    block = bytearray(200_000_000)
    del block
    yield peak_memory() - before
"""


@pytest.fixture
def counter(monkeypatch, tmp_path):
    (tmp_path / "counter.py").write_text(COUNTER)
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "counter", raising=False)
    return __import__("counter")


def test_an_arm_works_in_its_own_process_and_ends_with_its_block(counter):
    from arms import Arm

    with Arm(counter.count, 7) as arm, Arm(counter.count, 70) as other:
        assert next(arm) == arm.process.pid != next(other)
        assert [next(arm), next(other), next(arm), next(other)] == [7, 70, 8, 71]
        with pytest.raises(ValueError, match="nothing after that"):
            next(arm)
    assert not arm.process.is_alive() and not other.process.is_alive()


def test_an_arm_that_is_ended_from_outside_says_so(counter):
    from arms import Arm

    with Arm(counter.killed) as arm:
        assert next(arm) == 1
        with pytest.raises(RuntimeError, match=r"killed\(\) was stopped from outside \(exit code 3\)"):
            next(arm)


def test_the_peak_counts_memory_that_is_free_again(counter):
    from arms import Arm

    with Arm(counter.grows) as arm:
        assert 0.19 < next(arm) < 0.25


# --- throughput ------------------------------------------------------------------------------------------------------

ROW = {"usual": 100.0, "ours": 160.0, "ratio": 1.6, "compute only": 162.0, "input": 0.01}


def test_throughput_runs_and_its_table_holds_what_it_measured(benchmark, monkeypatch, capsys):
    throughput = benchmark("throughput")
    monkeypatch.setattr(throughput.time, "sleep", rest)
    rows = []
    measure = throughput.measure
    monkeypatch.setattr(throughput, "measure", lambda *a: rows.append(measure(*a)) or rows[-1])
    assert throughput.main(["--quick"]) == 0
    (row,) = rows
    assert row["ratio"] == pytest.approx(row["ours"] / row["usual"]) and 0 < row["input"] < 1
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3 and "float32, batch 8" in printed[0]
    assert printed[2].split()[:4] == [
        "ResNet-8",
        *(f"{row[k]:.{d}f}" for k, d in (("usual", 0), ("ours", 0), ("ratio", 2))),
    ]


def test_both_ways_train_on_the_same_images(benchmark, tmp_path):
    throughput = benchmark("throughput")
    throughput.write_files(tmp_path, 50)
    files = throughput.Files(tmp_path)
    from resnet_lesson import shapes10

    data = shapes10(50, size=32)
    by_place = {image.tobytes(): label for image, label in zip(files.data, files.targets, strict=True)}
    assert len(files) == 50 and tuple(files.classes) == data.classes
    assert all(
        by_place[image.numpy().tobytes()] == label for image, label in zip(data.images, data.labels, strict=True)
    )


@pytest.mark.parametrize(
    "depth, row, device, precision, words",
    [
        (20, {}, "cpu", "float32", []),
        (20, {"ratio": 1.19}, "cpu", "float32", ["1.19 times the usual speed, not 1.2 times"]),
        (20, {}, "cpu", "bfloat16", ["1.60 times the usual speed, not 3.5 times"]),
        (56, {"ratio": 3.2}, "cpu", "bfloat16", []),
        (56, {"input": 0.021}, "cpu", "float32", ["the input takes 2.1% of a step"]),
        (20, {"ratio": 6.7, "input": 0.054}, "cuda", "bfloat16", []),
        (20, {"ratio": 4, "input": 0.09}, "cuda", "bfloat16", ["4.00 times the usual speed", "input takes 9.0%"]),
        (110, {}, "cuda", "bfloat16", []),
    ],
)
def test_throughput_names_each_bound_that_does_not_hold(benchmark, depth, row, device, precision, words):
    failed = benchmark("throughput").failures(depth, ROW | row, device, precision)
    assert len(failed) == len(words)
    assert all(part in line and line.startswith(f"ResNet-{depth}: ") for part, line in zip(words, failed, strict=True))


@pytest.mark.parametrize("ratio, status", [(1.6, 0), (1.05, 1)])
def test_throughput_exits_by_its_bounds(benchmark, monkeypatch, capsys, ratio, status):
    throughput = benchmark("throughput")
    monkeypatch.setattr(throughput, "measure", lambda *_: ROW | {"ratio": ratio})
    monkeypatch.setattr(throughput, "write_files", lambda *_: None)
    assert throughput.main([]) == status
    assert capsys.readouterr().out.count("times the usual speed") == 2 * status  # 20 and 56 layers


def test_only_our_way_keeps_freed_memory(benchmark, monkeypatch, tmp_path):
    throughput = benchmark("throughput")
    calls = []
    monkeypatch.setattr(machine, "keep_freed_memory", lambda: calls.append(1))
    throughput.write_files(tmp_path, 50)
    for way, called in ((throughput.usual, []), (throughput.ours, [1])):
        generator = way(8, tmp_path, throughput.QUICK)
        next(generator)
        generator.close()
        assert calls == called


# --- depth -----------------------------------------------------------------------------------------------------------


def test_depth_runs_and_prints_every_network(benchmark, capsys):
    assert benchmark("depth").main(["--quick"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[3:6]] == ["ResNet-8", "ResNet-14", "ResNet-20"]
    assert "furthest from a line" in printed and "1202 layers at batch 128" in printed


def test_depth_recomputes_where_it_says_so(benchmark, monkeypatch):
    depth = benchmark("depth")
    recomputed = []
    monkeypatch.setattr(depth, "recompute", lambda network: recomputed.append(network.spec["name"]))
    monkeypatch.setattr(depth, "peak_memory", lambda: 5.0)
    assert depth.measure(8, 2, 1, False)[1] == 5.0 and recomputed == []
    assert depth.measure(8, 2, 1, True)[1] == 5.0 and recomputed == ["resnet8"]


@pytest.mark.parametrize(
    "values, off",
    [
        ([3 + 2 * d for d in (20, 56, 110, 1202)], 0.0),
        ([20, 56, 1.25 * 110, 1202], 0.09),  # the line goes between: less than a quarter from each
        ([20**1.5, 56**1.5, 110**1.5, 1202**1.5], 0.3),
    ],
)
def test_the_distance_from_a_line_is_a_proportion(benchmark, values, off):
    found = benchmark("depth").off_the_line((20, 56, 110, 1202), values)
    assert found == pytest.approx(off, abs=1e-9) if off == 0 else found > off
    assert found == pytest.approx(
        benchmark("depth").off_the_line((20, 56, 110, 1202), [1000 * v for v in values]), abs=1e-9
    )


def test_where_memory_is_not_measured_it_is_left_out(benchmark):
    depth = benchmark("depth")
    off = depth.off_the_line((20, 56), (1.0, float("nan")))
    assert off != off and depth.failures({"Memory": off}, float("nan")) == []


@pytest.mark.parametrize("curved, largest, status", [(1.0, 2.0, 0), (1.3, 2.0, 1), (1.0, 8.1, 1)])
def test_depth_exits_by_its_bounds(benchmark, monkeypatch, capsys, curved, largest, status):
    depth = benchmark("depth")

    def measure(layers, batch_size, steps, recomputing):
        return (layers**curved, largest) if batch_size == 128 else (layers**curved, layers + 10.0)

    monkeypatch.setattr(depth, "measure", measure)
    assert depth.main([]) == status
    assert ("not at most" in capsys.readouterr().out) == bool(status)


# --- surface ---------------------------------------------------------------------------------------------------------


def test_surface_runs_and_both_ways_agree(benchmark, capsys):
    surface = benchmark("surface")
    assert surface.main(["--quick"]) == 0
    assert "losses differ by at most 0.00%; the whole surface took" in capsys.readouterr().out
    (_, mine), (_, theirs) = next(surface.ours(True)), next(surface.usual(True))
    assert mine.shape == theirs.shape == (5, 5) and torch.allclose(mine, theirs, rtol=1e-3)
    assert mine.std() > 0


@pytest.mark.parametrize(
    "values, words",
    [
        ((1.5, 0.001, 150, "float32"), []),
        ((1.02, 0.001, 150, "float32"), ["1.02 times as fast"]),
        ((1.5, 0.02, 150, "float32"), ["up to 2.0%, not at most 1%"]),
        ((1.5, 0.02, 59, "bfloat16"), []),
        ((1.5, 0.2, 61, "bfloat16"), ["not at most 10%", "took 61 s"]),
    ],
)
def test_surface_names_each_bound_that_does_not_hold(benchmark, values, words):
    failed = benchmark("surface").failures(*values)
    assert len(failed) == len(words) and all(part in line for part, line in zip(words, failed, strict=True))


@pytest.mark.parametrize(
    "usual, ours, off, precision, words, status",
    [
        (3.0, 2.0, 0.005, "float32", "1.50 times as fast", 0),
        (2.0, 3.0, 0.005, "float32", "0.67 times as fast", 1),
        (3.0, 2.0, 0.020, "float32", "losses differ by at most 2.00%; the whole surface took 70 s", 1),
        (3.0, 2.0, 0.020, "bfloat16", "The whole surface took 70 s, not at most 60 s", 1),
    ],
)
def test_surface_prints_what_its_arms_say_and_exits_by_its_bounds(
    benchmark, monkeypatch, capsys, usual, ours, off, precision, words, status
):
    surface = benchmark("surface")
    monkeypatch.setattr(machine, "pick_precision", lambda device: precision)
    loss = torch.full((5, 5), 2.0)
    moved = loss.clone()
    moved[3, 4] *= 1 - off  # at one point only
    rounds = {
        surface.usual: [
            (90.0, loss),
            (1.0, loss),
            (usual, loss),
            (60.0, loss),
        ],  # a warm-up, and three around the median
        surface.ours: [(90.0, moved), (60.0, moved), (1.0, moved), (ours, moved), (70.0, loss)],  # and the whole one
    }

    class Fixed(InThisProcess):
        def __init__(self, function, quick):
            self.generator = (one for one in rounds[function])

    monkeypatch.setattr(surface, "Arm", Fixed)
    assert surface.main([]) == status
    assert words in capsys.readouterr().out


# --- make bench -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [None, "throughput", "depth", "surface"])
def test_make_bench_runs_all_to_their_end_and_fails_if_one_failed(tmp_path, failing):
    calls = tmp_path / "calls"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$1" >> {calls}\n[ "$1" != benchmarks/{failing}.py ]\n')
    python.chmod(0o755)
    makefile = FOLDER.parent / "Makefile"
    done = subprocess.run(
        ["make", "-f", makefile, "-o", "setup", "bench", f"PY={python}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert calls.read_text().split() == [f"benchmarks/{name}.py" for name in ("throughput", "depth", "surface")]
    assert (done.returncode != 0) == (failing is not None), done.stderr
