"""The attention matrices of one forward pass, as tensors that gradients reach."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from saliscope.errors import MethodError

__all__ = ["AttentionTap"]

_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


class AttentionTap(TorchFunctionMode):
    """Records the attention of a network while it is open, in the calling thread only.

    Fused attention is computed step by step, to rounding the same numbers; every softmax over the last axis of three or
    more is taken for attention. `matrices` are those of the last pass, in order, each as the network made it, most often
    (B, heads, N, N). With `gradients` each is part of the graph, so that scores may be differentiated by all of them.
    Opened again, it forgets.
    """

    def __init__(self, *, gradients: bool) -> None:
        super().__init__()
        self.gradients = gradients
        self.matrices: list[Tensor] = []

    def __enter__(self) -> AttentionTap:
        self.matrices = []
        super().__enter__()  # type: ignore[no-untyped-call] # torch's own
        return self

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            given = _MULTI_HEAD.bind(*args, **kwargs)
            given.apply_defaults()
            return self._multi_head(**given.arguments)
        result = func(*args, **kwargs)
        if func in _SOFTMAX and result.ndim > 2 and _axis(args, kwargs) in (-1, result.ndim - 1):
            return self._keep(result).clone()  # the network may change it in place
        return result

    def _keep(self, matrix: Tensor) -> Tensor:
        if self.gradients and not matrix.requires_grad:
            matrix = matrix.detach().requires_grad_(True)
        self.matrices.append(matrix)
        return matrix

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """softmax(Q K^T scale + mask) V, with the arguments of `F.scaled_dot_product_attention`."""
        if enable_gqa:
            groups = query.shape[-3] // key.shape[-3]
            key, value = (t.repeat_interleave(groups, -3) for t in (key, value))
        factor = query.shape[-1] ** -0.5 if scale is None else scale
        scores = (query * factor) @ key.transpose(-2, -1)
        if is_causal:
            later = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores = scores + attn_mask
        matrix = self._keep(scores.softmax(-1))
        return F.dropout(matrix, dropout_p) @ value

    def _multi_head(self, **given: Any) -> tuple[Tensor, Tensor | None]:
        """`F.multi_head_attention_forward` for queries (L, B, E), keys and values (S, B, E)."""
        unusual = ("bias_k", "bias_v", "add_zero_attn", "static_k", "static_v")
        if any(given[name] is not None and given[name] is not False for name in unusual):
            raise MethodError(
                "this network's attention has keys that belong to no token (bias_k, add_zero_attn), so its matrices "
                "cannot be followed from token to token; use grad-cam"
            )
        query, heads = given["query"], given["num_heads"]
        q, k, v = (_split(t, heads) for t in _projected(given))
        mask = _added(given, q)
        dropout = given["dropout_p"] if given["training"] else 0.0
        mixed = self._attend(q, k, v, mask, dropout)
        joined = mixed.permute(2, 0, 1, 3).reshape(query.shape)
        out = F.linear(joined, given["out_proj_weight"], given["out_proj_bias"])
        if not given["need_weights"]:
            return out, None
        weights = self.matrices[-1]
        return out, weights.mean(1) if given["average_attn_weights"] else weights


def _axis(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[1] if len(args) > 1 else kwargs.get("dim")


def _projected(given: dict[str, Any]) -> list[Tensor]:
    parts = [given["query"], given["key"], given["value"]]
    if given["use_separate_proj_weight"]:
        weights = [given[f"{name}_proj_weight"] for name in "qkv"]
    else:
        weights = given["in_proj_weight"].chunk(3)
    biases = [None] * 3 if given["in_proj_bias"] is None else given["in_proj_bias"].chunk(3)
    return [F.linear(t, w, b) for t, w, b in zip(parts, weights, biases, strict=True)]


def _split(tensor: Tensor, heads: int) -> Tensor:
    """(L, B, E) to (B, heads, L, E / heads)."""
    return tensor.reshape(*tensor.shape[:2], heads, -1).permute(1, 2, 0, 3)


def _added(given: dict[str, Any], query: Tensor) -> Tensor | None:
    """The masks as one number to add to each score; True means masked, as it does there."""
    found = None
    mask, padding = given["attn_mask"], given["key_padding_mask"]
    if mask is not None and mask.ndim == 3:
        mask = mask.reshape(*query.shape[:2], *mask.shape[1:])
    if padding is not None:
        padding = padding[:, None, None, :]
    for one in (mask, padding):
        if one is None:
            continue
        added = one
        if one.dtype == torch.bool:
            added = torch.zeros_like(one, dtype=query.dtype).masked_fill(one, float("-inf"))
        found = added if found is None else found + added
    return found
