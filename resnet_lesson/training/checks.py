"""What can be checked before the first step: whether the network and the data sets fit together."""

import copy

import torch
from torch import nn

from ..datasets.batches import check_channels
from ..datasets.dataset import Dataset
from ..errors import LessonError
from . import parallel
from .evaluation import predict
from .recipes import Recipe


def check_sets(network: nn.Module, train_set: Dataset, test_set: Dataset, recipe: Recipe) -> None:
    """Raise LessonError, or ValueError for a wrong number of channels, if training would fail sooner or later.

    Reasons are: test images that differ from the training images in size or classes, a network that does not take such
    images or has too few outputs, and a last batch that is too small for BN.
    """
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise LessonError("The network has nothing to learn: none of its parameters has requires_grad.")
    check_channels(network, train_set)
    one, other = (tuple(data.images.shape[1:]) for data in (train_set, test_set))
    if one != other:
        raise LessonError(
            f"The training images are {one}, height x width x channels, but the test images are {other}: give two sets "
            "of the same kind."
        )
    if tuple(train_set.classes) != tuple(test_set.classes):
        raise LessonError(
            f"The training set has the classes {', '.join(train_set.classes)}, but the test set has "
            f"{', '.join(test_set.classes)}: give both the same classes, in the same order."
        )
    _check_outputs(network, train_set)
    _check_last_batch(network, train_set, recipe)


def _image(network: nn.Module, data: Dataset) -> torch.Tensor:
    """The first image as a batch of its own, (1, C, H, W), where the network is."""
    return data.images[:1].permute(0, 3, 1, 2).float().div(255).to(next(network.parameters()).device)


def _check_outputs(network: nn.Module, data: Dataset) -> None:
    outputs = tuple(predict(network, [(_image(network, data), data.labels[:1])])[0].shape)
    if len(outputs) != 2 or outputs[1] < len(data.classes):
        raise LessonError(
            f"{data.name} has {len(data.classes)} classes, so the network must return (images, {len(data.classes)}) "
            f"logits, but it returns {outputs} for one image: build it with num_classes={len(data.classes)}."
        )


def _check_last_batch(network: nn.Module, data: Dataset, recipe: Recipe) -> None:
    """BN cannot normalise a single value, and a last batch of one image with 1x1 maps would give it just that."""
    if (len(data) % recipe.batch_size or recipe.batch_size) // parallel.size() != 1:
        return
    try:
        copy.deepcopy(network).train()(_image(network, data))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise LessonError(
            f"{len(data):,} images in batches of {recipe.batch_size} leave a last batch of one image, and BN cannot "
            f"normalise its 1x1 maps: take({len(data) - 1}) of the images, or choose another batch size."
        ) from error
