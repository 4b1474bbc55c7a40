"""Text embeddings on disk, so that a run that resumes, and the next run, need no text encoder.

A folder for each encoder, named by its fingerprint, holds files of some thousand embeddings each (float32, the keys are
the texts' SHA-256, never the texts). A file is written once and whole, so processes never wait for each other. Guarded
by training/tests/test_text_files.py.
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from CTGLIPLib.errors import OutputError
from CTGLIPLib.files import whole_file

logger = logging.getLogger(__name__)


class EmbeddingFiles:
    """The embeddings of one encoder in a folder; files that cannot be read are passed over, and made again.

    Args:
        folder: of all encoders.
        fingerprint: of this one.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder / fingerprint[:32]

    def read(self) -> dict[bytes, np.ndarray]:
        """Key of a text -> its embedding, float32, shape (dim,)."""
        known: dict[bytes, np.ndarray] = {}
        for path in sorted(self._folder.glob("*.npz")):
            try:
                with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                    keys, rows = file["keys"], file["embeddings"]
                known.update(zip((key.tobytes() for key in keys), rows, strict=True))
            except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
                logger.warning("Text embeddings are made again, for %s cannot be read: %s", path, error)
        return known

    def add(self, rows: Mapping[bytes, np.ndarray]) -> None:
        """Keep further embeddings; where the folder cannot be written they are done without."""
        name = hashlib.sha256(b"".join(sorted(rows))).hexdigest()[:20]
        try:
            with whole_file(self._folder / f"{name}.npz") as temporary, temporary.open("wb") as stream:
                keys = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), -1)
                np.savez(stream, keys=keys, embeddings=np.stack(list(rows.values())).astype(np.float32))
        except OutputError as error:
            logger.warning("Text embeddings were not kept: %s", error)


def text_key(text: str) -> bytes:
    """What an embedding is kept under."""
    return hashlib.sha256(text.encode()).digest()
