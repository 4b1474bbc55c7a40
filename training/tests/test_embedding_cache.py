"""Embeddings on disk: what is kept, what is encoded anew, what a broken file does."""

from __future__ import annotations

import numpy as np
import pytest

from ctglip_training.embedding_cache import EmbeddingCache, identity
from ctglip_training.evaluate import PatientEmbeddings

SEEN = PatientEmbeddings(("liver", "aorta"), np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 3), np.float32))


class Network:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> PatientEmbeddings:
        self.asked += 1
        return SEEN


@pytest.fixture
def patient(tmp_path):
    path = tmp_path / "patient"
    path.mkdir()
    (path / "ct").write_bytes(b"voxels")
    return path


def test_a_patient_is_encoded_once_and_read_back_equal(patient, tmp_path):
    network = Network()
    for _ in range(2):
        found = EmbeddingCache(tmp_path / "kept", "abc").get(patient, network)
        assert found.organs == SEEN.organs
        assert np.array_equal(found.rows, SEEN.rows)
        assert found.body.shape == (0, 3)
    assert network.asked == 1


def test_another_network_or_other_voxels_are_encoded_anew(patient, tmp_path):
    network = Network()
    EmbeddingCache(tmp_path / "kept", "abc").get(patient, network)
    EmbeddingCache(tmp_path / "kept", "xyz").get(patient, network)
    (patient / "ct").write_bytes(b"others")
    EmbeddingCache(tmp_path / "kept", "abc").get(patient, network)
    assert network.asked == 3


def test_code_that_encodes_otherwise_encodes_anew(patient, tmp_path, monkeypatch):
    network = Network()
    EmbeddingCache(tmp_path / "kept", "abc").get(patient, network)
    monkeypatch.setattr("ctglip_training.embedding_cache.ENCODING_VERSION", 10_000)
    EmbeddingCache(tmp_path / "kept", "abc").get(patient, network)
    assert network.asked == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"nothing"])
def test_a_broken_file_is_encoded_anew_and_mended(patient, tmp_path, content):
    network, cache = Network(), EmbeddingCache(tmp_path / "kept", "abc")
    cache.get(patient, network)
    [kept] = (tmp_path / "kept").rglob("*.npz")
    kept.write_bytes(content)
    cache.get(patient, network)
    cache.get(patient, network)
    assert network.asked == 2


def test_a_file_and_a_folder_are_known_by_their_bytes_and_not_by_their_place(patient, tmp_path):
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    (copy / "ct").write_bytes(b"voxels")
    assert identity(copy) == identity(patient)
    assert identity(copy / "ct") == identity(patient / "ct") != identity(patient)
