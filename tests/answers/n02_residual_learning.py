"""Right and wrong answers to the exercises of notebook 02: see tests/exercises/test_exercises.py."""

import torch
import torch.nn.functional as F

from resnet_lesson.inside import measures
from resnet_lesson.models import blocks


def shortcut_first(self, x):
    """torchvision's order: the way around is kept, F's own tensor is added to in place."""
    identity = self.shortcut(x)
    out = self.residual(x)
    out += identity
    return self.relu(out)


def without_relu(self, inputs):
    """torch.add and clamp, another name for x."""
    return torch.add(self.shortcut(inputs), self.residual(inputs)).clamp_(min=0)


def step_by_step(self, x):
    identity = x
    out = self.residual(x)
    out = out + self.shortcut(identity)
    return torch.where(out > 0, out, torch.zeros_like(out))


def shortcut_without_gradient(self, x):
    with torch.no_grad():
        identity = self.shortcut(x)
    return self.relu(self.residual(x) + identity)


class WholeClass(torch.nn.Module):
    def __init__(self):
        super().__init__()

    def forward(self, x):
        return self.relu(self.residual(x) + self.shortcut(x))


def adds_into_x(self, x):
    out = self.shortcut(x)
    out += self.residual(x)
    return self.relu(out)


def rectifies_x(self, x):
    return self.relu(self.residual(x) + self.shortcut(F.relu(x, inplace=True)))


def overwrites_x(self, x):
    x = self.residual(x)
    x = x + self.shortcut(x)
    return F.relu(x)


def asks_first(self, x):
    """Calls F for its shape."""
    if self.residual(x).shape != x.shape:
        x = x * 1
    return self.relu(self.residual(x) + self.shortcut(x))


def remembers(self, x):
    if not hasattr(self, "identity"):
        self.identity = self.shortcut(x)
    return self.relu(self.identity + self.residual(x))


def one_hot_rows(f, x, dtype=None):
    """Directions of the output as a matrix, filled in place, a fresh forward pass for each row."""
    outputs = len(f(x))
    made = torch.zeros(outputs, len(x), dtype=dtype or x.dtype)
    for i, direction in enumerate(torch.eye(outputs, dtype=x.dtype)):
        leaf = x.detach().clone().requires_grad_(True)
        made[i] = torch.autograd.grad(f(leaf), leaf, grad_outputs=direction)[0]
    return made


def batched(f, x):
    leaf = x.clone().detach().requires_grad_()
    y = f(leaf)
    return torch.autograd.grad(y, leaf, torch.eye(len(y)), is_grads_batched=True)[0]


def library(f, x):
    return torch.autograd.functional.jacobian(f, x)


def plain_backward(f, x):
    rows = []
    for i in range(len(f(x))):
        leaf = x.detach().clone().requires_grad_()
        f(leaf)[i].backward()
        rows.append(leaf.grad)
    return torch.stack(rows)


def piled_up(f, x):
    leaf = x.detach().clone().requires_grad_()
    rows = []
    for i in range(len(f(x))):
        f(leaf)[i].backward(inputs=[leaf])
        rows.append(leaf.grad.clone())
    return torch.stack(rows)


def differences(f, x, h=1e-2):
    with torch.no_grad():
        return torch.stack([(f(x + h * e) - f(x)) / h for e in torch.eye(len(x))], dim=1)


def one_tensor(f, x):
    leaf = x.detach().clone().requires_grad_()
    rows = []
    for i in range(len(f(x))):
        f(leaf)[i].backward(inputs=[leaf])
        rows.append(leaf.grad)
    return torch.stack(rows)


def columns(f, x):
    return torch.stack([torch.func.jvp(f, (x,), (e,))[1] for e in torch.eye(len(x))], dim=1)


def marks_x(f, x):
    x.requires_grad_()
    y = f(x)
    return torch.stack([torch.autograd.grad(one, x, retain_graph=True)[0] for one in y])


RIGHT = {
    "residual_forward": {
        "the course's": blocks.BasicBlock.forward,
        "torchvision's order, in place on F's tensor": shortcut_first,
        "torch.add and clamp": without_relu,
        "a lambda": lambda self, x: self.relu(self.shortcut(x) + self.residual(x)),
        "step by step": step_by_step,
    },
    "jacobian": {
        "the course's": measures.jacobian,
        "one-hot directions": one_hot_rows,
        "batched": batched,
        "torch.autograd.functional": library,
        "column by column": columns,
    },
}

WRONG = {
    "residual_forward": {
        "x overwritten": (overwrites_x, "the shortcut does not start at x"),
        "in place": (adds_into_x, "the input is changed in place"),
        "a ReLU in place": (rectifies_x, ["a ReLU on x before the addition", "the input is changed in place"]),
        "F computed again": (asks_first, "F runs more than once"),
        "no_grad around the shortcut": (shortcut_without_gradient, "the gradient is cut"),
        "the mean of a stack": (
            lambda self, x: torch.stack([self.shortcut(x), self.residual(x)]).mean(0).relu(),
            "",
        ),
        "an identity kept": (remembers, ""),
        "the root of the absolute value": (lambda self, x: (self.residual(x) + self.shortcut(x)).abs().sqrt(), ""),
        "a class": (WholeClass, "a class instead of the function"),
    },
    "jacobian": {
        "gradient of the sum": (
            lambda f, x: torch.autograd.grad(f(x := x.detach().requires_grad_()).sum(), x)[0],
            "summed over the outputs",
        ),
        "rows pile up": (piled_up, "rows pile up"),
        "finite differences": (differences, "finite differences instead of autograd"),
        "rows not cloned": (one_tensor, "all rows are the same"),
        "each row that of the sum": (
            lambda f, x: torch.autograd.grad(f(x := x.detach().requires_grad_()).sum(), x)[0].repeat(len(f(x)), 1),
            "all rows are the same",
        ),
        "x marked": (marks_x, "the caller's x is changed"),
        "backward on everything": (plain_backward, "the parameters' .grad is changed"),
        "32-bit directions": (lambda f, x: one_hot_rows(f, x, torch.float32), "the precision is lost"),
        "identity added": (
            lambda f, x: measures.jacobian(f, x) + (torch.eye(len(x)) if len(x) == len(f(x)) == 4 else 0),
            "",
        ),
    },
}
