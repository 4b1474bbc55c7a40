"""A run trains on its own splits of all its pools, and on nothing that tests it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from training_phantom import CYST, phantom, smoke_config, write_pool

from ctglip_training.config import DataConfig, TrainConfig
from ctglip_training.pairs.dictionary import DictionaryText, write_dictionary
from ctglip_training.pairs.engine import OrganSentence
from ctglip_training.pairs.table import PairRow
from ctglip_training.simulate.patient import Origin
from ctglip_training.sources import training_dictionary, training_entries
from ctglip_training.statements import Statement, StudyText
from ctglip_training.store import write_patient
from ctglip_training.texts import DictionaryEntry
from CTGLIPLib.errors import ConfigError, InputError

SUSPECTED = Statement("spleen", "Perhaps a large spleen.", finding="splenomegaly", uncertain=True)
UNKNOWN = Statement("spleen", "An odd spleen.")
SAID = StudyText((Statement("liver", "No cyst.", normal=True, finding="hepatic_cyst"), SUSPECTED, UNKNOWN), "All.")


def data(config: TrainConfig, **changes) -> TrainConfig:
    return replace(config, data=replace(config.data, **changes))


@pytest.fixture
def split_store(tmp_path):
    """A store of a manifest: p1 and p2 to train on, p3 and p4 not; and its configuration."""
    for patient, split in (("p1", "train"), ("p2", "train"), ("p3", "val"), ("p4", "test")):
        origin = Origin(f"{patient}_a", patient, split)
        write_patient(replace(phantom(1), text=SAID, origin=origin), tmp_path / "store" / patient / f"{patient}_a")
    return smoke_config(tmp_path / "store")


def subjects(config: TrainConfig) -> list[str]:
    return [entry.subject for entry in training_entries(config)]


def test_held_out_subjects_are_never_trained_on(pool):
    assert set(subjects(smoke_config(pool, hold_out=("beta",)))) == {"alpha"}


def test_a_held_out_subject_that_is_not_there_is_refused(pool):
    with pytest.raises(ConfigError, match=r"no subject betta to hold out; it has alpha, beta"):
        training_entries(smoke_config(pool, hold_out=("betta",)))
    with pytest.raises(ConfigError, match=r"No study .*none \(6\); subjects held out: alpha, beta"):
        training_entries(smoke_config(pool, hold_out=("alpha", "beta")))


def test_a_pool_of_another_spacing_is_refused(pool):
    config = smoke_config(pool)
    with pytest.raises(ConfigError, match="8, 8, 8 mm, but the configuration says 4 mm"):
        training_entries(replace(config, preprocess=replace(config.preprocess, spacing_mm=4.0)))


def test_only_the_training_split_is_trained_on_unless_others_are_named(split_store):
    assert subjects(split_store) == ["p1", "p2"]
    assert subjects(data(split_store, splits=("train", "val"))) == ["p1", "p2", "p3"]
    assert subjects(data(split_store, hold_out=("p1",))) == ["p2"]
    with pytest.raises(ConfigError, match=r"split test is left.*train \(2\), val \(1\), test \(1\).*out: p4"):
        training_entries(data(split_store, splits=("test",), hold_out=("p4",)))


def test_the_simulator_is_one_more_source_beside_real_studies(split_store, pool):
    both = data(split_store, more_pools=(str(pool),), hold_out=("beta",))
    assert subjects(both) == ["p1", "p2", "alpha", "alpha", "alpha"]
    with pytest.raises(ConfigError, match="named once"):
        training_entries(data(both, more_pools=(split_store.data.pool,)))
    with pytest.raises(InputError, match="found none"):
        training_entries(data(both, more_pools=(str(pool / "alpha"),)))


def test_a_second_pool_of_another_spacing_is_refused_by_name(split_store, tmp_path):
    fine = phantom(1, size=16)
    grid = replace(fine.volume.grid, affine=fine.volume.grid.affine / [[2], [2], [2], [1]])
    fine = replace(fine, volume=replace(fine.volume, grid=grid), segmentation=replace(fine.segmentation, grid=grid))
    write_patient(fine, tmp_path / "fine" / "a" / "0")
    with pytest.raises(ConfigError, match="fine are 4, 4, 4 mm, but the configuration says 8 mm"):
        training_entries(data(split_store, more_pools=(str(tmp_path / "fine"),)))


def test_a_patient_to_train_on_and_to_test_is_refused(split_store, tmp_path):
    write_patient(replace(phantom(2), origin=Origin("p3_b", "p3", "train")), tmp_path / "store" / "p3" / "p3_b")
    with pytest.raises(ConfigError, match="1 patients are in the splits to train on .train. and in others too.*p3"):
        training_entries(split_store)
    assert "p3" not in subjects(data(split_store, hold_out=("p3",)))


def test_the_dictionary_is_made_of_certain_findings_of_the_runs_own_studies(split_store, tmp_path):
    write_pool(tmp_path / "pool", 2)
    config = data(split_store, more_pools=(str(tmp_path / "pool"),), hold_out=("alpha",))
    config = replace(config, loss=replace(config.loss, dictionary_size=100_000))
    texts = {entry.text for entry in training_dictionary(config, training_entries(config))}
    assert {"An odd spleen.", CYST.sentence} <= texts
    assert not {"Perhaps a large spleen.", "No cyst."} & texts


def dictionary(split_store, tmp_path, study: str, patient: str = "") -> TrainConfig:
    row = PairRow(study, "train", patient, "rules", OrganSentence("kidney", ("kidney_left",), "A cyst.", False))
    entry = DictionaryText("A cyst.", "kidney", ("kidney_left", "kidney_right"), None, 1)
    write_dictionary([entry], [row], tmp_path / "dictionary.json")
    return data(split_store, dictionary=str(tmp_path / "dictionary.json"))


def test_a_dictionary_from_a_file_speaks_of_each_of_its_organs(split_store, tmp_path):
    config = dictionary(split_store, tmp_path, "p1_a.nii.gz", "p1")
    assert training_dictionary(config, training_entries(config)) == (
        DictionaryEntry("kidney_left", None, "A cyst."),
        DictionaryEntry("kidney_right", None, "A cyst."),
    )


@pytest.mark.parametrize(("study", "patient"), [("p3_a.nii.gz", ""), ("other", "p4"), ("p1_a", "p1")])
def test_a_dictionary_of_studies_that_test_the_run_is_refused(split_store, tmp_path, study, patient):
    config = data(dictionary(split_store, tmp_path, study, patient), hold_out=("p1",))
    with pytest.raises(ConfigError, match=r"dictionary.json was made of 1 studies .*ctglip-train dictionary"):
        training_dictionary(config, training_entries(config))


def test_a_split_or_choice_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="splits must be one or more of train, val, test, got training"):
        DataConfig(splits=("training",))
    with pytest.raises(ConfigError, match="got none"):
        DataConfig(splits=())
    with pytest.raises(ConfigError, match="suspected must be one of left-out, abnormal, got 'maybe'"):
        DataConfig(suspected="maybe")  # type: ignore[arg-type]
