"""A report: one A4 page, HTML or PDF, that says what was asked, what was found and what could not be seen."""

from __future__ import annotations

import base64
import io
import re
import zlib
from dataclasses import replace
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path

import pytest
from patient import make_model, make_patient
from PIL import Image
from studies import make_study

from CTGLIPLib.config import ScoreConfig
from CTGLIPLib.errors import Cancelled, CheckpointError, OutputError
from CTGLIPLib.predict import Predictor, Study
from CTGLIPLib.query import answer_questions
from CTGLIPLib.report import write_report
from CTGLIPLib.report_layout import HEIGHT_MM, WIDTH_MM, fit, width_mm, wrapped
from CTGLIPLib.report_page import WARNING, caption, report_page
from CTGLIPLib.results import OrganScore, QueryAnswer, QueryResult
from CTGLIPLib.text_bank import open_text_encoder

NOTICE = "Research software, not a medical device. Not for diagnosis or treatment."
QUESTIONS = ("fatty liver", "left kidney", "lung", "gallstones", "urinary bladder", "no splenomegaly")


@pytest.fixture(scope="module")
def predictor(tiny_model: Path) -> Predictor:
    return Predictor.from_pretrained(str(tiny_model), "cpu")


@pytest.fixture(scope="module")
def study(predictor: Predictor) -> Study:
    return predictor.encode(*make_patient())


@pytest.fixture(scope="module")
def result(predictor: Predictor, study: Study) -> QueryResult:
    return predictor.query(study, QUESTIONS)


