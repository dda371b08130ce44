from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _clean_torch():
    """Seed each test, and let none leave torch in another mode than it found."""
    torch.manual_seed(0)
    yield
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert torch.get_default_dtype() == torch.float32


@pytest.fixture
def exact():
    """TF32 rounds to ten bits; parity is that of float32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


class GapNet(nn.Module):
    """Convolution, batch norm, ReLU, convolution, ReLU, mean, linear; the last ReLU where `relu` says."""

    def __init__(self, relu: str = "module", classes: int = 5, bias: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1)
        self.act2 = nn.ReLU(inplace=relu == "inplace") if relu in ("module", "inplace") else None
        self.relu = relu
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(6, classes, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.act1(self.bn1(self.conv1(x))))
        if self.act2 is not None:
            x = self.act2(x)
        elif self.relu == "functional":
            x = F.relu(x)
        return self.fc(self.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1)))


class ConvHead(nn.Module):
    """A SqueezeNet-like end: a 1x1 convolution gives one channel per class, then ReLU and mean."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(inplace=True))
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Conv2d(6, classes, 1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


class DeepHead(nn.Module):
    """A VGG-like end: no global mean, two linear layers, so gradients differ from cell to cell."""

    def __init__(self, *, inplace: bool = True, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1),
            nn.ReLU(inplace=inplace),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(inplace=inplace),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(8 * 4 * 4, 12), nn.ReLU(inplace=inplace), nn.Linear(12, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), 4).flatten(1))


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms the statistics and scales of a trained network: a fresh one hides a wrong folding."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            shape = part.running_mean.shape
            part.running_mean.copy_(torch.randn(shape, generator=generator) * 0.3)
            part.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)
            if part.affine:
                with torch.no_grad():
                    part.weight.copy_(torch.rand(shape, generator=generator) + 0.5)
                    part.bias.copy_(torch.randn(shape, generator=generator) * 0.3)
    return module


@pytest.fixture
def nets() -> SimpleNamespace:
    """Small networks, made anew for each test: `gap(relu=...)`, `conv_head()`, `deep_head()`; `lively(module)`."""
    return SimpleNamespace(
        gap=lambda relu="module", **more: lively(GapNet(relu, **more)).eval(),
        conv_head=lambda **more: ConvHead(**more).eval(),
        deep_head=lambda **more: DeepHead(**more).eval(),
        lively=lively,
    )


@pytest.fixture
def batch() -> Tensor:
    """Three inputs, taller than wide, so that swapped axes show."""
    return torch.randn(3, 3, 24, 16)


@pytest.fixture
def photos() -> list[np.ndarray]:
    """Five small photographs of different sizes."""
    random = np.random.default_rng(0)
    sizes = [(30, 40), (40, 30), (33, 47), (20, 20), (25, 61)]
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def _facts(module: nn.Module) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, part in module.named_modules():
        facts[f"{name} is"] = (id(part), part.training, sorted(part.__dict__))
        for table in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"):
            facts[f"{name}.{table}"] = list(getattr(part, table).items())
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        facts[name] = tensor.detach().clone()
        facts[f"{name} is"] = (id(tensor), tensor.requires_grad, tensor.data_ptr(), tensor.dtype)
        facts[f"{name} grad"] = None if tensor.grad is None else tensor.grad.clone()
        if not tensor.is_inference():
            facts[f"{name} version"] = tensor._version
    return facts


def _snapshot(module: nn.Module, *inputs: Tensor) -> dict[str, Any]:
    facts = _facts(module)
    for i, tensor in enumerate(inputs):
        facts[f"input {i}"] = tensor.detach().clone()
        facts[f"input {i} is"] = (tensor.requires_grad, tensor.is_leaf, tensor.data_ptr())
        facts[f"input {i} grad"] = None if tensor.grad is None else tensor.grad.clone()
    facts["modes"] = (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
    )
    facts["torch random"] = torch.get_rng_state()
    facts["numpy random"] = str(np.random.get_state())
    facts["global hooks"] = len(torch.nn.modules.module._global_forward_hooks)
    return facts


@pytest.fixture
def unchanged() -> Callable[..., Any]:
    """`with unchanged(module, *inputs):` fails if the block changes anything that can be seen from outside."""
    from contextlib import contextmanager

    @contextmanager
    def watch(module: nn.Module, *inputs: Tensor):
        before = _snapshot(module, *inputs)
        try:
            yield
        finally:
            after = _snapshot(module, *inputs)
            assert before.keys() == after.keys()
            changed = [key for key in before if not _same(before[key], after[key])]
            assert changed == []

    return watch


def _same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The photographs and weights for real tests; skips where they are not there."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data")
    return folder
