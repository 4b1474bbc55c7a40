"""Answers of a language model on disk, so that a run that was stopped, or is repeated, does not pay twice.

A file holds one answer; its name is the hash of the model, the version of the prompt and every message. Guarded by
training/tests/test_pairs_llm.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ctglip_training.pairs.chat import ChatReply, Message
from CTGLIPLib.files import whole_file


class AnswerCache:
    """A folder of answers; safe to use from several threads and processes."""

    def __init__(self, folder: Path, model: str, version: str) -> None:
        self._folder = folder
        self._about = (model, version)

    def get(self, messages: Sequence[Message]) -> ChatReply | None:
        """The kept answer; None where there is none that can be read."""
        try:
            return ChatReply(**json.loads(self._path(messages).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, messages: Sequence[Message], reply: ChatReply) -> None:
        """Keep an answer.

        Raises:
            OutputError: if it cannot be written.
        """
        with whole_file(self._path(messages)) as temporary:
            temporary.write_text(json.dumps(asdict(reply)), encoding="utf-8")

    def _path(self, messages: Sequence[Message]) -> Path:
        content = json.dumps([*self._about, [dict(message) for message in messages]], sort_keys=True)
        name = hashlib.sha256(content.encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.json"
