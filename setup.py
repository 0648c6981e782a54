"""Which packages there are; everything else about them is in pyproject.toml."""

from setuptools import find_packages, setup

# The recorded runs are a package without code, so that a notebook has them after `pip install git+...`, too.
setup(packages=[*find_packages(include=["resnet_lesson", "resnet_lesson.*"]), "resnet_lesson_runs"])
