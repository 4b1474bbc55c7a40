"""The pipeline on a patient: encode once, ask many; cache; states; kidneys with their cysts; heat maps."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from patient import CONFIG, ORGANS, STATES, make_model, make_patient

from CTGLIPLib.errors import Cancelled, CheckpointError, ConfigError, InputError
from CTGLIPLib.geometry import Grid
from CTGLIPLib.inputs import StudyInput
from CTGLIPLib.predict import Predictor, Study
from CTGLIPLib.results import QueryResult
from CTGLIPLib.study import content_sha256, load_study, save_study
from CTGLIPLib.study_cache import StudyCache
from CTGLIPLib.volume import Segmentation, Volume

QUESTIONS = ("fatty liver", "left kidney", "no gallstones", "cyst in the left kidney and splenomegaly")


@pytest.fixture(scope="module")
def predictor(tiny_model: Path) -> Predictor:
    return Predictor.from_pretrained(str(tiny_model), "cpu")


@pytest.fixture(scope="module")
def study(predictor: Predictor, patient: Path) -> Study:
    return predictor.encode(patient / "ct.nii.gz", patient / "organs.nii.gz")


def test_every_organ_has_its_state_and_only_measured_ones_an_embedding(study):
    assert dict(zip(study.embedding.organs, study.embedding.states, strict=True)) == STATES
    measured = ~np.isnan(study.embedding.embeddings).any(axis=1)
    assert measured.tolist() == [state != "too_small" for state in STATES.values()]
    np.testing.assert_allclose(np.linalg.norm(study.embedding.embeddings[measured], axis=1), 1, atol=1e-5)


def test_volumes_and_centroids_are_those_of_the_masks(study):
    volume, organs = make_patient()
    for index, name in enumerate(organs.names):
        where = np.argwhere(organs.layers[0] == index + 1)
        assert study.embedding.volume_ml[index] == pytest.approx(len(where) * 0.343)
        expected = volume.grid.affine[:3, :3] @ where.mean(axis=0) + volume.grid.affine[:3, 3]
        np.testing.assert_allclose(study.embedding.centroid_ras_mm[index], expected, atol=1e-6, err_msg=name)


def test_an_organ_without_voxels_is_absent_and_not_scored(predictor):
    volume, organs = make_patient()
    more = Segmentation(organs.layers, organs.grid, (*organs.names, "stomach"))
    embedding = predictor.encode(volume, more).embedding
    assert embedding.states[-1] == "absent"
    assert np.isnan(embedding.embeddings[-1]).all()
    assert np.isnan(embedding.centroid_ras_mm[-1]).all()
    assert predictor.query(embedding, ["stomach"]).queries[0].answer == "unanswerable"


def test_a_saved_study_answers_as_the_ct_does(predictor, study, tmp_path):
    save_study(study.embedding, tmp_path / "scan.ctglip")
    assert predictor.query(load_study(tmp_path / "scan.ctglip"), QUESTIONS) == predictor.query(study, QUESTIONS)
    assert predictor.organs(load_study(tmp_path / "scan.ctglip")) == predictor.organs(study)


def test_several_questions_keep_their_order_and_a_text_with_two_gives_two_answers(predictor, study):
    answers = predictor.query(study, QUESTIONS).queries
    asked = [(answer.kind, answer.finding, answer.negated) for answer in answers]
    assert asked == [
        ("finding", "fatty_liver", False),
        ("organ", None, False),
        ("finding", "gallstone", True),
        ("finding", "renal_cyst", False),
        ("finding", "splenomegaly", False),
    ]


def test_a_cached_study_is_used_again_and_equal(predictor, patient, tmp_path):
    cache = StudyCache(tmp_path)
    calls: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        calls.append(what)

    paths = (patient / "ct.nii.gz", patient / "organs.nii.gz")
    first = predictor.encode(*paths, cache=cache, progress=progress)
    assert "encoding windows" in calls
    calls.clear()
    again = predictor.encode(*paths, cache=cache, progress=progress)
    assert "encoding windows" not in calls
    assert predictor.query(again, QUESTIONS) == predictor.query(first, QUESTIONS)


def test_a_cached_study_tells_the_name_it_was_given_under_this_time(predictor, tmp_path):
    volume, organs = make_patient()
    cache = StudyCache(tmp_path)
    predictor.encode_input(StudyInput("first.nii.gz", volume, organs, ("a warning",)), cache=cache)
    again = predictor.encode_input(
        StudyInput("second.nii.gz", volume, dataclasses.replace(organs, source="here")), cache=cache
    )
    assert again.embedding.study.name == "second.nii.gz"
    assert again.embedding.study.warnings == ()
    assert again.embedding.segmentation.source == "here"
    assert len(list(tmp_path.iterdir())) == 1


def test_one_other_voxel_one_other_name_and_another_model_miss_the_cache(predictor, study, tmp_path):
    volume, organs = make_patient()
    cache = StudyCache(tmp_path)
    predictor.encode(volume, organs, cache=cache)
    assert cache.load(content_sha256(volume, organs), predictor.model) is not None
    hu = volume.array.copy()
    hu[0, 0, 0] += 1
    labels = organs.layers.copy()
    labels[0, 0, 0, 0] = 1
    renamed = ("stomach", *organs.names[1:])
    others = [
        content_sha256(Volume(hu, volume.grid), organs),
        content_sha256(volume, dataclasses.replace(organs, layers=labels)),
        content_sha256(volume, dataclasses.replace(organs, names=renamed)),
    ]
    assert [cache.load(other, predictor.model) for other in others] == [None, None, None]
    other_model = make_model(tmp_path / "model", CONFIG, seed=2)
    other = Predictor(other_model, "cpu")
    assert cache.load(content_sha256(volume, organs), other.model) is None


def test_finding_organs_is_told_only_where_they_have_to_be_found_and_is_finished(predictor, patient, monkeypatch):
    told: list[tuple[str, int, int]] = []
    given = predictor.encode(patient / "ct.nii.gz", patient / "organs.nii.gz", progress=lambda *step: told.append(step))
    assert "finding organs" not in {what for what, _, _ in told}
    monkeypatch.setattr(predictor, "_segmenter", lambda _name: lambda _volume, _progress: given.segmentation)
    predictor.encode(patient / "ct.nii.gz", progress=lambda *step: told.append(step))
    assert [step[1:] for step in told if step[0] == "finding organs"] == [(0, 1), (1, 1)]


def test_the_left_kidney_is_measured_with_its_cyst_while_its_volume_stays_its_own(predictor):
    volume, organs = make_patient()
    dense = volume.array.copy()
    dense[organs.mask("kidney_cyst_left")] = 900
    plain, changed = (predictor.encode(Volume(array, volume.grid), organs).embedding for array in (volume.array, dense))
    index = organs.names.index("kidney_left")
    renamed = tuple("skin" if name == "kidney_cyst_left" else name for name in organs.names)
    apart = predictor.encode(volume, dataclasses.replace(organs, names=renamed)).embedding
    assert plain.volume_ml[index] == pytest.approx(organs.voxel_counts()[index] * 0.343)
    assert np.abs(plain.embeddings[index] - apart.embeddings[index]).max() > 1e-3
    assert np.abs(plain.embeddings[index] - changed.embeddings[index]).max() > 1e-3


def test_masks_on_another_grid_are_brought_onto_the_cts(predictor, study):
    volume, organs = make_patient()
    affine = organs.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ (3, 2, 0)
    layers = organs.layers[:, 3:-3, 2:-2]
    cropped = predictor.encode(volume, Segmentation(layers, Grid(layers.shape[1:], affine), organs.names))
    np.testing.assert_array_equal(cropped.segmentation.layers, study.segmentation.layers)
    np.testing.assert_allclose(cropped.embedding.embeddings, study.embedding.embeddings, atol=1e-5)


def test_a_heat_map_lies_in_the_asked_organs_on_the_cts_grid(predictor, study):
    heat = predictor.heatmap(study, "left kidney")
    inside = study.segmentation.mask("kidney_left") | study.segmentation.mask("kidney_cyst_left")
    assert heat.shape == study.volume.array.shape
    np.testing.assert_array_equal(~np.isnan(heat), inside)
    assert np.abs(heat[inside]).max() <= 1 + 1e-5


def test_a_heat_map_of_an_organ_that_is_not_there_is_refused(predictor, study):
    with pytest.raises(InputError, match="pancreas, which this scan does not show"):
        predictor.heatmap(study, "pancreatic duct stone")


def test_cancelling_while_windows_are_encoded_raises_and_keeps_nothing(predictor, patient, tmp_path):
    def stop(what: str, done: int, total: int) -> bool:
        return what != "encoding windows"

    with pytest.raises(Cancelled, match="encoding windows"):
        predictor.encode(patient / "ct.nii.gz", patient / "organs.nii.gz", cache=StudyCache(tmp_path), progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_segmentation_head_cannot_segment_by_itself(predictor, patient):
    with pytest.raises(ConfigError, match="Model test was trained without organs"):
        predictor.encode(patient / "ct.nii.gz", segmenter="own")


def test_an_unknown_device_is_refused_when_the_network_is_needed(tiny_model, patient):
    for device in ("gpu7", "cuda:99"):
        with pytest.raises(ConfigError, match=f"Expected a device of this machine .* got '{device}'"):
            _ = Predictor.from_pretrained(str(tiny_model), device).network


def test_an_unknown_model_is_refused(own_cache):
    with pytest.raises(CheckpointError, match="no model and no folder 'nowhere'"):
        Predictor.from_pretrained("nowhere")


def test_five_lines_of_python_give_a_table(tiny_model, patient):
    predictor = Predictor.from_pretrained(str(tiny_model))
    study = predictor.encode(patient / "ct.nii.gz", segmentation=patient / "organs.nii.gz")
    result = predictor.query(study, ["fatty liver"])
    table = predictor.table(result)
    assert isinstance(result, QueryResult)
    assert "fatty liver" in table
    assert "not a medical device" in table


SUBPROCESS = """
import json, sys
from CTGLIPLib.cli import main
code = main(sys.argv[1:])
sys.stderr.write("MODULES " + json.dumps([name for name in ("torch", "transformers") if name in sys.modules]))
sys.exit(code)
"""


@pytest.mark.parametrize("from_study_file", [True, False])
def test_a_cached_query_in_a_fresh_process_imports_neither_torch_nor_transformers(
    from_study_file, predictor, study, patient, tmp_path, own_cache, tiny_model
):
    if from_study_file:
        save_study(study.embedding, tmp_path / "scan.ctglip")
        arguments = [str(tmp_path / "scan.ctglip")]
    else:
        StudyCache().save(study.embedding)
        arguments = [str(patient / "ct.nii.gz"), "-s", str(patient / "organs.nii.gz")]
    command = [sys.executable, "-c", SUBPROCESS, "query", *arguments, "--model", str(tiny_model), "--json"]
    asked = ["-q", "fatty liver", "-q", "left kidney", "-o", str(tmp_path / "out"), "--no-pictures"]
    done = subprocess.run([*command, *asked], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("MODULES []"), done.stderr
    assert [answer["finding"] for answer in json.loads(done.stdout)["queries"]] == ["fatty_liver", None]
    assert set(ORGANS) >= {organ["organ"] for organ in json.loads(done.stdout)["queries"][1]["organs"]}
