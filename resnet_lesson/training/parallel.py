"""Several processes that train one network together: torch's DistributedDataParallel under torchrun.

    torchrun --nproc-per-node 2 -m resnet_lesson train --network resnet20

Each process computes its share of every batch, the gradients are averaged, and all take the same step. BN takes its
statistics from the process's own share. The paper trained in this way too: batches of 128 on two GPUs (section 4.2).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import LessonError
from ..models.family import StochasticResidual
from .loop import Meter


@contextmanager
def processes(device: str | None = None) -> Iterator[str | None]:
    """Join the processes that torchrun started, and leave them at the end; yields this process's device.

    Without torchrun, one process trains alone, and `device` is yielded unchanged.
    """
    if not dist.is_available() or not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        yield device
        return
    if (device or ("cuda" if torch.cuda.is_available() else "cpu")).startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
        dist.init_process_group("nccl")
    else:
        dist.init_process_group("gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number. Process 0 evaluates, records and prints."""
    return dist.get_rank() if size() > 1 else 0


def wrap(network: nn.Module) -> nn.Module:
    """The network with gradients averaged over the processes, or the network itself if there is only one process."""
    if size() == 1:
        return network
    # All processes leave out the same blocks, and must not wait for gradients of these.
    some_rest = any(isinstance(module, StochasticResidual) for module in network.modules())
    return DistributedDataParallel(network, find_unused_parameters=some_rest)


def check_shares(images: int, batch_size: int) -> None:
    """Raise LessonError if the processes cannot have equal shares of each batch, because the mean of their gradients
    would then not be the gradient of the batch."""
    last = images % batch_size
    if batch_size % size() or last % size():
        end = f" and the last one of {last}" if last else ""
        raise LessonError(
            f"{size()} processes cannot share batches of {batch_size}{end} equally: choose a number of processes that "
            "divides them (torchrun --nproc-per-node 2)."
        )


def total(meter: Meter, loss: Tensor) -> tuple[list[float], float]:
    """The sums of the meters over all processes, and the mean of their last losses."""
    if size() == 1:
        return meter.sums.tolist(), float(loss)
    numbers = torch.cat([meter.sums, loss.double()[None]])
    dist.all_reduce(numbers)
    *sums, losses = numbers.tolist()
    return sums, losses / size()


def agreed(iteration: int, *wishes: bool) -> list[bool]:
    """For each wish, whether any process has it, so that all of them stop, save or check at the same iteration.

    On GPUs, asking makes each process wait for its GPU, so there they only ask every tenth iteration.
    """
    if size() == 1:
        return list(wishes)
    gpu = dist.get_backend() == "nccl"
    if gpu and iteration % 10:
        return [False] * len(wishes)
    device = "cuda" if gpu else "cpu"
    votes = torch.tensor(wishes, dtype=torch.int32, device=device)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return votes.bool().tolist()
