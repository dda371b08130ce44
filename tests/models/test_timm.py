"""timm's classifiers, with miniatures of the caches they are published in; no network is touched."""

import re
import socket

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file

from saliscope.errors import DataError, ModelError
from saliscope.models.checkpoints import fingerprint
from saliscope.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from saliscope.models.timm_ import build_timm, is_timm, timm_names

SMALL, TAGGED = "test_resnet", "test_resnet.r160_in1k"
OLD, OLD_FILE = "lcnet_050.ra2_in1k", "lcnet_050-f447553b.pth"


def tried(*args, **kwargs):
    raise OSError("no network in tests")


@pytest.fixture
def caches(tmp_path, monkeypatch):
    for name in ("socket", "getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, tried)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    hub = tmp_path / "huggingface" / "hub"
    hub.mkdir(parents=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))
    return tmp_path


def snapshot(caches, repository, name="model.safetensors", state=None):
    """Lay a file out as the client library does: refs/main names the snapshot that holds it."""
    folder = caches / "huggingface" / "hub" / ("models--" + repository.replace("/", "--"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    file = folder / "snapshots" / commit / name
    (save_file if name.endswith("safetensors") else torch.save)(state, file)
    return file


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(5)
    return timm.create_model(SMALL).eval()


def test_names():
    assert {"resnet50", "mobilenetv2_100", "convnext_tiny"} <= set(timm_names())
    assert not any("." in name for name in timm_names())
    assert is_timm("resnet50.a1_in1k")
    assert is_timm("resnet50")
    assert not is_timm("resnet5000")


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("given", [SMALL, TAGGED])
def test_published_weights_from_a_snapshot(caches, trained, given, kind):
    snapshot(caches, f"timm/{TAGGED}", kind, trained.state_dict())
    source = build_timm(given)
    assert fingerprint(source.module) == fingerprint(trained)
    assert (source.name, source.weights) == (f"timm:{given}", TAGGED)
    assert source.labels[207] == "golden retriever"
    assert not source.module.training
    assert source.preprocessing == Preprocessing(
        (160, 160), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "crop", shorter=168
    )


def test_published_weights_from_torchs_cache(caches):
    torch.manual_seed(6)
    net = timm.create_model("lcnet_050")
    folder = caches / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(net.state_dict(), folder / OLD_FILE)
    source = build_timm(OLD)
    assert fingerprint(source.module) == fingerprint(net)
    assert source.preprocessing == Preprocessing(
        (224, 224), IMAGENET_MEAN, IMAGENET_STD, "crop", shorter=256, interpolation="bicubic"
    )


def test_no_download_possible(caches):
    hub = caches / "huggingface" / "hub"
    with pytest.raises(ModelError) as caught:
        build_timm(SMALL)
    message = str(caught.value)
    assert message.startswith(
        f"the weights of timm:{TAGGED} are not here and cannot be downloaded (ConnectError: no netw"
    )
    assert message.endswith(
        f"copy the cache folder models--timm--{TAGGED}, which holds model.safetensors, from a "
        f"machine that has it into {hub}, or give your own with --weights FILE "
        '(Python: weights="FILE"), or take random ones with --weights untrained'
    )
    assert message.count("\n") == 0


def test_a_broken_snapshot(caches, trained):
    file = snapshot(caches, f"timm/{TAGGED}", state=trained.state_dict())
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"model.safetensors is no safetensors file or was cut sho"):
        build_timm(SMALL)


def test_a_snapshot_of_another_network(caches):
    snapshot(caches, f"timm/{TAGGED}", state={"a": torch.ones(2)})
    with pytest.raises(DataError, match=f"does not load into timm:{TAGGED} .*: delete it to have"):
        build_timm(SMALL)


def test_a_file_of_120_classes(caches, tmp_path):
    torch.manual_seed(1)
    dogs = timm.create_model(SMALL, num_classes=120)
    save_file(dogs.state_dict(), tmp_path / "dogs.safetensors")
    source = build_timm(SMALL, tmp_path / "dogs.safetensors")
    assert fingerprint(source.module) == fingerprint(dogs)
    assert source.labels is None
    assert source.weights == "dogs.safetensors"
    with pytest.raises(DataError, match="build the network with num_classes=120"):
        build_timm(SMALL, tmp_path / "dogs.safetensors", num_classes=7)


def test_options_reach_timm(caches, tmp_path):
    plain = build_timm("mobilenetv2_100", "untrained", num_classes=3)
    same = build_timm("mobilenetv2_100", "untrained", num_classes=3, options={"pad_type": "same"})
    assert same.name == "timm:mobilenetv2_100:pad_type=same"
    assert type(same.module.conv_stem) is not type(plain.module.conv_stem)
    torch.save(same.module.state_dict(), tmp_path / "net.pt")
    again = build_timm("mobilenetv2_100", tmp_path / "net.pt", options={"pad_type": "same"})
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again.module(x), same.module(x))
    larger = build_timm("test_vit", "untrained", options={"img_size": 96})
    assert larger.preprocessing.size == (96, 96)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (SMALL, {"no_such_option": 1}, r"timm cannot build test_resnet with {'no_such_option': 1}"),
        ("test_resnt", {}, "no network is called 'test_resnt'; nearest: .*\"test_resnet\""),
        (
            "test_resnet.r161",
            {},
            "no network is called 'test_resnet.r161'; .*test_resnet.r160_in1k",
        ),
        (SMALL, {"num_classes": 0}, "timm:test_resnet has no classifier, it returns features"),
    ],
)
def test_what_timm_cannot_build(caches, name, options, message):
    with pytest.raises(ModelError, match=message):
        build_timm(name, "untrained", options=options)


