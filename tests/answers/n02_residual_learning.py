"""Right and wrong answers to the exercises of notebook 02: see tests/test_exercises.py."""

import torch
import torch.nn.functional as F

from resnet_lesson.inside import measures
from resnet_lesson.models import blocks


def one_line(self, x):
    return F.relu(self.residual(x) + self.shortcut(x))


def shortcut_first(self, x):
    """torchvision's order: the way around is kept, F's own tensor is added to in place."""
    identity = self.shortcut(x)
    out = self.residual(x)
    out += identity
    return self.relu(out)


def without_relu(self, inputs):
    """torch.add and clamp, another name for x."""
    return torch.add(self.shortcut(inputs), self.residual(inputs)).clamp_(min=0)


def keeps_a_part(self, x):
    self.identity = self.shortcut(x)
    return self.relu(self.residual(x).add_(self.identity))


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


def twice(self, x):
    """Asks for the shape first."""
    if self.residual(x).shape != x.shape:
        x = x * 1
    return self.relu(self.residual(x) + self.shortcut(x))


def misspelled(self, x):
    return self.relu(self.residual(x) + self.skip(x))


def unmarked(f, x):
    return torch.stack([torch.autograd.grad(one, x, retain_graph=True)[0] for one in f(x)])


def row_by_row(f, x):
    x = x.detach().clone().requires_grad_()
    y = f(x)
    return torch.stack([torch.autograd.grad(y[i], x, retain_graph=True)[0] for i in range(len(y))])


def one_hot_rows(f, x):
    """Directions of the output as a matrix, filled in place, a fresh forward pass for each row."""
    outputs = len(f(x))
    made = torch.zeros(outputs, len(x))
    for i, direction in enumerate(torch.eye(outputs)):
        leaf = x.detach().clone().requires_grad_(True)
        made[i] = torch.autograd.grad(f(leaf), leaf, grad_outputs=direction)[0]
    return made


def batched(f, x):
    leaf = x.clone().detach().requires_grad_()
    y = f(leaf)
    return torch.autograd.grad(y, leaf, torch.eye(len(y)), is_grads_batched=True)[0]


def backward_on_x_only(f, x):
    rows = []
    for i in range(len(f(x))):
        leaf = x.detach().clone().requires_grad_()
        f(leaf)[i].backward(inputs=[leaf])
        rows.append(leaf.grad)
    return torch.stack(rows)


def library(f, x):
    return torch.autograd.functional.jacobian(f, x)


def forward_mode(f, x):
    return torch.func.jacfwd(f)(x)


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


def central(f, x, h=1.0):
    """Exact for a quadratic f."""
    with torch.no_grad():
        return torch.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in torch.eye(len(x))], dim=1)


def one_tensor(f, x):
    leaf = x.detach().clone().requires_grad_()
    rows = []
    for i in range(len(f(x))):
        f(leaf)[i].backward(inputs=[leaf])
        rows.append(leaf.grad)
    return torch.stack(rows)


def unmarks_x(f, x):
    made = measures.jacobian(f, x)
    x.requires_grad_(False)
    return made


def columns(f, x):
    return torch.stack([torch.func.jvp(f, (x,), (e,))[1] for e in torch.eye(len(x))], dim=1)


def marks_x(f, x):
    x.requires_grad_()
    y = f(x)
    return torch.stack([torch.autograd.grad(one, x, retain_graph=True)[0] for one in y])


RIGHT = {
    "residual_forward": {
        "the course's": blocks.BasicBlock.forward,
        "one line, F.relu": one_line,
        "torchvision's order, in place on F's tensor": shortcut_first,
        "torch.add and clamp": without_relu,
        "a lambda": lambda self, x: self.relu(self.shortcut(x) + self.residual(x)),
        "keeps a part": keeps_a_part,
        "torch.maximum": lambda self, x: torch.maximum(y := self.residual(x) + self.shortcut(x), torch.zeros_like(y)),
    },
    "jacobian": {
        "the course's": measures.jacobian,
        "row by row": row_by_row,
        "one-hot directions": one_hot_rows,
        "batched": batched,
        "backward(inputs=...)": backward_on_x_only,
        "torch.autograd.functional": library,
        "forward mode": forward_mode,
        "column by column": columns,
    },
}

