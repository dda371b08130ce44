"""critternet: a small residual network for critters, whose weights come with the package."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["CritterNet", "critternet"]

_WIDTHS = (24, 48, 80, 128, 152)


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut around them (He et al. 2016, figure 2)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        same = channels == width and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to (B, width, h / stride, w / stride)."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu2(out + self.shortcut(x))  # type: ignore[no-any-return] # modules return Any


def _stage(channels: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(channels, width, stride), Block(width, width, 1))


class CritterNet(nn.Module):
    """A residual network that ends in global average pooling and one linear layer, so that CAM can be read from it.

    Four stages `layer1` to `layer4`; of a 160-pixel image they return 40 x 40, 20 x 20, 10 x 10 and 10 x 10 cells.
    """

    def __init__(self, num_classes: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU()
        )
        stem, one, two, three, four = _WIDTHS
        self.layer1 = _stage(stem, one, 2)
        self.layer2 = _stage(one, two, 2)
        self.layer3 = _stage(two, three, 2)
        self.layer4 = _stage(three, four, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(four, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, 160, 160), RGB / 127.5 - 1, to logits (B, num_classes)."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(self.pool(x).flatten(1))  # type: ignore[no-any-return] # modules return Any


def critternet(num_classes: int = 24) -> CritterNet:
    """Build an untrained critternet."""
    return CritterNet(num_classes)
