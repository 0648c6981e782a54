"""A server in place of the mirrors, for whoever asks; for all, little patience and nothing from outside."""

import pytest
from support import web

from resnet_lesson.datasets import download


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    for name, value in {"SLOW": 100_000, "PATIENCE": 0.3, "TIMEOUT": (2, 0.5)}.items():
        monkeypatch.setattr(download, name, value)


@pytest.fixture
def server():
    with web.serving() as server:
        yield server


@pytest.fixture
def refusing():
    with web.refusing() as url:
        yield url
