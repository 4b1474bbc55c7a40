"""The files of a query: results, pictures, heat maps and the segmentation, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
from patient import ORGANS
from PIL import Image

import CTGLIPLib
from CTGLIPLib.errors import Cancelled, OutputError
from CTGLIPLib.outputs import OUTSIDE, OutputOptions, require_writable, write_outputs, write_results
from CTGLIPLib.predict import Predictor, Study
from CTGLIPLib.segmentation_io import read_segmentation
from CTGLIPLib.volume import Segmentation

SCHEMA = json.loads((Path(CTGLIPLib.__file__).parent / "data" / "findings.schema.json").read_text())
EVERYTHING = OutputOptions(pictures=True, heatmaps=True, segmentation=True)


@pytest.fixture(scope="module")
def predictor(tiny_model: Path) -> Predictor:
    return Predictor.from_pretrained(str(tiny_model), "cpu")


@pytest.fixture(scope="module")
def study(predictor: Predictor, patient: Path) -> Study:
    return predictor.encode(patient / "ct.nii.gz", patient / "organs.nii.gz")


@pytest.fixture(scope="module")
def written(predictor, study, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    result = predictor.query(study, ["fatty liver", "left kidney", "pancreatic duct stone"])
    paths = write_outputs(predictor, study, result, folder, EVERYTHING)
    assert sorted(paths) == sorted(folder.iterdir())
    return folder


def test_results_come_first_and_files_are_named_by_their_question(written):
    assert sorted(path.name for path in written.iterdir()) == [
        "01_fatty_liver.png",
        "01_fatty_liver_heatmap.nii.gz",
        "01_fatty_liver_heatmap.png",
        "02_left_kidney.png",
        "02_left_kidney_heatmap.nii.gz",
        "02_left_kidney_heatmap.png",
        "findings.csv",
        "findings.json",
        "organs.json",
        "organs.nii.gz",
    ]


def test_findings_validate_against_the_schema_and_tell_the_unanswerable_question(written):
    findings = json.loads((written / "findings.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(findings)
    assert [query["answer"] for query in findings["queries"]][1:] == ["found", "unanswerable"]
    assert findings["study"]["name"] == "ct.nii.gz"
    assert str(written) not in (written / "findings.json").read_text()


def test_organs_results_validate_against_the_schema(predictor, study):
    from CTGLIPLib.result_files import to_json, to_table

    result = predictor.organs(study)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(to_json(result)))
    assert result.n == 5  # gallbladder too small; the cyst and the tumour are outside the 104 names
    assert "livertumor1" in to_table(result, max_rows=200)


@pytest.mark.parametrize("name", ["01_fatty_liver.png", "01_fatty_liver_heatmap.png"])
def test_pictures_are_pictures(written, name):
    with Image.open(written / name) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300
        assert np.asarray(picture.convert("L")).std() > 10


def test_a_heat_map_lies_on_the_cts_own_grid_and_is_minus_1_outside_the_organs(written, patient, study):
    heat, ct = nib.load(written / "01_fatty_liver_heatmap.nii.gz"), nib.load(patient / "ct.nii.gz")
    np.testing.assert_allclose(heat.affine, ct.affine, atol=1e-5)
    assert heat.shape == ct.shape
    values, liver = np.asarray(heat.dataobj), study.segmentation.mask("liver")
    assert values.dtype == np.float32
    assert (values[~liver] == OUTSIDE).all()
    assert (values[liver] > OUTSIDE).all()


def test_the_picture_of_a_heat_map_shows_it_with_nan_outside_the_organs(predictor, study, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("CTGLIPLib.pictures.draw_heatmap", lambda *given, **named: drawn.append((given, named)))
    result = predictor.query(study, ["fatty liver", "left kidney"])
    write_outputs(predictor, study, result, tmp_path, OutputOptions(heatmaps=True))
    (_, heat, text, path), named = drawn[0]
    np.testing.assert_array_equal(np.isnan(heat), ~study.segmentation.mask("liver"))
    assert (text, path.name) == ("fatty liver", "01_fatty_liver_heatmap.png")
    assert [named for _, named in drawn] == [
        {"organ": "liver", "label": "similarity margin"},
        {"organ": "kidney_left", "label": "similarity"},
    ]


def test_the_saved_segmentation_reads_back_equal_with_names_and_codes(written, study):
    loaded = read_segmentation(written / "organs.nii.gz").segmentation
    assert loaded.names == tuple(ORGANS)
    np.testing.assert_array_equal(loaded.layers, study.segmentation.layers)
    labels = json.loads((written / "organs.json").read_text())["labels"]
    assert labels["1"]["snomed"]["code"]
    assert len(labels["1"]["colour"]) == 3


def test_overlapping_organs_are_saved_as_a_slicer_segmentation(predictor, study, tmp_path):
    layers = np.concatenate([study.segmentation.layers, np.zeros_like(study.segmentation.layers)])
    number = len(ORGANS) + 1
    layers[1][study.segmentation.mask("liver")] = number
    organs = Segmentation(layers, study.segmentation.grid, (*ORGANS, "skin"))
    result = predictor.query(study, ["fatty liver"])
    overlapping = Study(study.embedding, study.volume, organs)
    paths = write_outputs(predictor, overlapping, result, tmp_path, OutputOptions(pictures=False, segmentation=True))
    assert [path.name for path in paths] == ["findings.json", "findings.csv", "organs.seg.nrrd"]
    loaded = read_segmentation(tmp_path / "organs.seg.nrrd").segmentation
    np.testing.assert_array_equal(loaded.mask("skin"), loaded.mask("liver"))


def test_two_equal_questions_and_odd_words_make_files_of_their_own(predictor, study, tmp_path):
    result = predictor.query(study, ["fatty liver", "fatty liver", "../spleen?"])
    paths = write_outputs(predictor, study, result, tmp_path, OutputOptions(pictures=False, heatmaps=True))
    assert [path.name for path in paths[2:]] == [
        "01_fatty_liver_heatmap.nii.gz",
        "02_fatty_liver_heatmap.nii.gz",
        "03_spleen_heatmap.nii.gz",
    ]
    assert {path.parent for path in paths} == {tmp_path}


def test_cancel_stops_within_a_heat_map(predictor, study, tmp_path):
    result = predictor.query(study, ["fatty liver"])
    heard = []

    def progress(what: str, done: int, total: int) -> bool:
        heard.append(what)
        return what == "drawing answers"

    with pytest.raises(Cancelled):
        write_outputs(predictor, study, result, tmp_path, OutputOptions(pictures=False, heatmaps=True), progress)
    assert len(set(heard)) == 2
    assert list(tmp_path.glob("*heatmap*")) == []


def test_nothing_but_results_is_written_where_nothing_more_was_asked(predictor, study, tmp_path):
    result = predictor.query(study, ["fatty liver"])
    write_outputs(predictor, study, result, tmp_path / "a", OutputOptions(pictures=False))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["findings.csv", "findings.json"]


def test_a_folder_that_cannot_be_is_refused_with_its_reason(predictor, study, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Could not write .*findings.json"):
        write_results(predictor.query(study, ["fatty liver"]), tmp_path / "file" / "out")


def test_whether_a_path_can_be_written_is_told_without_making_anything(tmp_path):
    (tmp_path / "file").write_text("")
    require_writable(tmp_path / "new" / "deep" / "findings.json")
    require_writable(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(OutputError, match=r"file is a file, not a folder. Choose a folder"):
        require_writable(tmp_path / "file" / "out" / "findings.json")


def test_a_folder_without_the_right_to_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("CTGLIPLib.outputs.os.access", lambda *_: False)  # root may write anywhere
    with pytest.raises(OutputError, match="is not writable"):
        require_writable(tmp_path / "findings.json")
