"""The manifest: what is written comes back, as CSV and Parquet, and can be moved; tables are read as they come."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile

import pytest
from data_sets import write_csv, write_xlsx

from ctglip_training.data import layout
from ctglip_training.data.manifest import Manifest, read_manifest, write_manifest
from ctglip_training.data.study import Corrections, Study, directions_of, split_named
from ctglip_training.data.tables import cell, labels_in, read_table
from CTGLIPLib.errors import DependencyError, InputError, OutputError

FULL = Study(
    id="a_1",
    patient="a",
    volume="x/a_1.nii.gz",
    layout="ct-rate",
    series="1.2.3",
    masks="masks/a_1",
    mask_names='{"1": "liver"}',
    report='Findings: "quoted", a comma,\na new line; Größe 3 cm',
    report_file="reports/a.txt",
    regions={"lung/left": "Clear."},
    labels={"effusion": 1.0, "nodule": 0.0},
    split="val",
    corrections=Corrections(2.0, -1024.0, (0.7, 0.7, 1.5), (1.0, 2.0, 3.0), (1.0, 0, 0, 0, 1.0, 0), ""),
    expected_spacing_mm=(0.7, 0.7, 1.5),
    exclude="no chest",
)
BARE = Study(id="b", patient="b", volume="b.nii.gz", layout="msd")


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    write_manifest(Manifest(tmp_path / "data", (FULL, BARE)), tmp_path / "manifest.csv")
    manifest = read_manifest(tmp_path / "manifest.csv")
    assert manifest.studies == (FULL, BARE)
    assert manifest.root == tmp_path / "data"
    assert manifest.usable == (BARE,)


def test_a_parquet_manifest_comes_back_as_it_was_written(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is the extra training-data")
    write_manifest(Manifest(tmp_path, (FULL, BARE)), tmp_path / "manifest.parquet")
    assert read_manifest(tmp_path / "manifest.parquet").studies == (FULL, BARE)


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DependencyError, match=r"pip install 'ctglip\[training-data\]'"):
        write_manifest(Manifest(tmp_path, (BARE,)), tmp_path / "manifest.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_can_be_moved_with_its_data(tmp_path):
    write_manifest(Manifest(tmp_path / "old" / "data", (BARE,)), tmp_path / "old" / "manifest.csv")
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert read_manifest(tmp_path / "new" / "manifest.csv").root == tmp_path / "new" / "data"


def test_data_that_lies_elsewhere_is_found_by_its_whole_path_or_as_the_user_says(tmp_path):
    far = tmp_path / "a" / "b" / "c" / "d"
    write_manifest(Manifest(tmp_path / "data", (BARE,)), far / "manifest.csv")
    assert read_manifest(far / "manifest.csv").path("x.nii") == tmp_path / "data" / "x.nii"
    assert read_manifest(far / "manifest.csv", tmp_path / "moved").root == tmp_path / "moved"


def test_a_report_longer_than_pythons_own_limit_comes_back(tmp_path):
    long = Study(id="c", patient="c", volume="c.nii", layout="x", report="word " * 60_000)
    write_manifest(Manifest(tmp_path, (long,)), tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv").studies == (long,)


def test_two_studies_of_one_id_are_refused(tmp_path):
    with pytest.raises(InputError, match="'b' occurs twice"):
        write_manifest(Manifest(tmp_path, (BARE, BARE)), tmp_path / "manifest.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volume": ""}, r"Row 2 of m.csv \('b'\) is broken: it needs volume"),
        ({"split": "holdout"}, "A split must be one of train, val, test, got 'holdout'"),
        ({"labels": "[1"}, r"Row 2 of m.csv"),
        ({"corrections": '{"slop": 1}'}, "Expected corrections as JSON"),
        ({"corrections": '{"slope": 0}'}, "slope other than 0"),
        ({"corrections": '{"spacing_mm": [0, 1, 1]}'}, "A spacing must be positive"),
        ({"expected_spacing_mm": "[1, 2]"}, "Expected three numbers"),
    ],
)
def test_a_broken_row_is_refused_by_its_number(tmp_path, changes, message):
    write_csv(tmp_path / "m.csv", [{"study": "b", "patient": "b", "volume": "b.nii", **changes}])
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path / "m.csv")


def test_what_is_no_manifest_is_refused(tmp_path):
    write_csv(tmp_path / "other.csv", [{"name": "x"}])
    write_csv(tmp_path / "empty.csv", [{"study": 1, "patient": 1, "volume": 1}])
    header = (tmp_path / "empty.csv").read_text("utf-8").splitlines()[0]
    (tmp_path / "empty.csv").write_text(header + "\n", encoding="utf-8")
    for name, message in (
        ("other.csv", "lacks the columns study, patient, volume"),
        ("empty.csv", "has no study"),
        ("absent.csv", "There is no manifest"),
        ("manifest.txt", r"ends in .csv or .parquet"),
    ):
        with pytest.raises(InputError, match=message):
            read_manifest(tmp_path / name)


def test_a_manifest_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="Could not write"):
        write_manifest(Manifest(tmp_path, (BARE,)), tmp_path / "file" / "manifest.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_column_titles_are_the_same_with_spaces_underscores_and_capitals():
    row = {"Study ID": " x ", "Findings_EN": "nan"}
    assert cell(row, "study_id") == "x"
    assert cell(row, "findings en") == ""


def test_only_ones_and_zeros_are_labels():
    row = {"VolumeName": "1", "a": "1", "b": "0.0", "c": "-1", "d": "", "e": "2"}
    assert labels_in(row, ("VolumeName",)) == {"a": 1, "b": 0}


def test_a_workbook_and_a_table_of_text_give_the_same_rows(tmp_path):
    rows = [{"study id": "A", "Findings": "x < y & z\nmore", "count": 3}]
    write_xlsx(tmp_path / "t.xlsx", rows)
    write_csv(tmp_path / "t.csv", rows)
    write_csv(tmp_path / "t.tsv", rows, delimiter="\t")
    tables = [read_table(tmp_path / name, ("Study_ID",)) for name in ("t.xlsx", "t.csv", "t.tsv")]
    assert tables[0] == tables[1] == tables[2] == [{"study id": "A", "Findings": "x < y & z\nmore", "count": "3"}]


@pytest.mark.parametrize(("word", "split"), [("Validation", "val"), ("tst", "test"), ("training", "train"), ("", "")])
def test_words_for_splits_are_understood(word, split):
    assert split_named(word) == split


@pytest.mark.parametrize("letters", ["", "LP", "LRS", "XYZ", "LPSA"])
def test_letters_that_name_no_orientation_are_refused(letters):
    with pytest.raises(InputError, match="An orientation has one letter each"):
        directions_of(letters)


def test_corrections_that_change_nothing_are_an_empty_cell():
    assert Corrections().to_json() == ""
    assert json.loads(Corrections(intercept=-8192.0).to_json()) == {"intercept": -8192.0}


def test_reading_a_manifest_needs_no_torch():
    code = "import sys, ctglip_training.data.check, ctglip_training.data.layouts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_tables_are_not_sought_among_thousands_of_studies(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "MOST_TABLE_FOLDERS", 3)
    for name in ("dataset/metadata", "dataset/tables", *(f"studies/s{n}" for n in range(4))):
        write_csv(tmp_path / name / "t.csv", [{"a": 1}])
    found = [path.parent.name for path in layout.find_tables(tmp_path, ("t.csv",))]
    assert found == ["metadata", "tables"]


def test_a_workbook_without_a_sheet_or_with_a_broken_one_is_refused(tmp_path):
    for name, content in (("none", {}), ("broken", {"xl/worksheets/sheet1.xml": "<worksheet>"})):
        with zipfile.ZipFile(tmp_path / f"{name}.xlsx", "w") as book:
            for part, text in content.items():
                book.writestr(part, text)
        with pytest.raises(InputError, match=f"{name}.xlsx cannot be read"):
            read_table(tmp_path / f"{name}.xlsx")


def test_cells_written_in_place_and_escaped_characters_are_read(tmp_path):
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    rows = (
        '<row r="1"><c r="A1" t="inlineStr"><is><t>study id</t></is></c><c r="C1" t="s"><v>0</v></c></row>'
        '<row r="2"><c r="A2" t="inlineStr"><is><t>A</t></is></c><c r="C2" t="s"><v>1</v></c></row>'
    )
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as book:
        book.writestr("xl/worksheets/sheet1.xml", f"<worksheet {space}><sheetData>{rows}</sheetData></worksheet>")
        texts = "<si><t>Findings</t></si><si><r><t>two </t></r><r><t>parts_x000D_</t></r></si>"
        book.writestr("xl/sharedStrings.xml", f"<sst {space}>{texts}</sst>")
    assert read_table(tmp_path / "t.xlsx") == [{"study id": "A", "Findings": "two parts\r"}]
