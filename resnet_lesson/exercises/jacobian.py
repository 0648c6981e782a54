"""The exercise `jacobian` of notebook 02: every derivative of a function at a point."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..inside import measures
from .kit.exercise import Exercise, Wrong
from .kit.probing import run, same

jacobian = Exercise(
    "jacobian",
    "Write a function that returns the matrix of all df_i/dx_j of f at the vector x.",
    solution=(measures.jacobian,),
    hints=(
        "Row i is the gradient of the single number f(x)[i] with respect to x. Make the rows, then stack them.",
        "Let autograd record: x = x.detach().requires_grad_() makes a copy to differentiate by, y = f(x) the outputs.",
        "torch.autograd.grad(y[i], x, retain_graph=True)[0] is row i. Unlike backward() it changes nobody's .grad.",
        "torch.stack(rows) has the shape (outputs, inputs). Or all in one: torch.func.jacrev(f)(x).",
    ),
    read="notebook 02, section 7",
)


def matrix(answer: Callable, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What the answer returns, as a tensor."""
    made = answer(f, x)
    if isinstance(made, (list, tuple)):
        raise Wrong(
            "a list instead of a matrix", type(made).__name__, "torch.stack(rows) makes one tensor of the rows."
        )
    return run(lambda: made)


def three_to_two(x: Tensor) -> Tensor:
    """(x0 x1, x0 + 3 x2), with the Jacobian ((x1, x0, 0), (1, 0, 3))."""
    return torch.stack([x[0] * x[1], x[0] + 3 * x[2]])


AT, RIGHT_THERE = (2.0, 5.0, 7.0), ((5.0, 2.0, 0.0), (1.0, 0.0, 3.0))


def small_is_right(answer: Callable) -> bool:
    """Whether the first probe passes, so that a later one does not say the same again."""
    return same(matrix(answer, three_to_two, torch.tensor(AT)), torch.tensor(RIGHT_THERE), 1e-2)


def numbers(m: Tensor) -> str:
    """A small matrix or vector in one line."""
    return str([[round(v, 2) for v in row] if isinstance(row, list) else round(row, 2) for row in m.tolist()])


@jacobian.probe("f(x) = (x0 x1, x0 + 3 x2) at (2, 5, 7)", "two rows, three columns: [[5, 2, 0], [1, 0, 3]]")
def rows_are_outputs(answer):
    x, right = torch.tensor(AT), torch.tensor(RIGHT_THERE)
    j = matrix(answer, three_to_two, x)
    if j.dim() == 0:
        raise Wrong("a single number", f"{j.item():.2f}", "There is one derivative for each output and each input.")
    got = f"{numbers(j)} of shape {tuple(j.shape)}"
    if j.shape == (3, 2) and same(j, right.T):
        raise Wrong("transposed", got, "Row i belongs to output i, column j to input j. Yours has them the other way.")
    if same(j.squeeze(), right.sum(0)):
        why = "That is the gradient of f_0 + f_1. One backward pass adds the rows up: take one for each output."
        raise Wrong("summed over the outputs", got, why)
    if same(j.squeeze(), right.sum(1)):
        raise Wrong("summed over the inputs", got, "Each row has one number for each input: do not add them up.")
    if same(j, torch.stack([right[0], right.sum(0)])):
        why = "backward() adds to x.grad, so the second row contains the first. Clear it, or use torch.autograd.grad."
        raise Wrong("rows pile up", got, why)
    if same(j, three_to_two(x)):
        raise Wrong(
            "the values of f instead of its derivatives", got, "That is what f answers; asked is how it changes with x."
        )
    if j.shape == right.shape and torch.equal(j[0], j[1]):
        why = "x.grad is one tensor that is written into again and again: append x.grad.clone(), then clear x.grad."
        raise Wrong("all rows are the same tensor", got, why)
    if any(same(j.squeeze(), row) for row in right):
        raise Wrong("one row only", got, "That is one output's gradient. Make a row for every output, and stack them.")
    if j.shape != right.shape:
        raise Wrong("the wrong shape", got, "As many rows as outputs, as many columns as inputs.")
    if not same(j, right, 1e-2):
        raise Wrong("other numbers", got, "Row i is the gradient of f(x)[i] at this very x.")


