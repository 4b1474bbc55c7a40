"""The study file: what the network made of one scan, enough to answer any further question without the CT."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CTGLIPLib.config import ScoreConfig, TextConfig, from_dict, to_dict
from CTGLIPLib.errors import CheckpointError, ConfigError
from CTGLIPLib.files import whole_file
from CTGLIPLib.geometry import Grid
from CTGLIPLib.results import ModelInfo, OrganState, SegmentationInfo, StudyInfo
from CTGLIPLib.volume import Segmentation, Volume

SCHEMA_VERSION = 1
SUFFIX = ".ctglip"
ENCODING_VERSION = 3
"""Raised when the same CT, masks and model give other embeddings than before: kept studies are then encoded anew."""


ARRAYS = ("volume_ml", "centroid_ras_mm", "embeddings", "text_mean")
_BROKEN = (
    OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error,
    ConfigError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class StudyEmbedding:
    """Organ embeddings of one scan, with what the answers need to say where they come from.

    Attributes:
        study, model, segmentation: as they appear in results.
        content_sha256: hash of the CT's and the masks' voxels and grids.
        organs: names of the organs of the segmentation.
        states: state of each.
        volume_ml: float64, shape (organ,), of the mask on its own grid.
        centroid_ras_mm: float64, shape (organ, 3).
        embeddings: float32, unit norm, shape (organ, dim); NaN where the organ was not measured.
        text_mean: float32, shape (dim,), subtracted from text embeddings before they are compared.
        text: the text encoder that the model was trained with.
        score: how similarities become scores and answers.
    """

    study: StudyInfo
    model: ModelInfo
    segmentation: SegmentationInfo
    content_sha256: str
    organs: tuple[str, ...]
    states: tuple[OrganState, ...]
    volume_ml: np.ndarray
    centroid_ras_mm: np.ndarray
    embeddings: np.ndarray
    text_mean: np.ndarray
    text: TextConfig
    score: ScoreConfig


def content_sha256(volume: Volume, segmentation: Segmentation) -> str:
    """Hash of everything that the organ embeddings depend on besides the model."""
    digest = hashlib.sha256(f"encoding {ENCODING_VERSION}".encode())
    grids: tuple[Grid, ...] = (volume.grid, segmentation.grid)
    for grid in grids:
        digest.update(np.array(grid.shape_ijk).tobytes() + (np.round(grid.affine, 6) + 0.0).tobytes())
    for array in (volume.array, *segmentation.layers):
        digest.update(str(array.dtype).encode())
        for slab in array.T:  # i fastest, as files have it: not copied then, eight times as fast
            digest.update(np.ascontiguousarray(slab).data)
    digest.update(json.dumps(segmentation.names).encode())
    return digest.hexdigest()


def save_study(study: StudyEmbedding, path: Path) -> None:
    """Write a study file (a zip of numpy arrays and one JSON text; no pickle), whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    facts = {
        "schema_version": SCHEMA_VERSION,
        "study": dataclasses.asdict(study.study),
        "model": dataclasses.asdict(study.model),
        "segmentation": dataclasses.asdict(study.segmentation),
        "content_sha256": study.content_sha256,
        "organs": study.organs,
        "states": study.states,
        "text": to_dict(study.text),
        "score": to_dict(study.score),
    }
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8),
            **{name: getattr(study, name) for name in ARRAYS},
        )


def load_study(path: Path) -> StudyEmbedding:
    """Read a study file.

    Raises:
        CheckpointError: if it is missing, no study file, damaged, or of a newer schema.
    """
    if not path.is_file():
        msg = f"There is no study file {path}. Check the name, or write it with `ctglip encode`."
        raise CheckpointError(msg)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            if facts["schema_version"] > SCHEMA_VERSION:
                msg = (
                    f"{path} has study schema {facts['schema_version']}, but this CT-GLIP reads up to "
                    f"{SCHEMA_VERSION}. Update CT-GLIP."
                )
                raise CheckpointError(msg)
            return _build(facts, {name: file[name] for name in ARRAYS})
    except _BROKEN as error:
        msg = f"Expected a study file written by `ctglip encode` at {path}, got {error!r}. Encode the CT again."
        raise CheckpointError(msg) from error


def require_model(study: StudyEmbedding, model: ModelInfo) -> None:
    """Refuse a study that another model encoded.

    Raises:
        CheckpointError: naming both models.
    """
    if study.model.sha256 != model.sha256:
        msg = (
            f"The study was encoded by model {study.model.name} ({study.model.sha256[:12]}), "
            f"but model {model.name} ({model.sha256[:12]}) is asked. Encode the CT again with it."
        )
        raise CheckpointError(msg)


def is_study_file(path: Path) -> bool:
    """Whether a path looks like a study file, by its ending."""
    return path.suffix == SUFFIX


def _build(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> StudyEmbedding:
    """The study of a file's content.

    Raises:
        ValueError, KeyError, TypeError, ConfigError: if parts are missing, or do not fit each other.
    """
    organs, dim = len(facts["organs"]), len(arrays["text_mean"])
    expected = {
        "volume_ml": (organs,),
        "centroid_ras_mm": (organs, 3),
        "embeddings": (organs, dim),
        "text_mean": (dim,),
    }
    shapes = {name: array.shape for name, array in arrays.items()}
    if shapes != expected or len(facts["states"]) != organs:
        msg = f"arrays that do not fit each other: {shapes}"
        raise ValueError(msg)
    return StudyEmbedding(
        study=StudyInfo(**_tuples(facts["study"])),
        model=ModelInfo(**facts["model"]),
        segmentation=SegmentationInfo(**facts["segmentation"]),
        content_sha256=facts["content_sha256"],
        organs=tuple(facts["organs"]),
        states=tuple(facts["states"]),
        text=from_dict(TextConfig, facts["text"]),
        score=from_dict(ScoreConfig, facts["score"]),
        **arrays,
    )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    def freeze(value: object) -> object:
        return tuple(freeze(item) for item in value) if isinstance(value, list) else value

    return {key: freeze(value) for key, value in values.items()}
