"""The exercise `jacobian` of notebook 02: every derivative of a function at a point."""

import torch
from torch import Tensor, nn

from ..inside import measures
from .kit.exercise import Exercise, Wrong
from .kit.outcomes import agree

jacobian = Exercise(
    "jacobian",
    "Write a function that returns the matrix of all df_i/dx_j of f at the vector x.",
    solution=(measures.jacobian,),
    hints=(
        "Row i is the gradient of the single number f(x)[i] with respect to x. Compute the rows, then stack them.",
        "Let autograd record what you do: x = x.detach().requires_grad_() makes a new tensor to differentiate with "
        "respect to, and y = f(x) gives the outputs.",
        "torch.autograd.grad(y[i], x, retain_graph=True)[0] is row i. Unlike backward(), it leaves every .grad alone.",
        "torch.stack(rows) has the shape (outputs, inputs). Or all in one go: torch.func.jacrev(f)(x).",
    ),
    read="notebook 02, section 7",
)


def three_to_two(x: Tensor) -> Tensor:
    """(x0 x1, x0 + 3 x2), with the Jacobian ((x1, x0, 0), (1, 0, 3))."""
    return torch.stack([x[0] * x[1], x[0] + 3 * x[2]])


def layers_at_zero() -> tuple[nn.Module, nn.Module]:
    first, second = nn.Linear(4, 6, bias=False), nn.Linear(6, 4, bias=False)
    nn.init.zeros_(first.weight)
    nn.init.zeros_(second.weight)
    return first, second


@jacobian.case("f(x) = (x0 x1, x0 + 3 x2) at (2, 5, 7)", "two rows, three columns: [[5, 2, 0], [1, 0, 3]]")
def rows_are_outputs(answer):
    return answer(three_to_two, torch.tensor([2.0, 5.0, 7.0]))


@jacobian.case("f(x) = (x0^3, x0 x1) at (30, 20)", "[[2700, 0], [20, 30]]: the slope at that point, exactly")
def at_x_exactly(answer):
    made = answer(lambda x: torch.stack([x[0] ** 3, x[0] * x[1]]), torch.tensor([30.0, 20.0]))
    slopes = torch.tensor([[2700.0, 0], [20, 30]])
    near = isinstance(made, Tensor) and made.shape == slopes.shape and torch.allclose(made, slopes, rtol=0.1, atol=1)
    if near and not agree(made, slopes, 1e-6):
        why = "Differences such as (f(x + h) - f(x)) / h are only close to the slope. autograd gives the slope itself."
        raise Wrong("finite differences instead of autograd", made, why)
    return made


@jacobian.case("F(x) = W2 ReLU(W1 x) with all weights zero, and F(x) + x", "the zero matrix, and the identity matrix")
def at_zero_weights(answer):
    first, second = layers_at_zero()
    functions = {"F(x)": lambda x: second(first(x).relu()), "F(x) + x": lambda x: second(first(x).relu()) + x}
    return {name: answer(f, torch.tensor([1.0, 2.0, 3.0, 4.0])) for name, f in functions.items()}


@jacobian.case("a function with a single output, x0 x1 x2 at (1, 2, 3)", "a matrix of one row, [[6, 3, 2]]")
def one_row(answer):
    return answer(lambda x: x.prod().reshape(1), torch.tensor([1.0, 2.0, 3.0]))


@jacobian.case("x in 64-bit numbers (float64)", "a matrix of 64-bit numbers as well")
def keeps_precision(answer):
    return answer(three_to_two, torch.tensor([2.0, 5.0, 7.0], dtype=torch.float64))


@jacobian.case("the parameters that f uses, afterwards", "their .grad as before, since a training may be using it")
def leaves_parameters_alone(answer):
    layer = nn.Linear(3, 2)
    layer.weight.grad = torch.full_like(layer.weight, 5.0)
    answer(layer, torch.tensor([1.0, 2.0, 3.0]))
    return {"weight.grad": layer.weight.grad, "bias.grad": layer.bias.grad}


@jacobian.case("x itself, afterwards", "as before: its values, no .grad, and requires_grad only if it had it")
def leaves_x_alone(answer):
    x, marked = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    answer(three_to_two, x)
    try:
        answer(three_to_two, marked)
    finally:  # a copy by x.clone() leads back to the caller's x, and its .grad may then be missing where it is used
        changed = {
            "requires_grad = True": x.requires_grad,
            "requires_grad = False": not marked.requires_grad,
            "a .grad": x.grad is not None or marked.grad is not None,
            "other values": any(one.tolist() != [1, 2, 3] for one in (x, marked)),
        }
        if any(changed.values()):
            got = "x now has " + " and ".join(what for what, so in changed.items() if so)
            why = "x belongs to the caller. Work on a tensor of your own: x = x.detach().requires_grad_() makes one."
            raise Wrong("the caller's x is changed", got, why)


# --- The mistakes, each as a student might write it.


def backward_into_x(f, x, take):
    """The rows are taken from x.grad, which backward() adds to."""
    x = x.detach().clone().requires_grad_()
    y = f(x)
    rows = []
    for i in range(len(y)):
        y[i].backward(retain_graph=True, inputs=[x])
        rows.append(take(x.grad))
    return torch.stack(rows)


def backward_into_everything(f, x):
    rows = []
    for i in range(len(f(x))):
        x = x.detach().clone().requires_grad_()
        f(x)[i].backward()
        rows.append(x.grad)
    return torch.stack(rows)


right, mistake = measures.jacobian, jacobian.mistake
# fmt: off
mistake("transposed", lambda f, x: right(f, x).T,
        "Row i belongs to output i, and column j to input j. Yours has them the other way round.")
mistake("summed over the outputs", lambda f, x: right(f, x).sum(0),
        "That is the gradient of f_0 + f_1, because one backward pass adds up the rows. Use one pass per output.")
mistake("rows pile up", lambda f, x: backward_into_x(f, x, torch.clone),
        "backward() adds to x.grad, so the second row contains the first. Clear x.grad between the rows, or use "
        "torch.autograd.grad.")
for same in (lambda f, x: backward_into_x(f, x, lambda grad: grad), lambda f, x: right(f, x)[-1:].repeat(len(f(x)), 1)):
    mistake("all rows are the same", same,
            "Row i is the gradient of y[i] alone, not of y.sum(). If you collect x.grad: it is one tensor, which every "
            "backward pass changes, so append x.grad.clone() and then clear it.")
mistake("the values of f instead of its derivatives", lambda f, x: f(x),
        "Those are the outputs of f. The matrix shows how they change with x.")
for row in (0, -1):
    mistake("one row only", lambda f, x, row=row: right(f, x)[row],
            "That is the gradient of one output. Compute a row for every output, and stack them.")
mistake("a list instead of a matrix", lambda f, x: list(right(f, x)),
        "torch.stack(rows) turns the rows into one tensor.")
mistake("no matrix for a single output", lambda f, x: right(f, x).squeeze(),
        "A matrix of one row has the shape (1, 3). Is there a squeeze() that drops the row?")
mistake("the precision is lost", lambda f, x: right(f, x).float(),
        "torch.zeros(...) and torch.eye(...) make 32-bit numbers: pass dtype=x.dtype, or stack the rows instead.")
mistake("the parameters' .grad is changed", backward_into_everything,
        "backward() adds to the .grad of everything that requires one. torch.autograd.grad only returns the result.")
# fmt: on