@pytest.fixture(scope="module")
def html(predictor, study, result, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report(predictor, study, result, path) == path
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pdf(predictor, study, result, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("report") / "report.pdf"
    assert write_report(predictor, study, result, path) == path
    return path.read_bytes()


class Reader(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.cells.append([])

    def handle_data(self, data) -> None:
        if self.tags and self.tags[-1][0] in {"td", "th"} and data.strip():
            self.cells[-1].append(data)


def texts_of(pdf: bytes) -> str:
    """What the page of a PDF writes, in its order."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    (page,) = [text for text in map(_unpacked, streams) if b" Tf" in text]
    blocks = re.findall(rb"\bBT\b(.*?)\bET\b", page, re.DOTALL)
    lines = [b"".join(re.findall(rb"\(((?:[^()\\]|\\.)*)\)", block)) for block in blocks]
    return "\n".join(re.sub(r"\\(.)", r"\1", line.decode("latin-1").replace("\0", "")) for line in lines)


def pairs_in(word: str) -> list[str]:
    """The pairs of letters of a word: newer versions of matplotlib write some as one letter."""
    return [a + b for a, b in zip(word, word[1:], strict=False)]


def _unpacked(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def answer(number: int, **changes) -> QueryAnswer:
    organ = OrganScore("liver", "liver", "present", 0.2, 0.3, 1000.0, (0.0, 0.0, 0.0), 0.1)
    usual = QueryAnswer(
        f"question {number}", "finding", None, False, ("liver",), "not_found", 0.5, ("a",), ("b",), (organ,)
    )  # fmt: skip
    return replace(usual, **changes)


def page_of(*answers: QueryAnswer, score: ScoreConfig | None = None):
    study = make_study(score=score)
    return report_page(study, QueryResult(study.study, study.model, study.segmentation, answers))


def test_the_html_is_whole_in_itself_and_runs_nothing(html):
    reader = Reader(html)
    names = [tag for tag, _ in reader.tags]
    assert not {"script", "link", "iframe", "object"} & set(names)
    addresses = [value for _, given in reader.tags for key, value in given.items() if key in {"src", "href"}]
    assert addresses
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not [key for _, given in reader.tags for key in given if key.startswith("on")]
    assert "http" not in html
    assert "@page { size: A4;" in html
    picture = Image.open(io.BytesIO(base64.b64decode(addresses[0].partition(",")[2])))
    assert (picture.format, picture.width) == ("PNG", 1500)


def test_the_notice_stands_on_top_and_at_the_bottom(html, pdf):
    assert WARNING == NOTICE
    body = html.partition("<body>")[2]
    assert [body.index(NOTICE) < 200, body.rindex(NOTICE) > len(body) - 200, body.count(NOTICE)] == [True, True, 2]
    lines = texts_of(pdf).splitlines()
    assert (lines[0], lines[-1]) == (NOTICE, NOTICE)


def test_scan_model_organs_and_date_are_told(html, pdf, predictor, study):
    scan = study.embedding.study
    sha256 = predictor.model.sha256[:12].partition("f")[0]  # "ff" may be one letter in a PDF, see pairs_in
    facts = (
        "volume", "40 x 34 x 28 voxels of 7 x 7 x 7 mm; 280 x 238 x 196 mm (R-L, A-P, S-I)", scan.orientation,
        "8 from given", f"test (SHA-256 {sha256}",
        "none: scores are not probabilities of disease", f"{datetime.now(timezone.utc):%Y-%m-%d} ",
    )  # fmt: skip
    for text in (html, texts_of(pdf)):
        assert [fact for fact in facts if fact not in text] == []
        assert "It is not calibrated: it orders the organs, and is no probability of disease." in " ".join(text.split())


def test_the_date_is_that_of_utc():
    page = report_page(make_study(), answer_questions(make_study(), ["liver"], open_text_encoder("minilm")), None)
    assert dict(page.facts)["Report of"].endswith(" UTC")
    moment = datetime.fromisoformat("2026-02-03T23:30:00-02:00")
    study = make_study()
    dated = report_page(study, QueryResult(study.study, study.model, study.segmentation, ()), moment)
    assert dict(dated.facts)["Report of"] == "2026-02-04 01:30 UTC"


def test_a_calibrated_model_says_on_what():
    page = page_of(score=ScoreConfig(calibrated_on="a thousand simulated findings"))
    assert dict(page.facts)["Calibration"] == "a thousand simulated findings"
    assert "a probability for scans like those" in page.meaning


def test_what_was_asked_and_not_found_is_a_row_in_plain_words(html, result):
    rows = {cells[0]: cells[1:] for cells in Reader(html).cells if len(cells) == 7}
    assert list(rows)[1:] == list(QUESTIONS)
    assert rows["Question"] == ["Answer", "Organ", "Score", "Threshold", "State", "Volume ml"]
    bladder = result.queries[4].best
    assert rows["urinary bladder"][0] == "asked, not found"
    assert rows["urinary bladder"][1] == f"closest: {bladder.readable}"
    assert "Of the organs asked: urinary bladder not in the segmentation." in html
    assert rows["gallstones"][0] == "cannot be answered: gallbladder too small to score"
    assert rows["gallstones"][1:] == ["-", "-", "0.50", "too small to score", "-"]
    assert rows["left kidney"][0] == "found: left kidney"
    assert rows["left kidney"][2] == f"{result.queries[1].best.score:.2f}"
    assert rows["lung"][4] == "cut off by the scan's edge"
    assert rows["no splenomegaly"][0].startswith(("asked, not found, as the text says", "found in the spleen although"))


def test_the_pdf_says_what_the_html_says(html, pdf):
    written = " ".join(texts_of(pdf).split())
    for cells in Reader(html).cells:
        words = [word for cell in cells for word in cell.split() if not {"ff", "fi", "fl"} & {*pairs_in(word)}]
        assert [word for word in words if word not in written] == []


def test_the_pdf_is_one_a4_page_of_text_without_paths_of_the_machine(pdf, tmp_path):
    assert re.findall(rb"/Count (\d+)", pdf) == [b"1"]
    (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf)
    assert [round(float(side) / 72 * 25.4) for side in box] == [210, 297]
    assert str(tmp_path.parents[1]).encode() not in pdf
    assert b"/Creator (CT-GLIP)" in pdf
    assert b"matplotlib" not in pdf.lower()


def test_texts_are_escaped(predictor, study, tmp_path):
    asked = '<script>alert("x")</script> & stone in the liver'
    result = QueryResult(
        replace(study.embedding.study, name="<b>ct&.nii.gz"),
        study.embedding.model, study.embedding.segmentation, (answer(1, text=asked),),
    )  # fmt: skip
    text = write_report(predictor, study, result, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; stone in" in text
    assert "&lt;b&gt;ct&amp;.nii.gz" in text
    assert write_report(predictor, study, result, tmp_path / "r.pdf").stat().st_size > 1000


def test_letters_that_the_font_lacks_are_question_marks_in_the_pdf_alone(predictor, study, tmp_path):
    asked = "肺结节 in the liver, \U0001f642 опухоль"
    info = study.embedding
    result = QueryResult(info.study, info.model, info.segmentation, (answer(1, text=asked),))
    text = write_report(predictor, info, result, tmp_path / "r.html").read_text(encoding="utf-8")
    assert asked in text
    words = texts_of(write_report(predictor, info, result, tmp_path / "r.pdf").read_bytes())
    assert "??? in the liver" in words


def test_findings_that_were_found_are_pictured_first_and_a_few_that_came_close_otherwise():
    def scored(number: int, score: float, **changes) -> QueryAnswer:
        best = replace(answer(0).organs[0], score=score)
        return answer(number, organs=(best,), **changes)

    found = [scored(n, 0.5 + n / 20, answer="found") for n in range(6)]
    organ = scored(9, 1.0, answer="found", kind="organ")
    close = [scored(n, n / 100) for n in range(10, 14)]
    unseen = answer(20, answer="unanswerable", organs=())
    pictured = [a.text for a in page_of(*found, organ, *close, unseen).pictured]
    assert pictured == ["question 5", "question 4", "question 3", "question 2"]
    assert [a.text for a in page_of(organ, *close, unseen).pictured] == ["question 9", "question 13"]
    assert [a.text for a in page_of(*close, unseen).pictured] == ["question 13", "question 12"]
    assert page_of(unseen).pictured == ()


def test_a_caption_tells_what_the_picture_shows():
    assert caption(answer(1)) == (
        '"question 1" | asked, not found | score 0.30 | views through: liver | colours: score, 0 to 1'
    )


@pytest.mark.parametrize("count", [1, 8, 14, 20, 30, 60, 500])
def test_many_questions_are_counted_instead_of_overflowing_the_page(count):
    long = "a rather long question about the liver, " * 8
    for texts in (["short"] * count, [long] * count, ["x" * 400] * count):
        page = page_of(*(answer(n, text=text) for n, text in enumerate(texts)))
        layout = fit(page, drawable=True)
        assert layout.height_mm <= HEIGHT_MM
        assert len(layout.rows) + layout.left_out == count
        assert len(layout.rows) >= min(count, 12)
        assert bool(layout.more) == bool(layout.left_out)
    assert fit(page_of(answer(1)), drawable=True).left_out == 0


def test_rows_that_are_left_out_are_counted_in_words(predictor, study, tmp_path):
    result = QueryResult(
        study.embedding.study, study.embedding.model, study.embedding.segmentation,
        tuple(answer(n) for n in range(200)),
    )  # fmt: skip
    text = write_report(predictor, study, result, tmp_path / "r.html").read_text(encoding="utf-8")
    shown = len(re.findall(r"question \d+</td>", text))
    assert 25 < shown < 200
    assert f"... and {200 - shown} more questions: findings.csv has every answer." in text


def test_fewer_pictures_are_drawn_where_the_table_is_long():
    counts = []
    for rows in (4, 12, 20, 60):
        answers = [answer(n, answer="found") for n in range(rows)]
        pictures = fit(page_of(*answers), drawable=True).pictures
        counts.append(pictures.count if pictures else 0)
    assert counts[0] == 4
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_lines_are_as_wide_as_they_may_be_and_no_wider():
    text = "left lower lobe of the lung and everything beside it"
    lines = wrapped(text, 30.0, 8.0, 9)
    assert " ".join(lines) == text
    assert max(width_mm(line, 8.0) for line in lines) <= 30.0
    assert width_mm(f"{lines[0]} {lines[1].split()[0]}", 8.0) > 30.0
    cut = wrapped("word " * 200, 30.0, 8.0, 2)
    assert len(cut) == 2
    assert cut[1].endswith("...")
    assert all(width_mm(line, 8.0) <= 30.0 for line in (*cut, *wrapped("x" * 300, 30.0, 8.0, 3)))
    assert wrapped("", 30.0, 8.0, 2) == ("",)
    assert width_mm("Score", 16.0) == pytest.approx(2 * width_mm("Score", 8.0))
    assert width_mm(NOTICE, 8.5) < WIDTH_MM


def test_a_study_without_voxels_has_a_report_without_pictures(study, result, tmp_path):
    text = write_report(None, study.embedding, result, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "found: left kidney" in text


def test_many_warnings_are_counted():
    study = make_study()
    info = replace(study.study, warnings=tuple(f"warning {n} " + "w" * 400 for n in range(6)))
    page = report_page(study, QueryResult(info, study.model, study.segmentation, ()))
    assert len(page.warnings) == 4
    assert page.warnings[-1] == "... and 3 more, in findings.json."
    assert fit(page, drawable=True).height_mm <= HEIGHT_MM


@pytest.mark.parametrize("name", ["report", "report.txt", "report.docx", "report.html.gz"])
def test_another_ending_is_refused(name, predictor, study, result, tmp_path):
    with pytest.raises(OutputError, match=r"must end in \.html or \.pdf, got report"):
        write_report(predictor, study, result, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["report.html", "REPORT.PDF"])
def test_cancelling_leaves_no_file(name, predictor, study, result, tmp_path):
    told = []

    def progress(what: str, done: int, total: int) -> bool:
        told.append((what, done, total))
        return len(told) < 2

    with pytest.raises(Cancelled):
        write_report(predictor, study, result, tmp_path / name, progress)
    assert told[0][:2] == ("writing the report", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(predictor, study, result, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Could not write"):
        write_report(predictor, study.embedding, result, tmp_path / "file" / "report.html")


def test_the_answers_of_another_model_are_refused(study, result, tmp_path):
    other = Predictor(make_model(tmp_path / "other", seed=5), "cpu")
    with pytest.raises(CheckpointError, match="was encoded by model test"):
        write_report(other, study, result, tmp_path / "report.html")
