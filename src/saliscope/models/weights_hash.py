"""What a network's weights are, in one number."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

__all__ = ["weights_hash"]


def weights_hash(module: nn.Module) -> str:
    """Hash all parameters and buffers with their names, types and shapes: sha256 in hex, the same on every device."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):  # extra state of a module of the user's own
            found.update(f"{name}\0{tensor!r}\n".encode())
            continue
        found.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        found.update(flat.view(torch.uint8).numpy().data)
    return found.hexdigest()
