import argparse

from . import datasets
from .networks import build
from .training import train


def main():
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers(dest="verb")
    t = sub.add_parser("train")
    t.add_argument("--network")
    t.add_argument("--recipe")
    t.add_argument("--dataset", default="cifar10")
    t.add_argument("--seed", type=int, default=0)
    t.add_argument("--out")
    a = parser.parse_args()
    train_set, test_set = datasets.cifar10()
    run = train(build(a.network, seed=a.seed), train_set, test_set, a.recipe, seed=a.seed, out=a.out)
    print(run.status, run.history[-1:])
