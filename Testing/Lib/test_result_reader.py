"""Answers read back from JSON."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_result_files import ORGANS, QUERY

from CTGLIPLib.errors import InputError
from CTGLIPLib.result_files import to_dict, to_json, write_json
from CTGLIPLib.result_reader import read_json, result_from_dict
from CTGLIPLib.results import NOTICE, SCHEMA_VERSION

texts = st.text(st.characters(codec="utf-8"), max_size=12)


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.integers(round(low * 1e6), round(high * 1e6)).map(lambda millionths: millionths / 1e6)


def lists(items: st.SearchStrategy, low: int = 0, high: int = 2) -> st.SearchStrategy[list]:
    return st.lists(items, min_size=low, max_size=high)


@st.composite
def organ_scores(draw, name: str) -> dict:
    state = draw(st.sampled_from(["present", "cut", "absent", "too_small"]))
    measured = state == "present" or (state == "cut" and draw(st.booleans()))
    return {
        "organ": name,
        "readable": draw(texts),
        "state": state,
        "similarity": draw(numbers(-1, 1)) if measured else None,
        "score": draw(st.none() | numbers(0, 1)) if measured else None,
        "volume_ml": draw(numbers(0, 9999)),
        "centroid_ras_mm": draw(st.none() | lists(numbers(-5000, 5000), 3, 3)),
        "normal_similarity": draw(st.none() | numbers(-1, 1)),
    }


@st.composite
def answers(draw) -> dict:
    organs = [draw(organ_scores(name)) for name in draw(st.lists(texts, max_size=3, unique=True))]
    is_scored = any(organ["similarity"] is not None for organ in organs)
    return {
        "text": draw(texts),
        "kind": draw(st.sampled_from(["organ", "finding"])),
        "finding": draw(st.none() | texts),
        "negated": draw(st.booleans()),
        "organs_asked": draw(lists(texts)),
        "answer": draw(st.sampled_from(["not_found", "unanswerable"] + ["found"] * is_scored)),
        "threshold": draw(st.none() | numbers(0, 1)),
        "phrase": draw(texts),
        "prompts": {"positive": draw(lists(texts)), "negative": draw(lists(texts))},
        "organs": organs,
    }


results = st.fixed_dictionaries(
    {
        "schema_version": st.just(SCHEMA_VERSION),
        "notice": st.just(NOTICE),
        "study": st.fixed_dictionaries(
            {
                "name": texts.filter(lambda text: "/" not in text and "\\" not in text),
                "shape_ijk": lists(st.integers(1, 999), 3, 3),
                "spacing_mm": lists(numbers(0.1, 9), 3, 3),
                "orientation": st.sampled_from(["RAS", "LPS"]),
                "extent_ras_mm": lists(lists(numbers(-5000, 5000), 2, 2), 3, 3),
                "warnings": lists(texts),
            }
        ),
        "model": st.fixed_dictionaries({"name": texts, "sha256": texts}),
        "segmentation": st.fixed_dictionaries({"source": texts, "vocabulary": texts}),
        "queries": lists(answers(), 0, 3),
    }
)


@given(results)
def test_what_is_written_is_read_back(values: dict) -> None:
    result = result_from_dict(values)
    assert to_dict(result) == values
    assert result_from_dict(json.loads(to_json(result))) == result


def test_a_file_is_read_back(tmp_path: Path) -> None:
    write_json(QUERY, tmp_path / "findings.json")
    assert to_json(read_json(tmp_path / "findings.json")) == to_json(QUERY)


def test_a_newer_minor_version_is_read() -> None:
    values = to_dict(QUERY)
    newer = copy.deepcopy(values) | {"schema_version": "1.7", "new": 1}
    newer["queries"][0]["organs"][0]["new"] = [1]
    assert to_dict(result_from_dict(newer)) == values


@pytest.mark.parametrize("version", ["2.0", "0.9", None, 1])
def test_another_major_version_is_refused(version: object) -> None:
    with pytest.raises(InputError, match=r"schema version 1\.x, got .* Update CT-GLIP"):
        result_from_dict(to_dict(QUERY) | {"schema_version": version})


def broken(change) -> dict:
    values = copy.deepcopy(to_dict(QUERY))
    change(values)
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], "JSON object, got list"),
        (to_dict(ORGANS), "got an organ recognition"),
        (broken(lambda v: v.pop("study")), "results must have the keys .*; got study missing"),
        (broken(lambda v: v.pop("queries")), "got queries missing"),
        (broken(lambda v: v.update(queries={})), "results.queries must be a list"),
        (broken(lambda v: v["queries"].append(7)), r"results.queries\[3\] must be an object"),
        (broken(lambda v: v["queries"][0].pop("prompts")), "got positive_prompts, negative_prompts missing"),
        (
            broken(lambda v: v["queries"][0].update(answer="maybe")),
            "one of found, not_found, unanswerable, got 'maybe'",
        ),
        (broken(lambda v: v["queries"][0].update(negated=1)), "negated must be true or false, got 1"),
        (broken(lambda v: v["queries"][0].update(threshold=True)), "threshold must be a finite number, got True"),
        (broken(lambda v: v["queries"][0].update(threshold=2)), r"cannot be used: The threshold .* must lie in 0..1"),
        (broken(lambda v: v["study"].update(shape_ijk=[1, 2])), "shape_ijk must be a list of 3, got"),
        (broken(lambda v: v["study"].update(shape_ijk=[1, 2, 2.5])), r"shape_ijk\[2\] must be a whole number, got 2.5"),
        (broken(lambda v: v["study"].update(name="a/b")), "cannot be used: A study's name is a file name"),
        (broken(lambda v: v["study"].update(spacing_mm=[1, 1, float("nan")])), "must be a finite number, got nan"),
        (broken(lambda v: v["model"].update(name=None)), "results.model.name must be text, got None"),
    ],
)
def test_what_is_no_result_is_refused_with_what_to_do(values: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        result_from_dict(values)
    assert str(refused.value).endswith("ask the scan again.")


def test_a_file_that_is_no_json_or_missing_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    with pytest.raises(InputError, match=r"findings.json, got No such file"):
        read_json(path)
    for content in (b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(InputError, match="Expected results as JSON in findings.json"):
            read_json(path)
    path.write_text("[]")
    with pytest.raises(InputError, match="findings.json: Expected results as a JSON object"):
        read_json(path)
