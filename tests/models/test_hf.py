"""Image classifiers of transformers, from local folders and a miniature of the cache; no network is touched."""

import json
import logging
import socket
import sys

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from saliscope.errors import DependencyError, ModelError, OptionError
from saliscope.models.checkpoints import fingerprint
from saliscope.models.hf import build_hf
from saliscope.models.preprocessing import Preprocessing
from saliscope.models.sources import build

LABELS = {0: "cat", 1: "dog", 2: "owl", 3: "emu", 4: "ant", 5: "bee", 6: "cow", 7: "hen", 8: "ape", 9: "pig", 10: "yak"}  # fmt: skip


@pytest.fixture(autouse=True)
def attempts(monkeypatch):
    """No network: what tries to use it is noted, and gets an OSError."""
    tried = []

    def refuse(*args, **kwargs):
        tried.append(args)
        raise OSError("no network in tests")

    for name in ("socket", "getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    # Else the client library asks once a process which agents there are, for its own statistics.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    return tried


@pytest.fixture
def hub(tmp_path, monkeypatch):
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


def quiet(save, *args):
    transformers.utils.logging.disable_progress_bar()
    save(*args)
    transformers.utils.logging.enable_progress_bar()


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(4)
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        image_size=32, patch_size=16, id2label=LABELS, label2id={v: k for k, v in LABELS.items()},
    )  # fmt: skip
    return transformers.ViTForImageClassification(config).eval()


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(4)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3
    )
    return transformers.ResNetForImageClassification(config).eval()


PROCESSORS = {
    "vit": transformers.ViTImageProcessor(size={"height": 32, "width": 32}),
    "deit": transformers.DeiTImageProcessor(
        size={"height": 40, "width": 40}, crop_size={"height": 32, "width": 32}
    ),
    "convnext": transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875),
    "convnext large": transformers.ConvNextImageProcessor(size={"shortest_edge": 384}),
    "mobilenet": transformers.MobileNetV2ImageProcessor(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}
    ),
    "plain": transformers.ViTImageProcessor(
        size={"height": 16, "width": 24}, do_normalize=False, resample=3
    ),
}


def save(folder, module, processor=None):
    quiet(module.save_pretrained, folder)
    (processor or PROCESSORS["vit"]).save_pretrained(folder)
    return folder


def test_a_local_folder(vit, tmp_path, attempts):
    folder = save(tmp_path / "tiny", vit)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    source = build_hf(str(folder))
    assert torch.equal(before, torch.get_rng_state())
    assert fingerprint(source.module) == fingerprint(vit)
    assert source.labels == tuple(LABELS.values())  # by number: 10 comes after 9
    assert (source.name, source.weights) == ("hf:tiny", "tiny")
    assert source.preprocessing == Preprocessing((32, 32), (0.5,) * 3, (0.5,) * 3, "squash")
    assert not source.module.training
    assert build(f"hf:{folder}").name == "hf:tiny"
    assert attempts == []


def test_it_is_quiet(vit, tmp_path, capfd):
    folder = save(tmp_path / "tiny", vit)
    log, level = transformers.utils.logging, transformers.utils.logging.get_verbosity()
    build_hf(str(folder))
    assert capfd.readouterr() == ("", "")
    assert log.is_progress_bar_enabled()
    assert log.get_verbosity() == level


def test_a_snapshot_in_the_cache(resnet, hub, attempts):
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = hub / "models--somebody--tiny-resnet"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    save(folder / "snapshots" / commit, resnet, PROCESSORS["convnext"])
    source = build_hf("somebody/tiny-resnet")
    assert fingerprint(source.module) == fingerprint(resnet)
    assert source.name == "hf:somebody/tiny-resnet"
    assert source.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert attempts == []


def test_no_download_possible(hub, attempts):
    with pytest.raises(ModelError) as caught:
        build("hf:somebody/absent")
    assert str(caught.value) == (
        "the weights of hf:somebody/absent are not here and cannot be downloaded (ConnectError: no "
        "network in tests): copy the cache folder models--somebody--absent, which holds "
        f"model.safetensors, from a machine that has it into {hub}, or give a local folder as "
        "hf:FOLDER"
    )
    assert len(attempts) <= 3  # no minute of retries


