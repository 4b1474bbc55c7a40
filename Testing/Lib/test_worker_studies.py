"""Studies that the worker holds: known again by their files, in memory and on disk."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from patient import CONFIG, make_model, make_patient

from CTGLIPLib.errors import Cancelled, CheckpointError, InputError
from CTGLIPLib.geometry import same_grid
from CTGLIPLib.io import write_volume
from CTGLIPLib.predict import Predictor
from CTGLIPLib.segmentation_io import read_segmentation
from CTGLIPLib.study_cache import StudyCache
from CTGLIPLib.worker_requests import StudyRequest
from CTGLIPLib.worker_studies import KEPT, Studies

ASKED = ("fatty liver",)


@pytest.fixture
def files(patient: Path, tmp_path: Path) -> Path:
    """The patient's files, free to be changed."""
    return Path(shutil.copytree(patient, tmp_path / "patient"))


@pytest.fixture
def scan(files: Path, tiny_model: Path) -> StudyRequest:
    return StudyRequest(files / "ct.nii.gz", files / "organs.nii.gz", model=str(tiny_model), device="cpu")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was encoded, in order: the names of the scans' files."""
    names: list[str] = []
    embed = Predictor._embed

    def counted(self, given, *rest):
        names.append(given.name)
        return embed(self, given, *rest)

    monkeypatch.setattr(Predictor, "_embed", counted)
    return names


@pytest.fixture
def studies(own_cache: Path) -> Studies:
    return Studies(StudyCache(own_cache / "studies"))


def test_a_study_is_read_once_and_answers_under_each_name(studies, scan, monkeypatch):
    first = studies.open(scan, ASKED)
    monkeypatch.setattr("CTGLIPLib.worker_studies.load_input", None)
    again = studies.open(replace(scan, name="Series / 4"), ASKED)
    assert again.predictor is first.predictor
    assert again.study.volume is first.study.volume
    assert (first.study.embedding.study.name, again.study.embedding.study.name) == ("ct.nii.gz", "Series _ 4")
    assert first.organs_path is None


def test_changed_files_and_names_make_another_study(studies, scan, files):
    first = studies.open(scan, ASKED).study
    names = (files / "organs.json").read_text()
    (files / "organs.json").write_text(names.replace('"spleen"', '"stomach"'))
    renamed = studies.open(scan, ASKED).study
    assert ("spleen" in first.embedding.organs, "spleen" in renamed.embedding.organs) == (True, False)
    (files / "ct.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        studies.open(scan, ASKED)


def test_only_the_last_studies_stay_in_memory_and_the_disk_knows_the_others(studies, scan, files, encoded):
    copies = [shutil.copy(files / "ct.nii.gz", files / f"ct{number}.nii.gz") for number in range(KEPT + 1)]
    opened = [studies.open(replace(scan, ct=Path(copy)), ASKED) for copy in copies]
    again = studies.open(replace(scan, ct=Path(copies[0])), ASKED)
    assert again.study.volume is not opened[0].study.volume
    last = studies.open(replace(scan, ct=Path(copies[-1])), ASKED)
    assert last.study.volume is opened[-1].study.volume
    assert encoded == ["ct0.nii.gz"]  # one content: the others came from the disk


def test_a_model_is_loaded_again_when_its_files_change_and_the_study_encoded_anew(studies, scan, tmp_path, encoded):
    make_model(tmp_path / "model")
    asked = replace(scan, model=str(tmp_path / "model"))
    first = studies.open(asked, ASKED)
    assert studies.predictor(asked) is first.predictor
    make_model(tmp_path / "model", CONFIG, seed=2)
    second = studies.open(asked, ASKED)
    assert second.predictor.model.sha256 != first.predictor.model.sha256
    assert len(encoded) == 2
    with pytest.raises(CheckpointError, match="no model"):
        studies.open(replace(scan, model="nothing"), ASKED)


def test_found_organs_are_written_once_and_the_study_is_known_by_their_file(studies, scan, tmp_path, monkeypatch):
    _, organs = make_patient()
    monkeypatch.setattr(Predictor, "_segmenter", lambda _self, _name: lambda _volume, _progress: organs)
    path = tmp_path / "out" / "found.seg.nrrd"
    asked = replace(scan, segmentation=None, organs_path=path)
    first = studies.open(asked, ASKED)
    written = path.stat().st_mtime_ns
    found = read_segmentation(path).segmentation
    assert first.organs_path == path
    assert found.names == organs.names
    assert same_grid(found.grid, first.study.volume.grid)
    np.testing.assert_array_equal(found.layers, organs.layers)
    assert studies.open(asked, ASKED).organs_path == path
    assert path.stat().st_mtime_ns == written
    by_file = studies.open(replace(scan, segmentation=path), ASKED)
    assert by_file.study.volume is first.study.volume
    assert by_file.organs_path is None
    path.unlink()
    studies.open(asked, ASKED)
    assert path.is_file()


def test_a_question_that_asks_nothing_is_refused_before_anything_is_encoded(studies, scan, encoded):
    with pytest.raises(InputError, match="Expected a question about"):
        studies.open(scan, ("no",))
    assert encoded == []


def test_opening_stops_when_asked_and_keeps_nothing(studies, scan, encoded):
    with pytest.raises(Cancelled, match="reading the scan"):
        studies.open(scan, ASKED, lambda _what, _done, _total: False)
    assert encoded == []
    assert studies.open(scan, ASKED).study.embedding.organs[0] == "liver"


def test_what_was_forgotten_is_read_again(studies, scan, encoded):
    first = studies.open(scan, ASKED)
    studies.clear()
    second = studies.open(scan, ASKED)
    assert second.study.volume is not first.study.volume
    assert second.predictor is not first.predictor
    assert len(encoded) == 1


def test_a_folder_is_known_by_all_its_files(studies, scan, files):
    masks = files / "masks"
    masks.mkdir()
    organs = read_segmentation(scan.segmentation).segmentation
    write_volume(organs.mask("liver").astype(np.uint8), organs.grid, masks / "liver.nii.gz")
    asked = replace(scan, segmentation=masks)
    assert studies.open(asked, ASKED).study.embedding.organs == ("liver",)
    write_volume(organs.mask("spleen").astype(np.uint8), organs.grid, masks / "spleen.nii.gz")
    assert studies.open(asked, ASKED).study.embedding.organs == ("spleen", "liver")
