"""The study cache: keyed on content and model; stale, foreign and broken files are not used."""

from __future__ import annotations

import dataclasses
import logging
import shutil

from studies import make_study

from CTGLIPLib.results import ModelInfo
from CTGLIPLib.study_cache import StudyCache

OTHER_MODEL = ModelInfo("test", "c" * 64)


def test_a_kept_study_is_found_by_content_and_model_only(tmp_path):
    cache, study = StudyCache(tmp_path), make_study()
    assert cache.load(study.content_sha256, study.model) is None
    cache.save(study)
    found = cache.load(study.content_sha256, study.model)
    assert found is not None
    assert found.organs == study.organs
    assert cache.load("d" * 64, study.model) is None
    assert cache.load(study.content_sha256, OTHER_MODEL) is None


def test_a_foreign_file_under_the_right_name_is_not_used(tmp_path, caplog):
    cache, study = StudyCache(tmp_path), make_study()
    cache.save(study)
    for content, model in (("d" * 64, study.model), (study.content_sha256, OTHER_MODEL)):
        shutil.copyfile(cache.path(study.content_sha256, study.model), cache.path(content, model))
        with caplog.at_level(logging.WARNING):
            assert cache.load(content, model) is None
        assert "belongs to another scan or model" in caplog.text
        caplog.clear()


def test_two_contents_that_share_their_first_24_digits_are_told_apart(tmp_path):
    cache, study = StudyCache(tmp_path), make_study()
    cache.save(study)
    twin = "b" * 24 + "e" * 40
    assert cache.path(twin, study.model) == cache.path(study.content_sha256, study.model)
    assert cache.load(twin, study.model) is None


def test_a_broken_file_is_not_used_and_then_replaced(tmp_path, caplog):
    cache, study = StudyCache(tmp_path), make_study()
    path = cache.path(study.content_sha256, study.model)
    path.write_bytes(b"broken")
    assert cache.load(study.content_sha256, study.model) is None
    assert "Encoding anew" in caplog.text
    cache.save(study)
    assert cache.load(study.content_sha256, study.model) is not None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    StudyCache(tmp_path / "file" / "cache").save(make_study())
    assert "was not kept" in caplog.text


def test_without_a_folder_it_lies_in_the_cache_of_the_user(own_cache):
    study = dataclasses.replace(make_study(), content_sha256="f" * 64)
    StudyCache().save(study)
    assert [path.suffix for path in (own_cache / "studies").iterdir()] == [".ctglip"]