@pytest.mark.parametrize("size", [(53, 91), (77, 41), (32, 32), (20, 27)])
@pytest.mark.parametrize("kind", PROCESSORS)
def test_preprocessing_equals_the_image_processor(vit, tmp_path_factory, kind, size):
    folder = tmp_path_factory.mktemp("hf")
    processor = PROCESSORS[kind]
    source = build_hf(str(save(folder / "net", vit, processor)))
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC))
    ours, _ = source.preprocessing(pixels)
    reference = processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
    assert ours.shape == reference.shape
    std = np.array(source.preprocessing.std)[:, None, None]

    def gap(rows, columns):
        """Largest difference in grey levels after moving theirs; the outermost rows and columns aside."""
        moved = np.roll(reference, (rows, columns), (1, 2))
        return float((np.abs(ours - moved) * std * 255)[:, 2:-2, 2:-2].max())

    # Torch's filters round otherwise than Pillow's, and an odd cut sits a pixel before or after.
    odd = kind in ("convnext", "mobilenet")
    assert min([gap(0, 0), gap(-1, 0), gap(0, -1)] if odd else [gap(0, 0)]) <= 2.01


def changed(folder, **entries):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"rescale_factor": 1 / 127.5}, r"rescale_factor=0\.0078.*, which no Preprocessing equals"),
        ({"do_rescale": False}, "do_rescale=False, which no Preprocessing equals"),
        ({"include_top": True}, "include_top=True, which no Preprocessing equals"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order=True, which no Preprocessing"),
        ({"rescale_offset": True}, "rescale_offset=True, which no Preprocessing equals"),
        ({"resample": 4}, "resample=4"),
    ],
)
def test_image_processors_that_no_preprocessing_equals(vit, tmp_path, entries, message):
    folder = save(tmp_path / "tiny", vit)
    changed(folder, **entries)
    with pytest.raises(OptionError, match=message):
        build_hf(str(folder))


def test_networks_that_do_not_classify(vit, tmp_path):
    bare = save(tmp_path / "bare", vit.vit)
    message = "bare is no trained classifier, its weights lack classifier.bias, classifier.weight: "
    with pytest.raises(ModelError, match=message):
        build_hf(str(bare))
    quiet(transformers.BertConfig().save_pretrained, tmp_path / "text")
    with pytest.raises(ModelError, match="text is no image classifier of transformers"):
        build_hf(str(tmp_path / "text"))


def test_broken_folders(vit, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match=r"empty is no image classifier of transformers \(Unrec"):
        build_hf(str(empty))
    lacking = save(tmp_path / "lacking", vit)
    (lacking / "model.safetensors").unlink()
    with pytest.raises(
        ModelError, match=r"lacking cannot be loaded .* must hold config.json, model."
    ):
        build_hf(str(lacking))
    folder = save(tmp_path / "cut", vit)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ModelError, match=r"cut is no image classifier of transformers \(.*header"):
        build_hf(str(folder))


def test_code_in_a_folder_is_not_run(vit, tmp_path):
    """A configuration may name Python files of the folder: they stay unread, and nobody is asked."""
    folder = save(tmp_path / "own_code", vit)
    mark = tmp_path / "was here"
    (folder / "net.py").write_text(f"open({str(mark)!r}, 'w').close()")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own_code",
        "auto_map": {
            "AutoConfig": "net.Config",
            "AutoModelForImageClassification": "net.Net",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="own_code is no image classifier of transformers"):
        build_hf(str(folder))
    assert not mark.exists()


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DependencyError, match=r'hf:a/b needs .*pip install "saliscope\[hf\]"'):
        build_hf("a/b")


def test_other_logging_is_left_alone(vit, tmp_path):
    folder = save(tmp_path / "tiny", vit)
    root = logging.getLogger().level
    build_hf(str(folder))
    assert logging.getLogger().level == root
