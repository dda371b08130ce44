"""The networks people explain: the layer taken, its grid, every map, gradients as autograd has them, places kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn

import saliscope as sc
from saliscope.engine import Network, shadow, survey
from saliscope.methods import METHODS, map_batch, parse_method
from saliscope.models import logits_of

TV, TIMM = torchvision.models, timm.create_model
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}  # fmt: skip
WIDE = (64, 96)


@dataclass(frozen=True)
class Case:
    """A network: how it is made, the size of its input (h, w), the layer taken, and its grid.

    `order` is how that layer's output, by the network's own code, holds the grid: "first" (B, C, h, w), "last", or the
    number of tokens in front. `early` is a layer whose cells see their own surroundings only.
    """

    make: Callable[[], nn.Module]
    size: tuple[int, int]
    layer: str
    grid: tuple[int, int]
    order: str | int
    early: str
    slow: bool = False


def swin(block: Any, merge: Any) -> Callable[[], nn.Module]:
    return lambda: TV.SwinTransformer(
        [4, 4], 12, [1, 2, 1], [1, 2, 2], [4, 4], num_classes=5, block=block, downsample_layer=merge
    )


def timm_swin(name: str) -> Callable[[], nn.Module]:
    return lambda: TIMM(name, img_size=WIDE, window_size=4, depths=(1, 2, 1), embed_dim=12, num_heads=(1, 2, 2), num_classes=5)  # fmt: skip


def timm_vit(name: str, size: tuple[int, int], **more: Any) -> Callable[[], nn.Module]:
    return lambda: TIMM(name, img_size=size, depth=2, embed_dim=32, num_heads=2, num_classes=5, **more)  # fmt: skip


def hf(kind: str, config: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(transformers, kind)(getattr(transformers, config)(**{"num_labels": 5} | options))  # fmt: skip


def tv(name: str, **more: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(TV, name)(num_classes=5, **more)


PLAIN: dict[str, Any] = {"aux_logits": False, "init_weights": False}
V2 = TV.swin_transformer
CASES: dict[str, Case] = {
    "alexnet": Case(tv("alexnet"), (96, 128), "features.11", (5, 7), "first", "features.0"),
    "vgg16": Case(tv("vgg16"), WIDE, "features.29", (4, 6), "first", "features.2", slow=True),
    "googlenet": Case(tv("googlenet", **PLAIN), WIDE, "inception5b", (2, 3), "first", "conv1", slow=True),
    "inception_v3": Case(tv("inception_v3", **PLAIN), (107, 139), "Mixed_7c", (2, 3), "first", "Conv2d_2b_3x3", slow=True),
    "resnet18": Case(tv("resnet18"), WIDE, "layer4", (2, 3), "first", "conv1"),
    "resnet50": Case(tv("resnet50"), WIDE, "layer4", (2, 3), "first", "conv1", slow=True),
    "resnext50": Case(tv("resnext50_32x4d"), WIDE, "layer4", (2, 3), "first", "conv1", slow=True),
    "densenet121": Case(tv("densenet121"), WIDE, "features", (2, 3), "first", "features.conv0", slow=True),
    "mobilenet_v2": Case(tv("mobilenet_v2"), WIDE, "features", (2, 3), "first", "features.0"),
    "mobilenet_v3": Case(tv("mobilenet_v3_small"), WIDE, "features", (2, 3), "first", "features.0"),
    "efficientnet_b0": Case(tv("efficientnet_b0"), WIDE, "features", (2, 3), "first", "features.0", slow=True),
    "squeezenet": Case(tv("squeezenet1_1"), WIDE, "features", (3, 5), "first", "features.0"),
    "regnet": Case(tv("regnet_y_400mf"), WIDE, "trunk_output", (2, 3), "first", "stem"),
    "convnext": Case(lambda: TV.ConvNeXt([TV.convnext.CNBlockConfig(16, 32, 1), TV.convnext.CNBlockConfig(32, None, 1)],
        num_classes=5), WIDE, "features", (8, 12), "first", "features.0"),
    "convnext timm": Case(lambda: TIMM("convnext_atto", num_classes=5), WIDE, "stages", (2, 3), "first", "stem"),
    "vit": Case(lambda: TV.VisionTransformer(64, 16, 2, 2, 16, 16, num_classes=5), (64, 64),
        "encoder.layers.encoder_layer_1.ln_1", (4, 4), 1, "encoder.layers.encoder_layer_0.ln_1"),
    "vit timm": Case(timm_vit("vit_base_patch16_224", WIDE), WIDE, "blocks.1.norm1", (4, 6), 1, "blocks.0.norm1"),
    "vit timm any size": Case(lambda: TIMM("test_vit", dynamic_img_size=True, num_classes=5), WIDE,
        "blocks.5.norm1", (4, 6), 1, "blocks.0.norm1"),
    "vit mean": Case(timm_vit("vit_base_patch16_224", WIDE, global_pool="avg"), WIDE, "blocks", (4, 6), 1, "blocks.0.norm1"),
    "vit hf": Case(hf("ViTForImageClassification", "ViTConfig", image_size=WIDE, patch_size=16, **SMALL), WIDE,
        "vit.layers.1.layernorm_before", (4, 6), 1, "vit.layers.0.layernorm_before"),
    "vit_b_16": Case(tv("vit_b_16"), (224, 224), "encoder.layers.encoder_layer_11.ln_1", (14, 14), 1,
        "encoder.layers.encoder_layer_0.ln_1", slow=True),
    "vit_b_16 timm": Case(lambda: TIMM("vit_base_patch16_224", num_classes=5), (224, 224), "blocks.11.norm1", (14, 14), 1,
        "blocks.0.norm1", slow=True),
    "deit distilled": Case(timm_vit("deit_base_distilled_patch16_224", WIDE), WIDE, "blocks.1.norm1", (4, 6), 2, "blocks.0.norm1"),
    "deit distilled hf": Case(hf("DeiTForImageClassificationWithTeacher", "DeiTConfig", image_size=WIDE, patch_size=16, **SMALL),
        WIDE, "deit.layers.1.layernorm_before", (4, 6), 2, "deit.layers.0.layernorm_before"),
    "dinov2 registers": Case(timm_vit("vit_base_patch14_reg4_dinov2", (56, 84)), (56, 84), "blocks.1.norm1", (4, 6), 5,
        "blocks.0.norm1"),
    "dinov2 registers hf": Case(hf("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", image_size=56,
        patch_size=14, **SMALL), (56, 84), "dinov2_with_registers.layernorm", (4, 6), 5, "dinov2_with_registers.encoder.layer.0.norm1"),
    "clip": Case(hf("CLIPVisionModelWithProjection", "CLIPVisionConfig", image_size=64, patch_size=16, projection_dim=6, **SMALL),
        (64, 64), "vision_model.encoder.layers.1.layer_norm1", (4, 4), 1, "vision_model.encoder.layers.0.layer_norm1"),
    "siglip": Case(timm_vit("vit_base_patch16_siglip_224", WIDE), WIDE, "norm", (4, 6), 0, "blocks.0.norm1"),
    "swin": Case(swin(V2.SwinTransformerBlock, V2.PatchMerging), WIDE, "permute", (4, 6), "first", "features.0"),
    "swin v2": Case(swin(V2.SwinTransformerBlockV2, V2.PatchMergingV2), WIDE, "permute", (4, 6), "first", "features.0"),
    "swin timm": Case(timm_swin("swin_tiny_patch4_window7_224"), WIDE, "norm", (4, 6), "last", "patch_embed"),
    "swin v2 timm": Case(timm_swin("swinv2_tiny_window8_256"), WIDE, "norm", (4, 6), "last", "patch_embed"),
    "swin hf": Case(hf("SwinForImageClassification", "SwinConfig", image_size=WIDE, patch_size=4, embed_dim=12, depths=[1, 2, 1],
        num_heads=[1, 2, 2], window_size=4), WIDE, "swin.layernorm", (4, 6), 0, "swin.embeddings"),
    "swin v2 hf": Case(hf("Swinv2ForImageClassification", "Swinv2Config", image_size=WIDE, patch_size=4, embed_dim=12, depths=[1, 2, 1],
        num_heads=[1, 2, 2], window_size=4), WIDE, "swinv2.layernorm", (4, 6), 0, "swinv2.embeddings"),
    "maxvit": Case(lambda: TV.MaxVit((64, 64), 16, 8, [16, 32], [1, 1], 8, 0.0, num_classes=5), (64, 64), "blocks.1", (8, 8),
        "first", "stem.0"),
    "maxvit timm": Case(lambda: TIMM("maxvit_rmlp_pico_rw_256", img_size=(64, 64), num_classes=5), (64, 64), "norm", (2, 2), "first",
        "stem", slow=True),
}  # fmt: skip
NAMES = [pytest.param(n, marks=pytest.mark.slow) if c.slow else n for n, c in CASES.items()]


@cache
def network(name: str) -> nn.Module:
    """Seeded weights, batch norms as after training, no new classifier's zeros: whatever is wrong must show."""
    torch.manual_seed(0)
    net = CASES[name].make().eval()
    r = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=r) * 0.1)
                part.running_var.copy_(torch.rand(part.running_var.shape, generator=r) + 0.5)
        for p in net.parameters():
            if p.numel() > 1 < p.ndim and (not p.any() or float(p.std()) < 0.03):
                p.copy_(torch.randn(p.shape, generator=r) * 0.1)
    return net


