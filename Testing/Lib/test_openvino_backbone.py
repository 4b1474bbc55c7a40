"""OpenVINO computes torch's features, is left out where it cannot, and is converted once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from CTGLIPLib import openvino_backbone
from CTGLIPLib.config import ModelConfig, PreprocessConfig
from CTGLIPLib.encode import stoppable
from CTGLIPLib.errors import Cancelled, ConfigError
from CTGLIPLib.inputs import InputOptions, load_input
from CTGLIPLib.model import GroundedEncoder
from CTGLIPLib.openvino_backbone import OpenVinoBackbone, use_openvino
from CTGLIPLib.predict import Predictor

pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
SHA = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds `network()`, converted."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTGLIP_OPENVINO", "on")
        patch.setenv("CTGLIP_CACHE", str(folder))
        assert isinstance(use_openvino(network(), SHA).backbone, OpenVinoBackbone)
    return folder


@pytest.fixture
def converted(kept: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A conversion that takes no time; the list grows with each."""
    import openvino

    (file,) = kept.rglob("backbone.xml")
    count: list[int] = []

    def convert(_backbone: object) -> openvino.Model:
        count.append(1)
        return openvino.Core().read_model(file)

    monkeypatch.setattr(openvino_backbone, "_convert", convert)
    return count


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CTGLIP_OPENVINO", "on")
    monkeypatch.setenv("CTGLIP_CACHE", str(tmp_path))
    return tmp_path


def network(seed: int = 0, backbone: str = "tiny") -> GroundedEncoder:
    torch.manual_seed(seed)
    return GroundedEncoder(ModelConfig(backbone, text_dim=8, hidden_dim=8), PreprocessConfig()).eval()


def features(model: GroundedEncoder, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.features(image)


def test_its_features_are_those_of_torch_whatever_the_size(kept, converted, monkeypatch):
    monkeypatch.setenv("CTGLIP_CACHE", str(kept))
    plain, fast = network(), use_openvino(network(), SHA)
    assert converted == [], "the network of an earlier process is taken from the cache"
    assert isinstance(fast.backbone, OpenVinoBackbone)
    images = [torch.rand(1, 1, *size) for size in ((48, 32, 33), (32, 48, 64))]
    found = [features(fast, image) for image in images]
    for image, values in zip(images, found, strict=True):
        torch.testing.assert_close(values, features(plain, image), atol=2e-3, rtol=1e-3)
    with pytest.raises(ConfigError, match="multiple"):
        fast.backbone(torch.rand(1, 1, 33, 32, 32))


def test_a_kept_network_of_other_weights_is_not_used(kept, monkeypatch, caplog):
    monkeypatch.setenv("CTGLIP_CACHE", str(kept))
    other = use_openvino(network(seed=2), SHA)
    assert not isinstance(other.backbone, OpenVinoBackbone)
    assert "other features than torch" in caplog.text


def test_a_damaged_kept_network_is_made_anew(cache, converted, caplog):
    use_openvino(network(), SHA)
    (file,) = cache.rglob("backbone.xml")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert isinstance(use_openvino(network(), SHA).backbone, OpenVinoBackbone)
    assert "Converting anew" in caplog.text
    assert isinstance(use_openvino(network(), SHA).backbone, OpenVinoBackbone)
    assert len(converted) == 2


@pytest.mark.usefixtures("converted")
def test_a_network_that_cannot_be_kept_is_used_all_the_same(cache, caplog):
    (cache / "openvino").write_text("a file where a folder should be")
    assert isinstance(use_openvino(network(), SHA).backbone, OpenVinoBackbone)
    assert "not kept" in caplog.text


def _switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTGLIP_OPENVINO", "off")


def _not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_backbone, "find_spec", lambda _name: None)


def _unable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_backbone: object) -> None:
        raise RuntimeError("an operation that OpenVINO does not know")

    monkeypatch.setattr(openvino_backbone, "_convert", fail)


@pytest.mark.parametrize("hindrance", [_switched_off, _not_installed, _unable])
def test_without_it_torch_computes(hindrance: Callable[[pytest.MonkeyPatch], None], monkeypatch):
    hindrance(monkeypatch)
    model = network()
    backbone = model.backbone
    assert use_openvino(model, SHA).backbone is backbone


@pytest.mark.usefixtures("converted")
def test_a_window_that_openvino_fails_at_is_computed_by_torch(monkeypatch, caplog):
    fast, image = use_openvino(network(), SHA), torch.rand(1, 1, 48, 32, 32)

    def fail(_backbone: object, _shape: object) -> None:
        raise RuntimeError("no memory for this shape")

    monkeypatch.setattr(OpenVinoBackbone, "_request", fail)
    assert torch.equal(features(fast, image), features(network(), image))
    assert "torch computes this window: no memory for this shape" in caplog.text


def test_a_transformer_stays_with_torch():
    model = network(backbone="mit-tiny")
    backbone = model.backbone
    assert use_openvino(model, SHA).backbone is backbone


@pytest.mark.usefixtures("converted")
def test_it_can_be_cancelled_within_a_window(monkeypatch):
    fast = use_openvino(network(), SHA)
    monkeypatch.setattr(openvino_backbone, "WAIT_MS", 0)
    asked: list[int] = []

    def stop_at_the_third_question(_what: str, _done: int, _total: int) -> bool:
        asked.append(1)
        return len(asked) < 3

    with (
        pytest.raises(Cancelled),
        torch.inference_mode(),
        stoppable(fast, stop_at_the_third_question, "encoding", 0, 1),
    ):
        fast.features(torch.rand(1, 1, 96, 96, 96))
    assert len(asked) == 3
    image = torch.rand(1, 1, 32, 32, 32)
    torch.testing.assert_close(features(fast, image), features(network(), image), atol=2e-3, rtol=1e-3)


def test_organs_of_a_real_ct_get_the_same_embeddings(data_folder, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    folder = data_folder / "chest_lidc_0001"
    options = InputOptions(names=folder / "structures.csv")
    found = []
    for switch in ("off", "on"):
        monkeypatch.setenv("CTGLIP_OPENVINO", switch)
        predictor = Predictor.from_pretrained()
        assert isinstance(predictor.network.backbone, OpenVinoBackbone) == (switch == "on")
        given = load_input(folder / "ct.nii.gz", folder / "seg_totalseg_v2.nii.gz", options)
        found.append(predictor.encode_input(given).embedding.embeddings)
    cosine = np.sum(found[0] * found[1], axis=1)
    assert np.isfinite(cosine).sum() == 87, "two of the 89 organs are too small"
    assert np.nanmin(cosine) > 0.9999
