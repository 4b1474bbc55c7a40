"""Study files: round trip, and the files that are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from studies import make_study

from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import CheckpointError, OutputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.results import ModelInfo
from CTGLIPLib.study import (
    ARRAYS,
    SCHEMA_VERSION,
    StudyEmbedding,
    content_sha256,
    is_study_file,
    load_study,
    require_model,
    save_study,
)
from CTGLIPLib.volume import Segmentation, Volume


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_study(make_study(), tmp_path / "scan.ctglip")
    return tmp_path / "scan.ctglip"


def rewrite(path: Path, change) -> None:
    """Write the file again with `change(facts, arrays)` applied."""
    with np.load(path) as file:
        facts = json.loads(file["facts"].tobytes())
        arrays = {name: file[name] for name in ARRAYS}
    change(facts, arrays)
    with path.open("wb") as stream:
        np.savez(stream, facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8), **arrays)


def test_a_study_comes_back_as_it_was_written(path):
    written, read = make_study(), load_study(path)
    for field in dataclasses.fields(StudyEmbedding):
        a, b = getattr(written, field.name), getattr(read, field.name)
        if field.name in ARRAYS:
            np.testing.assert_array_equal(a, b, err_msg=field.name)
            assert a.dtype == b.dtype
        else:
            assert a == b, field.name


def test_calibration_by_finding_comes_back(tmp_path):
    score = ScoreConfig(slope=3.0, intercept=-1.0, threshold=0.4, by_finding={"fatty_liver": (2.0, 0.5)})
    save_study(dataclasses.replace(make_study(), score=score), tmp_path / "scan.ctglip")
    assert load_study(tmp_path / "scan.ctglip").score == score


def test_a_study_file_holds_no_pickle(path):
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file.files) == sorted(["facts", *ARRAYS])


def test_a_missing_study_file_is_refused_with_advice(tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no study file .*scan.ctglip. Check the name, or write it"):
        load_study(tmp_path / "scan.ctglip")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: b"no zip at all",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:200] + bytes(100) + raw[300:],
    ],
)
def test_a_damaged_study_file_is_refused(spoil, path):
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"Expected a study file .* got .*Encode the CT again"):
        load_study(path)


def test_a_single_array_is_no_study_file(path):
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(CheckpointError, match="Expected a study file"):
        load_study(path)


def test_a_pickled_study_file_is_refused_and_not_run(path, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    with path.open("wb") as stream:
        np.savez(stream, facts=np.array([Trap()], dtype=object))
    with pytest.raises(CheckpointError, match="Object arrays cannot be loaded"):
        load_study(path)
    assert not (tmp_path / "sprung").exists()


def test_a_newer_schema_is_refused_whatever_else_it_holds(path):
    rewrite(path, lambda facts, arrays: (facts.update(schema_version=SCHEMA_VERSION + 1), arrays.clear()))
    with pytest.raises(CheckpointError, match="study schema 2, but this CT-GLIP reads up to 1. Update CT-GLIP"):
        load_study(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts, arrays: facts.pop("organs"),
        lambda facts, arrays: facts["organs"].append("stomach"),
        lambda facts, arrays: facts["states"].pop(),
        lambda facts, arrays: arrays.update(text_mean=np.zeros(3, np.float32)),
        lambda facts, arrays: arrays.pop("embeddings"),
        lambda facts, arrays: facts["score"].update(unknown=1),
        lambda facts, arrays: facts["study"].update(name="folder/ct.nii.gz"),
        lambda facts, arrays: facts.update(schema_version="1"),
    ],
)
def test_parts_that_are_missing_or_do_not_fit_are_refused(change, path):
    rewrite(path, change)
    with pytest.raises(CheckpointError, match="Expected a study file written by `ctglip encode`"):
        load_study(path)


def test_a_study_of_another_model_is_refused_by_hash_not_by_name():
    study = make_study()
    require_model(study, study.model)
    with pytest.raises(CheckpointError, match=r"encoded by model test \(aaaa.*but model test \(cccc.*Encode the CT"):
        require_model(study, ModelInfo("test", "c" * 64))


def test_the_content_hash_follows_every_voxel_name_and_place():
    grid = Grid((3, 4, 5), np.diag([1.0, 2.0, 3.0, 1.0]))
    volume = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), grid)
    organs = Segmentation(np.ones((1, 3, 4, 5), np.uint16), grid, ("liver",))
    moved = grid.affine.copy()
    moved[0, 3] = 0.5
    same = content_sha256(Volume(volume.array.copy(), Grid(grid.shape_ijk, grid.affine + 0.0)), organs)
    assert same == content_sha256(volume, organs)
    changed = volume.array.copy()
    changed[2, 3, 4] += 1
    layers = organs.layers.copy()
    layers[0, 0, 0, 0] = 0
    others = {
        content_sha256(Volume(changed, grid), organs),
        content_sha256(volume, dataclasses.replace(organs, layers=layers)),
        content_sha256(volume, dataclasses.replace(organs, names=("spleen",))),
        content_sha256(Volume(volume.array, Grid(grid.shape_ijk, moved)), organs),
        content_sha256(volume, dataclasses.replace(organs, grid=Grid(grid.shape_ijk, moved))),
    }
    assert len(others | {same}) == 6


def test_the_content_hash_does_not_see_a_negative_zero():
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    negative = affine.copy()
    negative[0, 3] = -1e-9
    array, layers = np.zeros((3, 4, 5), np.int16), np.ones((1, 3, 4, 5), np.uint16)
    hashes = {
        content_sha256(Volume(array, grid), Segmentation(layers, grid, ("liver",)))
        for grid in (Grid((3, 4, 5), affine), Grid((3, 4, 5), negative))
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_content_hash_is_the_same_for_the_same_voxels_in_any_order_of_memory(order, rng):
    grid, back = Grid((3, 4, 5), np.eye(4)), np.argsort(order)
    array = rng.integers(-1000, 1000, grid.shape_ijk).astype(np.int16)
    layers = rng.integers(0, 2, (2, *grid.shape_ijk)).astype(np.uint16)
    laid_out = np.ascontiguousarray(array.transpose(order)).transpose(back)
    layers_laid_out = np.ascontiguousarray(layers.transpose(0, *1 + np.array(order))).transpose(0, *1 + back)
    found = content_sha256(Volume(laid_out, grid), Segmentation(layers_laid_out, grid, ("liver",)))
    assert found == content_sha256(Volume(array, grid), Segmentation(layers, grid, ("liver",)))


def test_only_the_ending_tells_a_study_file():
    assert is_study_file(Path("scan.ctglip"))
    assert not is_study_file(Path("scan.nii.gz"))


def test_an_interrupted_or_failing_write_leaves_nothing(tmp_path, monkeypatch):
    for error, seen in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left"), OutputError)):

        def half(stream, error=error, **_arrays) -> None:
            stream.write(b"half a file")
            raise error

        monkeypatch.setattr("CTGLIPLib.study.np.savez_compressed", half)
        with pytest.raises(seen):
            save_study(make_study(), tmp_path / "scan.ctglip")
        assert list(tmp_path.iterdir()) == []