@jacobian.probe("a linear function, A x with A = ((1, 2, 3), (4, 5, 6), (7, 8, 9))", "A, all nine entries")
def every_entry(answer):
    a = torch.arange(1.0, 10).reshape(3, 3)
    j = matrix(answer, lambda x: a @ x, torch.tensor([1.0, -2.0, 0.5]))
    if same(j, a.diag().diag()) or same(j, a.diag()):
        why = "Output i moves with every input, not only with input i: df_i/dx_j for all pairs i, j."
        raise Wrong("the diagonal only", numbers(j), why)


@jacobian.probe("f(x) = (x0^3, x0 x1) at (30, 20)", "[[2700, 0], [20, 30]]: the slope at that point, exactly")
def at_x_exactly(answer):
    def f(x):
        return torch.stack([x[0] ** 3, x[0] * x[1]])

    j, right = matrix(answer, f, torch.tensor([30.0, 20.0])), torch.tensor([[2700.0, 0], [20, 30]])
    if j.shape == right.shape and not j.any():
        why = "These are the derivatives at (0, 0). Differentiate at the x that is given, not at a new tensor."
        raise Wrong("taken at another point", numbers(j), why)
    if small_is_right(answer) and not same(j, right, 1e-6):
        why = "Differences such as (f(x + h) - f(x)) / h come only near it. autograd gives the slope itself."
        raise Wrong("finite differences instead of autograd", numbers(j), why)


@jacobian.probe(
    "F(x) = W2 ReLU(W1 x) with all weights zero, and the same F(x) + x", "the zero matrix, and the identity matrix"
)
def at_zero_weights(answer):
    first, second, x = nn.Linear(4, 6, bias=False), nn.Linear(6, 4, bias=False), torch.tensor([1.0, 2.0, 3.0, 4.0])
    for weight in (first.weight, second.weight):
        nn.init.zeros_(weight)
    plain = matrix(answer, lambda x: second(first(x).relu()), x)
    residual = matrix(answer, lambda x: second(first(x).relu()) + x, x)
    right = same(plain, torch.zeros(4, 4), 1e-2) and same(residual, torch.eye(4), 1e-2)
    if small_is_right(answer) and not right:
        got = f"{numbers(plain)} and {numbers(residual)}"
        raise Wrong("not 0 and I at zero weights", got, "The zeros: F is flat. The ones on the diagonal come from + x.")


@jacobian.probe("a function with a single output, x0 x1 x2 at (1, 2, 3)", "a matrix of one row, [[6, 3, 2]]")
def one_row(answer):
    j = matrix(answer, lambda x: x.prod().reshape(1), torch.tensor([1.0, 2.0, 3.0]))
    if small_is_right(answer) and j.shape == (3,):
        why = "A matrix of one row has the shape (1, 3). Is there a squeeze() that drops the row?"
        raise Wrong("no matrix for a single output", f"shape {tuple(j.shape)}", why)


@jacobian.probe(
    "the .grad of the parameters that f uses", "as before: somebody may be in the middle of a training step"
)
def parameters_untouched(answer):
    layer = nn.Linear(3, 2)
    layer.weight.grad = torch.full_like(layer.weight, 5.0)
    matrix(answer, layer, torch.tensor([1.0, 2.0, 3.0]))
    if layer.bias.grad is not None or (layer.weight.grad != 5).any():
        why = (
            "backward() adds to the .grad of everything that requires one. torch.autograd.grad only returns the result."
        )
        raise Wrong("the parameters' .grad is changed", "other values", why)


@jacobian.probe(
    "x itself, afterwards", "as before: the same values, no .grad, and no requires_grad that it did not have"
)
def x_untouched(answer):
    x, other = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    matrix(answer, three_to_two, x)
    matrix(answer, three_to_two, other)
    marked = x.requires_grad or not other.requires_grad  # as they were before: no, and yes
    if marked or other.grad is not None or x.tolist() != [1.0, 2.0, 3.0]:
        why = "x belongs to the caller. Work on a copy: x = x.detach().requires_grad_() makes a new tensor."
        got = f"requires_grad {'changed' if marked else 'kept'}, .grad {'empty' if other.grad is None else 'filled'}"
        raise Wrong("the caller's x is changed", got, why)
