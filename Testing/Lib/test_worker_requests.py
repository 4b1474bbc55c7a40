"""Lines that the worker understands, and those that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from CTGLIPLib.worker_requests import (
    Ask,
    BadRequestError,
    Batch,
    Cancel,
    Describe,
    Heatmap,
    Job,
    Quit,
    Report,
    StudyRequest,
    parse_line,
)

STUDY = {
    "ct": "/x/ct.nii",
    "segmentation": "/x/organs.seg.nrrd",
    "names": None,
    "segmenter": "own",
    "model": "default",
    "device": "cpu",
    "text_encoder_folder": None,
    "name": "CT 1",
    "organs_path": None,
}
SCAN = StudyRequest(Path("/x/ct.nii"), Path("/x/organs.seg.nrrd"), None, "own", "default", "cpu", None, "CT 1", None)


def parse(**values: object):
    return parse_line(json.dumps(values).encode())


@pytest.mark.parametrize(
    ("values", "request_"),
    [
        ({"command": "describe"}, Describe()),
        ({"command": "describe", "models": ["a"]}, Describe(("a",))),
        ({"command": "ask", "study": STUDY, "texts": ["é", " "]}, Ask(SCAN, ("é", " "))),
        (
            {"command": "heatmap", "study": {"ct": "c"}, "text": "t", "path": "/h.nii"},
            Heatmap(StudyRequest(Path("c")), "t", Path("/h.nii")),
        ),
        (
            {"command": "report", "study": STUDY, "texts": ["t"], "path": "r.PDF"},
            Report(SCAN, ("t",), Path("r.PDF")),
        ),
        (
            {"command": "batch", "folder": "f", "texts": ["t"], "out": "o", "device": "cpu"},
            Batch(Path("f"), ("t",), Path("o"), device="cpu"),
        ),
    ],
)
def test_every_command_is_read(values, request_):
    assert parse(id=3, **values) == Job(3, request_)


def test_cancel_and_quit_are_no_jobs():
    assert parse(command="cancel", id=7) == Cancel(7)
    assert parse(command="quit") == Quit()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"command": "sing"}, "one of describe, ask, heatmap, report, segment_tumor, batch, cancel, quit, got 'sing'"),
        ({"command": ["ask"]}, "must be one of describe"),
        ({}, "got None"),
        ({"command": "ask"}, "ask must have the keys study, texts; got study, texts missing"),
        ({"command": "ask", "study": STUDY, "texts": []}, "at least one question"),
        ({"command": "ask", "study": STUDY, "texts": [" "]}, "at least one question"),
        ({"command": "ask", "study": STUDY, "texts": "liver"}, "ask.texts must be a list, got 'liver'"),
        ({"command": "ask", "study": {}, "texts": ["t"]}, r"ask.study must have the keys ct, .*; got ct missing"),
        ({"command": "ask", "study": STUDY | {"segmenter": "best"}, "texts": ["t"]}, "one of totalsegmentator, own"),
        ({"command": "ask", "study": STUDY | {"organs_path": "a.nii"}, "texts": ["t"]}, "must end in .seg.nrrd"),
        ({"command": "heatmap", "study": STUDY, "text": "t", "path": "a.png"}, "path must end in .nii or"),
        ({"command": "report", "study": STUDY, "texts": ["t"], "path": "a.doc"}, "path must end in .html or .pdf"),
        ({"command": "describe", "id": 5, "model": "a"}, "model unknown"),
    ],
)
def test_a_request_that_is_wrong_is_refused_under_its_id(values, message):
    with pytest.raises(BadRequestError, match=message) as refused:
        parse(**({"id": 5} | values))
    assert refused.value.id == 5


@pytest.mark.parametrize("bad_id", [None, "1", 1.5, True])
def test_a_request_without_a_whole_number_as_id_is_refused(bad_id):
    for command in ("describe", "cancel"):
        with pytest.raises(BadRequestError, match=f"{command} needs an id that is a whole number") as refused:
            parse(command=command, id=bad_id)
        assert refused.value.id is None


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe{}", b"[" * 100_000, b"7", b'"ask"', b"[]", b"null"])
def test_a_line_that_is_no_object_is_refused_without_an_id(line):
    with pytest.raises(BadRequestError, match="must be (one|a) JSON object") as refused:
        parse_line(line)
    assert refused.value.id is None
