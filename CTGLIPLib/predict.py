"""The pipeline: load -> organ masks -> preprocess -> encode -> pool per organ -> compare with prompts -> results.

    predictor = Predictor.from_pretrained()
    study = predictor.encode("ct.nii.gz", segmentation="organs.nii.gz")
    print(predictor.table(predictor.query(study, ["fatty liver", "left kidney"])))

torch is imported only when the network is needed: a question about a cached study does without it.
Research software, not a medical device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np

from CTGLIPLib.checkpoint import ModelFolder, load_network, read_text_mean
from CTGLIPLib.errors import InputError
from CTGLIPLib.geometry import same_grid
from CTGLIPLib.inputs import StudyInput, load_input
from CTGLIPLib.merge_organs import with_kidney_cysts
from CTGLIPLib.model_list import DEFAULT_MODEL, find_model
from CTGLIPLib.organ_geometry import OrganGeometry, measure_organs
from CTGLIPLib.organs import readable_name
from CTGLIPLib.preprocess import prepare
from CTGLIPLib.progress import ProgressCallback, report
from CTGLIPLib.query import answer_questions, prompts_for, recognise_organs
from CTGLIPLib.result_files import to_table
from CTGLIPLib.results import (
    ModelInfo,
    OrgansResult,
    OrganState,
    QueryAnswer,
    QueryResult,
    SegmentationInfo,
    StudyInfo,
)
from CTGLIPLib.segmentation_io import resample_segmentation
from CTGLIPLib.similarity import embed_texts
from CTGLIPLib.study import StudyEmbedding, content_sha256
from CTGLIPLib.study_cache import StudyCache
from CTGLIPLib.text_bank import CachedEncoder, open_text_encoder
from CTGLIPLib.volume import Segmentation, Volume

if TYPE_CHECKING:
    from CTGLIPLib.heatmap import Direction
    from CTGLIPLib.model import GroundedEncoder
    from CTGLIPLib.segment import OrganSegmenter

SegmenterName = Literal["totalsegmentator", "own"]
PREPARING = "preparing the scan"


@dataclass(frozen=True, eq=False)
class Study:
    """An encoded scan together with its voxels, for pictures and heat maps.

    Attributes:
        embedding: all that questions need; can be saved with `study.save_study`.
        volume: the CT.
        segmentation: the organs, on the CT's grid.
    """

    embedding: StudyEmbedding
    volume: Volume
    segmentation: Segmentation


class Predictor:
    """A loaded model that encodes scans and answers questions about them."""

    def __init__(self, folder: ModelFolder, device: str = "auto", text_folder: Path | None = None) -> None:
        self.folder = folder
        self.config = folder.config
        self.model = ModelInfo(folder.config.name, folder.sha256)
        self.device = device
        text = folder.config.text
        self.text_encoder: CachedEncoder = open_text_encoder(text.encoder, text_folder, revision=text.revision)

    @classmethod
    def from_pretrained(
        cls, name: str = DEFAULT_MODEL, device: str = "auto", text_folder: Path | None = None
    ) -> Predictor:
        """A predictor with the model of that name, or in that folder.

        Args:
            name: a name of `ctglip model list`, or a folder.
            device: "auto" (cuda, else mps, else cpu), or a torch device.
            text_folder: where the text encoder's files lie, instead of the hub.

        Raises:
            CheckpointError: if there is no such model or it is damaged.
        """
        return cls(find_model(name), device, text_folder)

    @cached_property
    def network(self) -> GroundedEncoder:
        """The network, loaded when it is first needed."""
        from CTGLIPLib.encode import choose_device
        from CTGLIPLib.openvino_backbone import use_openvino

        network = load_network(self.folder, str(choose_device(self.device)))
        return use_openvino(network, self.folder.sha256)

    def encode(
        self,
        ct: str | Path | Volume,
        segmentation: str | Path | Segmentation | None = None,
        segmenter: SegmenterName = "totalsegmentator",
        cache: StudyCache | None = None,
        progress: ProgressCallback | None = None,
    ) -> Study:
        """Encode a scan once; questions about it are then answered at once.

        Args:
            ct: file, DICOM folder, or volume in HU.
            segmentation: label map, folder of masks, or segmentation; None runs `segmenter`.
            segmenter: "totalsegmentator", or "own" for the model's own segmentation head.
            cache: where encoded studies are kept; None keeps nothing.
            progress: told how far it is; answers False to cancel.

        Raises:
            CTGLIPError: for broken or doubtful input (see errors.py), or Cancelled.
        """
        return self.encode_input(load_input(ct, segmentation), segmenter, cache, progress)

    def encode_input(
        self,
        given: StudyInput,
        segmenter: SegmenterName = "totalsegmentator",
        cache: StudyCache | None = None,
        progress: ProgressCallback | None = None,
    ) -> Study:
        """The same for inputs that were loaded with options of their own (series, name list); see `inputs`."""
        volume = given.volume
        segmentation = given.segmentation or self._find_organs(volume, segmenter, progress)
        content = content_sha256(volume, segmentation)
        embedding = cache.load(content, self.model) if cache else None
        if embedding is not None:  # the same content may come under another name now
            embedding = replace(embedding, **_provenance(given, segmentation))
        else:
            embedding = self._embed(given, segmentation, content, progress)
            if cache:
                cache.save(embedding)
        on_ct = (
            segmentation
            if same_grid(segmentation.grid, volume.grid)
            else resample_segmentation(segmentation, volume.grid)
        )
        return Study(embedding, volume, on_ct)

    def query(
        self, study: Study | StudyEmbedding, texts: Sequence[str], progress: ProgressCallback | None = None
    ) -> QueryResult:
        """Answers to questions in plain words.

        Raises:
            InputError: if a text is empty or asks nothing.
            Cancelled: if `progress` asks to stop.
        """
        return answer_questions(_embedding(study), texts, self.text_encoder, progress)

    def organs(self, study: Study | StudyEmbedding) -> OrgansResult:
        """Zero-shot recognition of every organ over the 104 names."""
        return recognise_organs(_embedding(study), self.text_encoder)

    def heatmap(self, study: Study, text: str, progress: ProgressCallback | None = None) -> np.ndarray:
        """Similarity of the text with every voxel of the organs asked, float32 on the CT's grid, NaN elsewhere.

        For a finding it is the similarity with its positive minus that with its negative prompts. A text that asks
        several things is answered for the first.

        Raises:
            InputError: if none of the organs asked is in the scan.
        """
        return self.heatmap_of(study, self.query(study, [text]).queries[0], progress)

    def heatmap_of(self, study: Study, answer: QueryAnswer, progress: ProgressCallback | None = None) -> np.ndarray:
        """The same for a question that was answered already."""
        organs = tuple(row.organ for row in answer.organs if row.is_scored)
        if not organs:
            asked = ", ".join(readable_name(organ) for organ in answer.organs_asked)
            msg = f"{answer.text!r} asks about {asked}, which this scan does not show. Ask about an organ of the scan."
            raise InputError(msg)
        report(progress, PREPARING, 0, 1)
        from CTGLIPLib.heatmap import on_grid, organ_heat

        directions = {organ: self._direction(study, organ, answer) for organ in organs}
        prepared = prepare(study.volume, study.segmentation, self.config.preprocess)
        report(progress, PREPARING, 1, 1)
        heat = organ_heat(self.network, prepared, self.config.preprocess, directions, progress)
        return on_grid(heat, prepared.grid, with_kidney_cysts(study.segmentation), organs)

    @staticmethod
    def table(result: QueryResult | OrgansResult, width: int = 100) -> str:
        """The result as a table for people."""
        return to_table(result, width)

    def _find_organs(self, volume: Volume, name: SegmenterName, progress: ProgressCallback | None) -> Segmentation:
        report(progress, "finding organs", 0, 1)
        segmentation = self._segmenter(name)(volume, progress)
        report(progress, "finding organs", 1, 1)
        return segmentation

    def _segmenter(self, name: SegmenterName) -> OrganSegmenter:
        from CTGLIPLib.segment import SegmenterOptions, build_segmenter

        network = self.network if name == "own" else None  # TotalSegmentator needs none, and loading it takes time
        return build_segmenter(name, SegmenterOptions(self.device, network=network, config=self.config))

    def _embed(
        self, given: StudyInput, segmentation: Segmentation, content: str, progress: ProgressCallback | None
    ) -> StudyEmbedding:
        report(progress, PREPARING, 0, 1)
        from CTGLIPLib.encode import encode_organs

        prepared = prepare(given.volume, segmentation, self.config.preprocess)
        network = self.network
        report(progress, PREPARING, 1, 1)
        embeddings = encode_organs(network, prepared, self.config.preprocess, progress)
        measured = measure_organs(segmentation)
        states = _states(measured, prepared.geometry.voxels, self.config.preprocess.min_organ_voxels)
        embeddings[[state in ("absent", "too_small") for state in states]] = np.nan
        return StudyEmbedding(
            **_provenance(given, segmentation),
            model=self.model,
            content_sha256=content,
            organs=segmentation.names,
            states=states,
            volume_ml=measured.volume_ml,
            centroid_ras_mm=measured.centroid_ras_mm,
            embeddings=embeddings,
            text_mean=read_text_mean(self.folder),
            text=self.config.text,
            score=self.config.score,
        )

    def _direction(self, study: Study, organ: str, answer: QueryAnswer) -> Direction:
        """What a neighbourhood of an organ is compared with."""
        from CTGLIPLib.heatmap import Direction

        def mean_embedding(texts: Sequence[str]) -> np.ndarray:
            return embed_texts(self.text_encoder, texts, study.embedding.text_mean).mean(axis=0)

        if answer.kind == "organ":
            plus = mean_embedding(answer.positive_prompts)
            return Direction(plus, np.zeros_like(plus))
        prompts = prompts_for(answer.finding, answer.phrase, organ)
        return Direction(mean_embedding(prompts.positive), mean_embedding(prompts.negative))


class _Provenance(TypedDict):
    study: StudyInfo
    segmentation: SegmentationInfo


def _provenance(given: StudyInput, segmentation: Segmentation) -> _Provenance:
    """Where a study's scan and organs come from, as results tell it."""
    return {
        "study": StudyInfo.of(given.name, given.volume.grid, given.warnings),
        "segmentation": SegmentationInfo(segmentation.source, segmentation.vocabulary),
    }


def _embedding(study: Study | StudyEmbedding) -> StudyEmbedding:
    return study.embedding if isinstance(study, Study) else study


def _states(measured: OrganGeometry, model_voxels: np.ndarray, min_voxels: int) -> tuple[OrganState, ...]:
    """State of each organ: absent without voxels, too small at the network's spacing, cut by the scan, or present."""
    states: list[OrganState] = []
    for voxels, seen, cut in zip(measured.voxels, model_voxels, measured.cut, strict=True):
        if voxels == 0:
            states.append("absent")
        elif seen < min_voxels:
            states.append("too_small")
        else:
            states.append("cut" if cut else "present")
    return tuple(states)
