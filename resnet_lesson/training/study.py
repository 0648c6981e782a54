"""Recorded studies: one measurement, made at every point of a grid and with several seeds.

A study is one file, study.json, in a folder of its own beside the recorded runs.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch
from tqdm.auto import tqdm

from .. import machine
from ..errors import LessonError, unknown
from ..files import replace_file
from .runs import claimed, readable, refuse_shipped, shipped, writing


@dataclass(frozen=True)
class Plan:
    """What a study will do.

    question: what it is to answer, in one line. shared: what is the same in all trials (data, recipe, ...), for the
    record. settings: those of each trial, in the order in which the trials run. trial: called with its settings by
    name; returns its results by name. All of these must fit into JSON.
    """

    name: str
    question: str
    shared: dict
    settings: Sequence[dict]
    trial: Callable[..., dict]


@dataclass(frozen=True)
class Study:
    """What was recorded: for each trial, a dict of its settings, its results, `seconds`, and its `session`.

    sessions: machine, threads, commit and command of each process that took part; a trial's `session` is an index into
    this list. folder: where the study is recorded.
    """

    name: str
    question: str
    shared: dict
    sessions: list[dict]
    trials: list[dict]
    folder: Path

    def where(self, **settings) -> list[dict]:
        """The trials with these settings. Raises LessonError if there are none."""
        found = [trial for trial in self.trials if all(trial.get(key) == value for key, value in settings.items())]
        if not found:
            raise LessonError(f"The study {self.name} has no trial with {settings}.")
        return found

    def values(self, result: str, **settings) -> list:
        """One result of each trial with these settings, such as the errors of all seeds."""
        return [trial[result] for trial in self.where(**settings)]

    @property
    def hardware(self) -> str:
        return ", ".join(dict.fromkeys(session["machine"]["hardware"] for session in self.sessions))


def grid(**values: Iterable) -> list[dict]:
    """All combinations of the values; the last name varies fastest."""
    return [dict(zip(values, one, strict=True)) for one in product(*values.values())]


def record(plan: Plan, folder: Path) -> Study:
    """Run the trials that are missing in `folder`, and record each as soon as it is done; return the study.

    Raises LessonError if the folder holds another study, is among the course's own records, cannot be written to, or
    while another process records there.
    """
    refuse_shipped(folder)
    here = {
        "machine": machine.describe(machine.pick_device()),
        "threads": torch.get_num_threads(),
        "commit": machine.commit(),
        "command": machine.command(),
    }
    with claimed(folder):
        study = Study(plan.name, plan.question, json.loads(json.dumps(plan.shared)), [], [], folder)
        if (folder / "study.json").exists():
            begun = load(folder)
            if begun.name != study.name:
                raise LessonError(f"{folder} contains a different study, {begun.name}: choose another folder (--out).")
            if differ := [key for key, value in study.shared.items() if begun.shared.get(key) != value]:
                what = " and a different ".join(differ)
                raise LessonError(f"{folder} was recorded with a different {what}: choose another folder (--out).")
            study = replace(begun, question=plan.question)  # which may have become wider since
        _save(study)
        for settings in tqdm(plan.settings, desc=folder.name):
            if not any(settings.items() <= trial.items() for trial in study.trials):
                began = time.monotonic()
                made = plan.trial(**settings)
                if here not in study.sessions:
                    study.sessions.append(here)
                took = {"seconds": round(time.monotonic() - began, 1), "session": study.sessions.index(here)}
                study.trials.append({**settings, **made, **took})
                _save(study)
    return load(folder)


def _save(study: Study) -> None:
    head = {key: getattr(study, key) for key in ("name", "question", "shared", "sessions")}
    trials = ",\n".join(json.dumps(one) for one in study.trials)  # a line for each
    text = f'{json.dumps(head, indent=1)[:-2]},\n "trials": [\n{trials}\n]}}\n'
    with writing(study.folder):
        replace_file(study.folder / "study.json", lambda file: file.write(text.encode()))


def load(folder: Path) -> Study:
    """The study recorded in `folder`. Raises LessonError if there is none, or if it cannot be read."""
    path = folder / "study.json"
    try:
        return Study(**json.loads(path.read_text(encoding="utf-8")), folder=folder)
    except FileNotFoundError as error:
        there = sorted(path.parent.name for path in folder.parent.glob("*/study.json"))
        raise LessonError(unknown("recorded study", folder.name, there)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LessonError(f"{path} cannot be read ({error}): delete it and record it again.") from error


def recorded_study(name: str) -> Study:
    """The study of that name that comes with the course."""
    return load(shipped() / name)


def list_studies(root: Path) -> list[Study]:
    """All studies recorded under `root`, by name, as `list_runs` lists runs."""
    return readable(load, root.glob("*/study.json"))
