"""The exercise `find_the_broken_line` of notebook 05: a ResNet-56 that raises no error, but has one wrong line."""

import inspect
from numbers import Integral

import torch
from matplotlib.figure import Figure
from torch import nn

from ..figures.studies import provenance
from ..figures.style import finish, noted, panels, styled, styles
from ..models import broken
from ..training.study import recorded_study
from .kit.calls import numbers, part, run
from .kit.exercise import Exercise, Wrong
from .kit.report import Text

LINES = "\n\n".join(inspect.getsource(part) for part in (broken.Block, broken.ResNet)).splitlines()
WRONG = "y = self.bn2(self.conv2(y) + self.shortcut(x))"
MENDED = "y = self.bn2(self.conv2(y)) + self.shortcut(x)"
INNOCENT = {  # why the lines that look suspicious are right
    "self.stride, self.zeros": "Half of the new channels go before the others and half after, as in notebook 03.",
    "x = x[:, :": "With stride 2 it takes every second row and column, with stride 1 all of them. That is option A.",
    "nn.functional.pad": "It has two numbers each for width, height and channels: only channels of zeros are added.",
    "self.conv1(x)))": "F begins with a convolution, BN and a ReLU, as it should.",
    "return torch.relu(y)": "The block ends in a ReLU, and nothing comes after that.",
    "stride=2 if": "Stage 1 keeps the size, and the first blocks of stages 2 and 3 halve it, as they should.",
    "kaiming_normal_": "That is He's initialisation, the subject of section 9.",
    ".mean((2, 3))": "The mean over height and width is the global average pooling.",
}


def _number(code: str) -> int:
    return next(i for i, line in enumerate(LINES, start=1) if code in line)


def _solution() -> str:
    return f"""# A misplaced parenthesis puts the addition inside BN. The block must add x to the output of BN, but here
# BN divides the sum, and x with it, so from block to block less is left of the earlier x. Notebook 07 turns that
# share like a knob. No layer is missing or wrong, which is why shapes and parameters cannot show the mistake.
# (The authors of the paper later tried this block on purpose: with it ResNet-110 ended at a test error of 8.17% on
# CIFAR-10, and with their own at 6.61%. Identity Mappings, arXiv 1603.05027, table 2.)
ex.check(line={_number(WRONG)}, mended="{MENDED}")"""


find_the_broken_line = Exercise(
    "find_the_broken_line",
    "Find the one wrong line of a ResNet-56, and write it as it should be.",
    solution=_solution,
    hints=(
        "The shapes and the counts rule out a forgotten layer, a wrong stride and a wrong width. What is left?",
        "The network learns better than plain-56 and worse than ResNet-56, as if its shortcuts did only part of their "
        "work. So read the lines in which a block computes its output.",
        "Write y = ReLU(F(x) + shortcut(x)) next to the three lines of Block.forward. F ends in BN. What exactly does "
        "BN get here?",
    ),
    read="notebook 05, section 7; notebook 03, sections 1 and 2; paper, figure 2",
    answer={"line": _number(WRONG), "mended": MENDED},
)


def broken_resnet() -> Text:
    """The source with the wrong line, numbered."""
    return Text("\n".join(f"{i:2}  {line}".rstrip() for i, line in enumerate(LINES, start=1)), language="python")


@styled
def broken_curves() -> Figure:
    """The training error of that network by epoch, with those of plain-56 and ResNet-56; one line per seed."""
    study, rates = recorded_study("broken-line"), recorded_study("rates-shapes10")
    figure, (ax,) = panels([""], 6.4, 3.6, beside=2.2)
    look: dict = {"one wrong line": (study.trials, {"color": "black", "marker": "s"})}
    for name, words in (("plain56", "plain-56"), ("resnet56", "ResNet-56")):
        look[words] = rates.where(network=name, lr=0.03), styles([name])[name]
    for words, (trials, style) in look.items():
        for k, trial in enumerate(trials):
            ax.plot(range(1, 5), trial["train_errors"], label=words if k == 0 else None, **{**style, "linewidth": 1.5})
    ax.set(xlabel="epoch", xticks=range(1, 5), ylim=(0, 1))
    return noted(finish(figure, "wrong answers, training images"), provenance(study))


def _network(answer: object) -> nn.Module:
    """The network, eight layers deep, with the answer's line in place of the wrong one."""
    _line(answer)
    lines, number = list(LINES), _number(WRONG)
    indent = lines[number - 1][: -len(WRONG)]
    lines[number - 1] = indent + str(part(answer, "mended")).strip()
    names: dict = {"torch": torch, "nn": nn}
    exec(compile("\n".join(lines), "<the mended network>", "exec"), names)
    torch.default_generator.manual_seed(0)
    return names["ResNet"](1)


@find_the_broken_line.case("the number of the line", "that of the one line that does not compute what it should")
def _line(answer):
    number = part(answer, "line")
    if not isinstance(number, Integral) or not 1 <= number <= len(LINES):
        raise Wrong("not a line number", repr(number), f"Give its number in the listing, 1 to {len(LINES)}.")
    if number != _number(WRONG):
        code = LINES[number - 1]
        why = next((why for part, why in INNOCENT.items() if part in code), "It is the same in the course's networks.")
        raise Wrong("that line is right", f"line {number}: `{code.strip() or 'blank'}`", why)


@find_the_broken_line.case(
    "the logits of the mended network, one block per stage, after a batch", "those of a ResNet-8"
)
def _evaluated(answer):
    network = _network(answer)
    run(network, numbers(4, 3, 8, 8))
    return run(network.eval(), numbers(2, 3, 8, 8, seed=1))


@find_the_broken_line.case("the gradient of its first convolution", "that of a ResNet-8, along all paths")
def _gradient(answer):
    network = _network(answer)
    run(network, numbers(4, 3, 8, 8)).square().sum().backward()
    return next(network.parameters()).grad


mistake = find_the_broken_line.mistake
# fmt: off
mistake("BN still normalises the sum", {"mended": WRONG},
        "x must not pass through BN: close BN's parenthesis before you add the shortcut.")
mistake("BN is left out", {"mended": "y = self.conv2(y) + self.shortcut(x)"},
        "F ends in BN: conv - BN - ReLU - conv - BN. Only the addition does not belong inside it.")
mistake("the shortcut is normalised as well", {"mended": "y = self.bn2(self.conv2(y)) + self.bn2(self.shortcut(x))"},
        "The shortcut passes x on as it is: only F ends in BN.")
mistake("a ReLU at the end of F", {"mended": "y = torch.relu(self.bn2(self.conv2(y))) + self.shortcut(x)"},
        "F ends in BN, so that it can subtract. The ReLU comes after the addition, in the next line.")
mistake("forgotten shortcut", {"mended": "y = self.bn2(self.conv2(y))"},
        "That is a plain block. BN is in the right place now; add the shortcut outside it.")
mistake("x itself is added where the shape changes", {"mended": "y = self.bn2(self.conv2(y)) + x"},
        "In the first block of a stage, x does not fit: self.shortcut(x) brings it to the new shape.")
mistake("the first BN again", {"mended": "y = self.bn1(self.conv2(y)) + self.shortcut(x)"},
        "Each convolution has its own BN, and the one for conv2 is bn2.")
mistake("the shortcut does not start at x", {"mended": "y = self.bn2(self.conv2(y)) + self.shortcut(y)"},
        "The shortcut starts at the block's input, x.")
mistake("the gradient of the shortcut is cut", {"mended": "y = self.bn2(self.conv2(y)) + self.shortcut(x).detach()"},
        "The values of x arrive, but their gradient does not: leave out detach().")
