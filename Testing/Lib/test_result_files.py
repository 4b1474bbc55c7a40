"""Results as JSON, CSV and terminal table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import CTGLIPLib
from CTGLIPLib.errors import OutputError
from CTGLIPLib.result_files import to_csv, to_json, to_table, write_csv, write_json
from CTGLIPLib.results import (
    NOTICE,
    SCHEMA_VERSION,
    ModelInfo,
    OrganRecognition,
    OrganScore,
    OrgansResult,
    QueryAnswer,
    QueryResult,
    SegmentationInfo,
    StudyInfo,
)

STUDY = StudyInfo("ct.nii.gz", (4, 5, 6), (1.0, 1.0, 2.5), "RAS", ((0.0, 4.0), (0.0, 5.0), (0.0, 12.0)), ("thin slab",))
MODEL, MASKS = ModelInfo("small", "0123456789abcdef"), SegmentationInfo("seg.nii.gz", "totalsegmentator_v1")
LIVER = OrganScore("liver", "liver", "present", float(np.float32(0.41)), 0.87, 1510.25, (1.0, -2.0, 3.0), 0.2)
SPLEEN = OrganScore("spleen", "spleen", "cut", 0.1, 0.2, 90.0, (-1.0, 0.0, 0.0))
GALLBLADDER = OrganScore("gallbladder", "gallbladder", "absent")
QUERIES = (
    QueryAnswer(
        "fatty liver",
        "finding",
        "fatty_liver",
        False,
        ("liver", "spleen"),
        "found",
        0.5,
        ("yes",),
        ("no",),
        (SPLEEN, LIVER),
    ),
    QueryAnswer(
        "no gallstones",
        "finding",
        "gallstone",
        True,
        ("gallbladder",),
        "unanswerable",
        0.5,
        ("a", "b"),
        (),
        (GALLBLADDER,),
    ),
    QueryAnswer("moon", "organ", None, False, (), "unanswerable", None, (), (), ()),
)
QUERY = QueryResult(STUDY, MODEL, MASKS, QUERIES)
ORGANS = OrgansResult(
    STUDY,
    MODEL,
    MASKS,
    (
        OrganRecognition("liver", "present", "liver", (("liver", 0.5), ("spleen", 0.4))),
        OrganRecognition("spleen", "cut", "stomach", (("stomach", 0.6), ("spleen", 0.3))),
        OrganRecognition("skin", "present", "liver", (("liver", 0.2),)),
        OrganRecognition("brain", "absent"),
    ),
    0.5,
    1.0,
    2,
)


@pytest.fixture(scope="module")
def schema() -> dict[str, object]:
    path = Path(CTGLIPLib.__file__).parent / "data" / "findings.schema.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "result", [QUERY, ORGANS, dataclasses.replace(ORGANS, organs=(), top1=float("nan"), top5=None, n=0)]
)
def test_json_validates_against_the_shipped_schema(
    result: QueryResult | OrgansResult, schema: dict[str, object]
) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    body = json.loads(to_json(result))
    assert [error.message for error in validator.iter_errors(body)] == []
    assert body["schema_version"] == SCHEMA_VERSION
    assert body["notice"] == NOTICE


def test_the_schema_refuses_what_the_format_forbids(schema: dict[str, object]) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    for key, value in (("score", 1.2), ("state", "gone"), ("similarity", None), ("extra", 1)):
        body = json.loads(to_json(QUERY))
        body["queries"][0]["organs"][1][key] = value
        assert not validator.is_valid(body), key


def test_json_keys_keep_their_order() -> None:
    body = json.loads(to_json(QUERY))
    assert list(body) == ["schema_version", "notice", "study", "model", "segmentation", "queries"]
    assert list(body["queries"][0]) == [
        "text", "kind", "finding", "negated", "organs_asked", "answer", "threshold", "phrase", "prompts", "organs",
    ]  # fmt: skip
    assert list(body["queries"][0]["organs"][0])[:4] == ["organ", "readable", "state", "similarity"]
    assert body["queries"][1]["prompts"] == {"positive": ["a", "b"], "negative": []}


def test_json_has_null_and_never_nan() -> None:
    unmeasured = OrganScore("liver", "liver", "cut", float("nan"), float("nan"), float("nan"))
    answer = dataclasses.replace(QUERIES[0], answer="unanswerable", organs=(unmeasured,))
    text = to_json(dataclasses.replace(QUERY, queries=(answer,)))
    assert "NaN" not in text
    assert json.loads(text)["queries"][0]["organs"][0]["score"] is None


def test_csv_has_a_row_for_every_question_and_organ() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(QUERY))))
    assert [(row["question"], row["organ"], row["state"], row["score"]) for row in rows] == [
        ("fatty liver", "spleen", "cut", "0.2"),
        ("fatty liver", "liver", "present", "0.87"),
        ("no gallstones", "gallbladder", "absent", ""),
        ("moon", "", "", ""),
    ]
    assert rows[1]["similarity"] == "0.41"
    assert (rows[1]["centroid_r_mm"], rows[1]["centroid_a_mm"], rows[1]["centroid_s_mm"]) == ("1.0", "-2.0", "3.0")
    assert rows[2]["negated"] == "true"
    assert rows[3]["notice"] == NOTICE


def test_csv_text_never_becomes_a_formula() -> None:
    answer = dataclasses.replace(QUERIES[2], text='=HYPERLINK("x")')
    rows = list(csv.DictReader(io.StringIO(to_csv(dataclasses.replace(QUERY, queries=(answer,))))))
    assert rows[0]["question"] == '\'=HYPERLINK("x")'


def test_organs_csv_has_a_row_for_every_name() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(ORGANS))))
    assert [(row["organ"], row["rank"], row["name"]) for row in rows] == [
        ("liver", "1", "liver"),
        ("liver", "2", "spleen"),
        ("spleen", "1", "stomach"),
        ("spleen", "2", "spleen"),
        ("skin", "1", "liver"),
        ("brain", "", ""),
    ]


def test_files_hold_the_same_text_and_leave_nothing_else(tmp_path: Path) -> None:
    write_json(QUERY, tmp_path / "out" / "findings.json")
    write_csv(QUERY, tmp_path / "out" / "findings.csv")
    assert (tmp_path / "out" / "findings.json").read_text(encoding="utf-8") == to_json(QUERY)
    assert (tmp_path / "out" / "findings.csv").read_text(encoding="utf-8") == to_csv(QUERY)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["findings.csv", "findings.json"]


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Could not write"):
        write_json(QUERY, tmp_path / "file" / "findings.json")


def test_the_table_reads_as_agreed() -> None:
    assert to_table(QUERY) == (
        "Scan     ct.nii.gz: 4 x 5 x 6 voxels of 1 x 1 x 2.5 mm, RAS\n"
        "Organs   seg.nii.gz (totalsegmentator_v1)\n"
        "Model    small (SHA-256 0123456789ab)\n"
        "Warning  thin slab\n"
        "\n"
        '1. "fatty liver": found in the liver (score 0.87, threshold 0.50)\n'
        "   Organ   Score  Similarity  Volume ml  State\n"
        "   liver    0.87       0.410     1510.2  present\n"
        "   spleen   0.20       0.100       90.0  cut off by the scan's edge\n"
        "\n"
        '2. "no gallstones": cannot be answered: gallbladder not in the segmentation\n'
        "   Organ        Score  Similarity  Volume ml  State\n"
        "   gallbladder      -           -          -  not in the segmentation\n"
        "\n"
        '3. "moon": cannot be answered: no organ of the segmentation belongs to the question\n'
        "\n"
        "Research software, not a medical device.\n"
    )


def test_the_table_shows_the_best_organs_and_counts_the_rest() -> None:
    organs = tuple(OrganScore(f"o{n}", f"organ {n}", "present", 0.1, n / 100) for n in range(22))
    answer = dataclasses.replace(QUERIES[0], organs=organs)
    lines = to_table(dataclasses.replace(QUERY, queries=(answer,)), max_rows=10).splitlines()
    shown = [line.strip().split("  ")[0] for line in lines if line.startswith("   organ")]
    assert shown == [f"organ {n}" for n in range(21, 11, -1)]
    assert "   ... and 12 more" in lines


@pytest.mark.parametrize("width", [72, 80, 120])
def test_no_line_of_the_table_is_wider_than_the_terminal(width: int) -> None:
    organ = OrganScore("long", "a very long organ name " * 9, "cut", 0.1, 0.9, 12345.6)
    answer = dataclasses.replace(QUERIES[0], text="a question with very many words " * 9, organs=(organ, LIVER))
    for result in (dataclasses.replace(QUERY, queries=(answer,)), ORGANS):
        assert max(map(len, to_table(result, width).splitlines())) <= width


def test_names_from_a_file_cannot_control_the_terminal() -> None:
    organ = OrganScore("x", "liver\x1b[2J\nfound", "present", 0.1, 0.9)
    answer = dataclasses.replace(QUERIES[0], organs=(organ,))
    table = to_table(dataclasses.replace(QUERY, queries=(answer,)))
    assert "\x1b" not in table
    assert "liver?[2J found" in table


def test_the_organs_table_gives_the_rank_of_each_own_name() -> None:
    lines = [line.split() for line in to_table(ORGANS).splitlines()]
    assert ["spleen", "stomach", "2", "0.600"] in lines
    assert ["liver", "liver", "1", "0.500"] in lines
    assert ["skin", "liver", ">", "5", "0.200"] in lines
    assert ["brain", "not", "in", "the", "segmentation", "-", "-"] in lines
    assert "Own name first 50.0%, in the first five 100.0%, of 2 measured organs with a vocabulary name." in to_table(
        ORGANS
    )
