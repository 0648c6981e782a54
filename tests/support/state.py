"""All of a network that a measurement could leave changed."""

import torch


def state_of(network):
    return {
        "values": {key: value.clone() for key, value in network.state_dict().items()},
        "gradients": {key: parameter.grad for key, parameter in network.named_parameters()},
        "frozen": {key: parameter.requires_grad for key, parameter in network.named_parameters()},
        "modules": {key: id(module) for key, module in network.named_modules()},
        "modes": {key: module.training for key, module in network.named_modules()},
        "hooks": {key: len(module._forward_hooks) for key, module in network.named_modules()},
        "momenta": {key: getattr(module, "momentum", None) for key, module in network.named_modules()},
    }


def is_as_before(network, before):
    now = state_of(network)
    same = before["values"].keys() == now["values"].keys()
    same = same and all(torch.equal(value, now["values"][key]) for key, value in before["values"].items())
    same = same and all(gradient is now["gradients"][key] for key, gradient in before["gradients"].items())
    return same and all(now[what] == before[what] for what in ("frozen", "modules", "modes", "hooks", "momenta"))
