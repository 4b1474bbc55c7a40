"""Embeddings of patients kept on disk, so that no evaluation encodes what an earlier one has.

A patient is known by its files' bytes, a network by the SHA-256 of its weights and configuration, the code by
`study.ENCODING_VERSION`: another of any is encoded anew. Guard: test_embedding_cache.py.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ctglip_training.evaluate import PatientEmbeddings
from CTGLIPLib.files import sha256_of, whole_file
from CTGLIPLib.study import ENCODING_VERSION

LETTERS = 16
"""Letters of a hash that name a file."""


class EmbeddingCache:
    """A folder of embeddings by one network.

    Args:
        folder: where they are kept.
        network: what tells the network from others.
    """

    def __init__(self, folder: Path, network: str) -> None:
        self._folder = folder / f"{network[:LETTERS]}-{ENCODING_VERSION}"

    def get(self, patient: Path, embed: Callable[[], PatientEmbeddings]) -> PatientEmbeddings:
        """The patient's embeddings, from disk where they are there and whole, else of `embed`, and then kept.

        Args:
            patient: the patient's file, or the folder of its files.
            embed: asks the network.

        Raises:
            OutputError: if they cannot be kept.
        """
        path = self._folder / f"{identity(patient)[:LETTERS]}.npz"
        kept = _read(path)
        if kept is None:
            kept = embed()
            _write(kept, path)
        return kept


def identity(path: Path) -> str:
    """A hash of a file, or of the names and bytes of a folder's files."""
    if path.is_file():
        return sha256_of(path)
    inside = [(part.relative_to(path).as_posix(), part) for part in sorted(path.rglob("*")) if part.is_file()]
    return hashlib.sha256("\n".join(f"{name} {sha256_of(part)}" for name, part in inside).encode()).hexdigest()


def _write(seen: PatientEmbeddings, path: Path) -> None:
    facts = json.dumps({"organs": seen.organs})
    with whole_file(path) as temporary:
        np.savez(temporary, rows=seen.rows, body=seen.body, facts=np.frombuffer(facts.encode(), dtype=np.uint8))


def _read(path: Path) -> PatientEmbeddings | None:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            return PatientEmbeddings(tuple(facts["organs"]), file["rows"], file["body"])
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error):
        return None  # never written, or broken: encoded anew