@cache
def pictures(name: str) -> Tensor:
    return torch.randn(2, 3, *CASES[name].size, generator=torch.Generator().manual_seed(2))


def kept(net: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer returned in the network's own forward pass, and the logits."""
    found: list[Tensor] = []

    def keep(module: nn.Module, given: Any, output: Tensor) -> Tensor:
        found.append(output)
        return output.clone()  # what stands behind may work in place

    hook = net.get_submodule(layer).register_forward_hook(keep)
    logits = logits_of(net(x))
    hook.remove()
    return found[0], logits


def placed(tensor: Tensor, case: Case) -> Tensor:
    """(B, C, h, w), cell by cell."""
    h, w = case.grid
    rows = []
    for y in range(h):
        for x in range(w):
            if case.order == "first":
                rows.append(tensor[:, :, y, x])
            elif case.order == "last":
                rows.append(tensor[:, y, x])
            else:
                assert isinstance(case.order, int)
                assert tensor.shape[1] == case.order + h * w
                rows.append(tensor[:, case.order + y * w + x])
    return torch.stack(rows, 2).reshape(len(tensor), -1, h, w)


@pytest.mark.parametrize("name", NAMES)
def test_the_layer_taken(name):
    case = CASES[name]
    facts = survey(network(name), pictures(name), read=logits_of)
    assert facts.recommended == case.layer
    shapes = {f.name: f.shape for f in facts.layers}
    assert shapes[case.layer][1:] == case.grid


@pytest.mark.parametrize("name", NAMES)
def test_every_map(name):
    """Grad-CAM and HiResCAM as by hand from the network's own gradient; all others finite, not constant, of the grid."""
    case, net, x = CASES[name], network(name), pictures(name)
    a, logits = kept(net, case.layer, x)
    (g,) = torch.autograd.grad(logits[:, 1].sum(), a)
    a, g = placed(a.detach(), case), placed(g, case)
    assert float(g.abs().max()) > 0
    facts = survey(net, x, read=logits_of)
    runner = Network(shadow(net), read=logits_of, survey=facts)
    names = [n for n, k in METHODS.items() if k.family == "one capture"]
    names = [
        n
        for n in names
        if METHODS[n].reads != "head" or case.layer in getattr(facts.head, "layers", ())
    ]
    specs = [parse_method(n, layer=case.layer) for n in names]
    found = dict(zip(names, map_batch(runner, x, specs, target=1).signed, strict=True))
    by_hand = {
        "grad-cam": (g.mean((2, 3), keepdim=True) * a).sum(1),
        "hires-cam": (g * a).sum(1),
    }
    for method, maps in found.items():
        assert maps.shape == (2, 1, *case.grid), method
        assert maps.isfinite().all(), method
        if method != "fem":  # of which few cells may have none that stand out
            assert float(maps.flatten(2).std(2).min()) > 0, method
        if method in by_hand:
            scale = float(by_hand[method].abs().max())
            torch.testing.assert_close(
                maps[:, 0] / scale, by_hand[method] / scale, rtol=0, atol=2e-4
            )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", [(0.8, 0.15), (0.2, 0.6)])
def test_places_are_kept(name, place):
    """A change in one spot of the picture changes an early layer there, and nowhere far away."""
    case, net, x = CASES[name], network(name), pictures(name)[:1]
    height, width = case.size
    top, left = int(place[0] * height), int(place[1] * width)
    changed = x.clone()
    changed[..., top - 2 : top + 2, left - 2 : left + 2] += 3
    runner = Network(shadow(net), read=logits_of)
    before, after = (
        runner.capture(t, [case.early], gradients=False).activations[case.early]
        for t in (x, changed)
    )
    change = (after - before).abs().sum(1)[0]
    h, w = change.shape
    y, x_ = divmod(int(change.argmax()), w)
    step = max(height / h, width / w, 6)
    assert abs((y + 0.5) * height / h - top) <= step
    assert abs((x_ + 0.5) * width / w - left) <= step
    far = [
        float(change[i, j])
        for i in range(h)
        for j in range(w)
        if abs((i + 0.5) * height / h - top) > 3 * step
        or abs((j + 0.5) * width / w - left) > 3 * step
    ]
    assert max(far, default=0.0) < 0.01 * float(change.max())


def test_channels_last_inside_a_block():
    """torchvision's ConvNeXt turns to channels last for its linear layers."""
    net, x = network("convnext"), pictures("convnext")
    a, logits = kept(net, "features.1.0.block.3", x)
    (g,) = torch.autograd.grad(logits[:, 1].sum(), a)
    found = sc.attribute(net, x, 1, method="hires-cam", layer="features.1.0.block.3", relu=False)
    assert found.shape == (2, 16, 24)
    assert a.shape == (2, 16, 24, 64)
    torch.testing.assert_close(found, (g * a).sum(3).detach(), rtol=1e-3, atol=1e-5)


def test_before_a_layer_norm_gradient_times_activation_is_rounding():
    """What a norm reads alone does not depend on its length, so gradient and activation are at right angles there."""
    net, x = network("vit timm"), pictures("vit timm")
    for layer, empty in (("blocks.0", True), ("blocks.1.norm1", False)):
        a, logits = kept(net, layer, x)
        (g,) = torch.autograd.grad(logits[:, 1].sum(), a)
        found = sc.attribute(net, x, 1, method="hires-cam", layer=layer, relu=False)
        share = float(found.abs().max() / (g * a).abs().sum(2).max().detach())
        assert (share < 1e-3) is empty


def test_clip_by_a_text():
    """The target is a function of what the tower returns: here the cosine with the embedding of some text."""
    net, x = network("clip"), pictures("clip")
    words = torch.randn(6, generator=torch.Generator().manual_seed(0))

    def alike(out: Any) -> Tensor:
        return torch.nn.functional.cosine_similarity(out.image_embeds, words[None])

    case = CASES["clip"]
    found: list[Any] = []
    hook = net.get_submodule(case.layer).register_forward_hook(lambda m, i, o: found.append(o))
    score = alike(net(x)).sum()
    hook.remove()
    (g,) = torch.autograd.grad(score, found[0])
    a, g = placed(found[0].detach(), case), placed(g, case)
    maps = sc.attribute(net, x, alike, relu=False)
    expected = (g.mean((2, 3), keepdim=True) * a).sum(1)
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_deit_by_one_of_its_heads():
    """The tuple of training, or the average of evaluation: the target says which scalar it is."""
    net, x = network("deit distilled hf"), pictures("deit distilled hf")
    both = sc.attribute(net, x, 1, relu=False, method="hires-cam")
    heads = [
        sc.attribute(net, x, lambda out, k=k: out[k][:, 1], relu=False, method="hires-cam")
        for k in ("cls_logits", "distillation_logits")
    ]
    torch.testing.assert_close(both, (heads[0] + heads[1]) / 2, rtol=1e-3, atol=1e-7)
    assert not torch.allclose(heads[0], heads[1])


@pytest.mark.parametrize(
    ("name", "layer", "message"),
    [
        ("swin timm", "layers.0.blocks.0.attn", r"of each of 2 images: it works on windows"),
        ("swin hf", "swin.encoder.layers.0.blocks.0.attention.q_proj", r"works on windows"),
        (
            "maxvit",
            "blocks.0.layers.0.layers.window_attention.partition_op",
            r"attention heads|neither",
        ),
        ("vit timm", "blocks.0.attn.q_norm", r"attention heads"),
        ("vit timm", "head", r"returns a tensor of shape \(2, 5\), not a grid"),
    ],
)
def test_layers_without_a_grid(name, layer, message):
    with pytest.raises(sc.LayerError, match=message):
        sc.attribute(network(name), pictures(name), 1, layer=layer)