WRONG = {
    "residual_forward": {
        "no shortcut": (lambda self, x: self.relu(self.residual(x)), "forgotten shortcut"),
        "no F": (lambda self, x: self.relu(self.shortcut(x)), "forgotten F"),
        "ReLU on F": (
            lambda self, x: self.relu(self.residual(x)) + self.shortcut(x),
            "a ReLU on F before the addition",
        ),
        "ReLU on F, and after": (
            lambda self, x: self.relu(self.relu(self.residual(x)) + self.shortcut(x)),
            "a ReLU on F before the addition",
        ),
        "no ReLU": (lambda self, x: self.residual(x) + self.shortcut(x), "missing ReLU after the addition"),
        "ReLU on x": (
            lambda self, x: self.relu(self.residual(x) + self.relu(self.shortcut(x))),
            "a ReLU on x before the addition",
        ),
        "x twice": (lambda self, x: self.relu(self.residual(x) + 2 * self.shortcut(x)), "the input is added twice"),
        "F twice": (lambda self, x: self.relu(2 * self.residual(x) + self.shortcut(x)), "F is added twice"),
        "product": (lambda self, x: self.relu(self.residual(x) * self.shortcut(x)), "multiplied instead of added"),
        "mean": (lambda self, x: self.relu(self.residual(x) + self.shortcut(x)) / 2, "averaged instead of added"),
        "difference": (lambda self, x: self.relu(self.shortcut(x) - self.residual(x)), "subtracted instead of added"),
        "other difference": (
            lambda self, x: self.relu(self.residual(x) - self.shortcut(x)),
            "subtracted instead of added",
        ),
        "joined": (
            lambda self, x: self.relu(torch.cat([self.residual(x), self.shortcut(x)], 1)),
            "joined instead of added",
        ),
        "abs": (lambda self, x: (self.residual(x) + self.shortcut(x)).abs().sqrt(), "not the sum of F(x) and x"),
        "x instead of the shortcut": (lambda self, x: self.relu(self.residual(x) + x), "the shortcut is not used"),
        "F after the shortcut": (
            lambda self, x: self.relu(self.residual(self.shortcut(x)) + self.shortcut(x)),
            "F does not start at x",
        ),
        "the shortcut of F(x)": (
            lambda self, x: self.relu((y := self.residual(x)) + self.shortcut(y)),
            "the shortcut does not start at x",
        ),
        "F computed again": (twice, "F runs more than once"),
        "in place": (adds_into_x, "the input is changed in place"),
        "detached": (lambda self, x: self.relu(self.residual(x) + self.shortcut(x).detach()), "the gradient is cut"),
        "no_grad around the shortcut": (shortcut_without_gradient, "the gradient is cut"),
        "leaky": (
            lambda self, x: F.leaky_relu(self.residual(x) + self.shortcut(x)),
            "another function instead of ReLU",
        ),
        "absolute value": (
            lambda self, x: (self.residual(x) + self.shortcut(x)).abs(),
            "the absolute value instead of ReLU",
        ),
        "a class": (WholeClass, "a class instead of the function"),
        "a tensor": (torch.ones(1), "not a function"),
        "no return": (lambda self, x: print(end=""), "nothing is returned"),
        "an attribute that does not exist": (misspelled, "your code stopped with AttributeError"),
        "mirrored for images": (
            lambda self, x: (
                self.relu(self.residual(x) + self.shortcut(x))
                if x.dim() == 2
                else self.relu(self.residual(x) + self.shortcut(x).flip(1))
            ),
            "a real block computes something else",
        ),
    },
    "jacobian": {
        "transposed": (lambda f, x: measures.jacobian(f, x).T, "transposed"),
        "gradient of the sum": (
            lambda f, x: torch.autograd.grad(f(x := x.detach().requires_grad_()).sum(), x)[0],
            "summed over the outputs",
        ),
        "summed over the inputs": (lambda f, x: measures.jacobian(f, x).sum(1), "summed over the inputs"),
        "diagonal": (lambda f, x: measures.jacobian(f, x).diag().diag(), "the diagonal only"),
        "rows pile up": (piled_up, "rows pile up"),
        "first output only": (lambda f, x: measures.jacobian(f, x)[0], "one row only"),
        "a list": (lambda f, x: list(measures.jacobian(f, x)), "a list instead of a matrix"),
        "f itself": (lambda f, x: f(x), "the values of f instead of its derivatives"),
        "a number": (lambda f, x: measures.jacobian(f, x).norm(), "a single number"),
        "at another point": (lambda f, x: measures.jacobian(f, torch.zeros_like(x)), "taken at another point"),
        "finite differences": (differences, "finite differences instead of autograd"),
        "central differences, a whole step": (central, "finite differences instead of autograd"),
        "rows not cloned": (one_tensor, "all rows are the same tensor"),
        "x unmarked": (unmarks_x, "the caller's x is changed"),
        "squeezed": (lambda f, x: measures.jacobian(f, x).squeeze(), "no matrix for a single output"),
        "backward on everything": (plain_backward, "the parameters' .grad is changed"),
        "x marked": (marks_x, "the caller's x is changed"),
        "no requires_grad": (unmarked, "your code stopped with RuntimeError"),
        "no return": (lambda f, x: None, "nothing is returned"),
        "identity added": (
            lambda f, x: measures.jacobian(f, x) + (torch.eye(len(x)) if len(x) == len(f(x)) == 4 else 0),
            "not 0 and I at zero weights",
        ),
    },
}
