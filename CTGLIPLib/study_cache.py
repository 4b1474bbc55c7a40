"""Encoded studies kept on disk, found again by the content of CT and masks and by the model."""

from __future__ import annotations

import logging
from pathlib import Path

from CTGLIPLib.errors import CheckpointError, OutputError
from CTGLIPLib.results import ModelInfo
from CTGLIPLib.study import SUFFIX, StudyEmbedding, load_study, save_study
from CTGLIPLib.text_bank import cache_root

logger = logging.getLogger(__name__)


class StudyCache:
    """A folder of study files named by what they depend on.

    Args:
        folder: None is the folder `studies` of `text_bank.cache_root`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_root() / "studies"

    def path(self, content_sha256: str, model: ModelInfo) -> Path:
        """Where the study of that content by that model is kept."""
        return self.folder / f"{content_sha256[:24]}-{model.sha256[:24]}{SUFFIX}"

    def load(self, content_sha256: str, model: ModelInfo) -> StudyEmbedding | None:
        """The study of that content by that model, or None; a file that holds another one is not used."""
        path = self.path(content_sha256, model)
        if not path.exists():
            return None
        try:
            study = load_study(path)
        except CheckpointError as error:
            logger.warning("Encoding anew: %s", error)
            return None
        if study.content_sha256 != content_sha256 or study.model.sha256 != model.sha256:
            logger.warning("Encoding anew: %s belongs to another scan or model.", path)
            return None
        return study

    def save(self, study: StudyEmbedding) -> None:
        """Keep a study; a cache that cannot be written is done without."""
        try:
            save_study(study, self.path(study.content_sha256, study.model))
        except OutputError as error:
            logger.warning("The encoded study was not kept: %s", error)