def test_published_networks_that_do_not_classify(caches):
    with pytest.raises(
        ModelError, match=f"published weights of timm:{TAGGED} have 1000 classes, n"
    ):
        build_timm(SMALL, num_classes=4)
    with pytest.raises(ModelError, match=r"dinov2\.lvd142m has no classifier, it returns features"):
        build_timm("vit_small_patch14_dinov2")


def test_networks_without_published_weights(caches):
    bare = next(
        name
        for name in timm.list_models("vit_*")
        if not timm.models.get_pretrained_cfg(name).has_weights
        and timm.models.get_pretrained_cfg(name).num_classes
    )
    with pytest.raises(ModelError, match=r"\(none were published\): choose a network that has som"):
        build_timm(bare)


def test_files_that_timm_converts_keep_the_first_error(caches, tmp_path):
    torch.save({"a.weight": torch.ones(7, 3), "a.bias": torch.ones(7)}, tmp_path / "other.pt")
    with pytest.raises(DataError, match=r"other.pt does not fit ResNet: it lacks"):
        build_timm(SMALL, tmp_path / "other.pt")


def test_a_file_with_other_peoples_names(caches, tmp_path):
    """timm renames the tensors of the original ConvNeXt files; the copy it was given is let go of."""
    torch.manual_seed(3)
    net = timm.create_model(
        "convnext_atto", num_classes=3, depths=(1, 1, 1, 1), dims=(8, 8, 8, 8), conv_mlp=False
    )
    original = {}
    for key, value in net.state_dict().items():
        renamed = re.sub(r"stages\.(\d)\.blocks\.", r"stages.\1.", key)
        renamed = re.sub(r"stages\.(\d)\.downsample", r"downsample_layers.\1", renamed)
        for ours, theirs in [
            ("stem.", "downsample_layers.0."), ("conv_dw", "dwconv"), ("mlp.fc", "pwconv"),
            ("head.fc.", "head."), ("head.norm.", "norm."),
        ]:  # fmt: skip
            renamed = renamed.replace(ours, theirs)
        original[renamed] = value
    torch.save({"model": original}, tmp_path / "original.pth")
    options = {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8), "conv_mlp": False}
    source = build_timm("convnext_atto", tmp_path / "original.pth", options=options)
    assert fingerprint(source.module) == fingerprint(net)
    assert source.weights == "original.pth"
    assert "state_dict" not in source.module.pretrained_cfg
