"""Frozen text encoders: sentences in, embeddings out, whatever the model behind them.

Conventions (guarded by Testing/Lib/test_text.py):
- An embedding is float32 with unit norm: the masked mean of the last layer, or its first token ("cls").
- The answer for a sentence depends on neither its neighbours in the batch nor on padding.
- torch and transformers are imported when an encoder is made, not with this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from CTGLIPLib.errors import InputError
from CTGLIPLib.text_source import EncoderSource, encoder_source, require_transformers

BATCH = 64


@runtime_checkable
class TextEncoder(Protocol):
    """What turns sentences into embeddings.

    Attributes:
        name: what `encoder_source` was asked for ("minilm", "owner/name").
        revision: the version of the weights.
        dim: length of an embedding.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def revision(self) -> str: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings, float32, unit norm, shape (text, dim)."""
        ...


@runtime_checkable
class FingerprintedEncoder(TextEncoder, Protocol):
    """A text encoder whose embeddings can be kept under its fingerprint.

    Attributes:
        fingerprint: equal for two encoders only if they give the same embeddings.
    """

    @property
    def fingerprint(self) -> str: ...  # noqa: D102


def load_text_encoder(spec: str, folder: Path | None = None, device: str = "cpu") -> HuggingFaceEncoder:
    """The text encoder that `spec` names, loaded and frozen.

    Raises:
        ConfigError: as `encoder_source`.
        InputError, DependencyError: as `HuggingFaceEncoder`.
    """
    return HuggingFaceEncoder(encoder_source(spec, folder), device)


class HuggingFaceEncoder:
    """A transformer of the Hugging Face kind, in evaluation mode, without gradients.

    Raises:
        InputError: if the files are not those of a text encoder, or weights are missing in them.
        DependencyError: if transformers, the package of weights, or the hub cannot be had.
    """

    def __init__(self, source: EncoderSource, device: str = "cpu") -> None:
        require_transformers()
        from transformers import AutoModel, AutoTokenizer

        files = source.files()
        try:
            with _quiet_loading():
                self._tokenizer = AutoTokenizer.from_pretrained(files, local_files_only=True)
                model, report = AutoModel.from_pretrained(files, local_files_only=True, output_loading_info=True)
        except Exception as error:  # transformers, tokenizers and safetensors each raise their own
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            msg = f"{files} does not hold a text encoder that can be read: {reason} Give the folder of a whole one."
            raise InputError(msg) from error
        missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
        if missing:
            msg = (
                f"The weights in {files} lack {len(missing)} parts that config.json asks for, such as {missing[0]}. "
                "Get the encoder's files again."
            )
            raise InputError(msg)
        self.name, self.revision = source.name, source.revision
        self.fingerprint = source.fingerprint()
        self.dim = int(model.config.hidden_size)
        self._pooling = source.pooling_of(files)
        self._max_length = min(source.max_length, getattr(model.config, "max_position_embeddings", source.max_length))
        self._model = model.to(device).eval().requires_grad_(requires_grad=False)
        self._device = device

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings, float32, unit norm, shape (text, dim)."""
        embeddings = np.empty((len(texts), self.dim), dtype=np.float32)
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(texts), BATCH):
            chosen = by_length[start : start + BATCH]
            embeddings[chosen] = self._encode_batch([texts[index] for index in chosen])
        return embeddings

    def _encode_batch(self, texts: list[str]) -> np.ndarray:
        import torch

        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._max_length, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            hidden = self._model(**tokens).last_hidden_state.float()
            if self._pooling == "cls":
                pooled = hidden[:, 0]
            else:
                mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
            return torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()


@contextmanager
def _quiet_loading() -> Iterator[None]:
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
