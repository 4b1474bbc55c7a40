"""CSV tables of volumes: what is read, and every way in which one is broken."""

from __future__ import annotations

import math

import pytest

from ctglip_training.evaluation.tables import find_column, plain_name, read_table, without_ending
from CTGLIPLib.errors import InputError

KEYS = ("VolumeName", "file_name")


def table_of(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    return read_table(path, KEYS)


def test_a_table_is_read_with_spaces_blank_lines_and_a_byte_order_mark(tmp_path):
    table = table_of(tmp_path, "volumename, Emphysema ,x\na.nii.gz, 0.5 ,1\n\nb,nan,\n", "utf-8-sig")
    assert table.volumes == ("a", "b")
    assert list(table.columns) == ["Emphysema", "x"]
    values = table.numbers("Emphysema")
    assert values[0] == 0.5
    assert math.isnan(values[1])
    assert math.isnan(table.numbers("x")[1])


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nii", "v.npz", " v ", "v.NII.GZ", "v.mha", "v.nrrd"])
def test_a_volumes_name_has_no_ending(name):
    assert without_ending(name) == "v"


@pytest.mark.parametrize(
    "column", ["Pleural effusion", "pleural_effusion", "Pleural-Effusion", "lung_Pleural effusion_Not it._It."]
)
def test_a_finding_is_found_however_it_is_written(tmp_path, column):
    assert find_column(table_of(tmp_path, f"VolumeName,{column}\na,1\n"), "Pleural effusion") == column
    assert find_column(table_of(tmp_path, f"VolumeName,{column}\na,1\n"), "effusion") is None
    assert plain_name(" Pleural  effusion. ") == "pleural_effusion"


def test_two_columns_of_one_finding_are_refused(tmp_path):
    table = table_of(tmp_path, "VolumeName,Pleural effusion,pleural_effusion\na,1,0\n")
    with pytest.raises(InputError, match="one column for Pleural effusion in .*, got Pleural effusion and pleural_eff"):
        find_column(table, "Pleural effusion")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"Expected a header and a row a volume in .*, got 0 lines"),
        ("VolumeName,x\n", "got 1 lines"),
        ("name,x\na,1\n", r"Expected a column of volumes named 'VolumeName' or 'file_name' in .*, got name, x"),
        ("VolumeName;x\na;1\n", "got VolumeName;x"),
        ("VolumeName,x,x\na,1,2\n", r"Expected every column once in .*, got x more than once"),
        ("VolumeName,x\na,1\nb\n", r"Expected 2 cells in row 3 of .* as in the header, got 1"),
        ("VolumeName,x\na,1\n,1\n", r"Expected the name of a volume in row 3"),
        ("VolumeName,x\na,1\nb,1\na.nii.gz,1\n", r"got the one of row 2 again in row 4 \(1 repeated in all\)"),
    ],
)
def test_a_broken_table_is_refused_with_its_row(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        table_of(tmp_path, text)


def test_a_file_that_is_none_or_not_text_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"Expected a CSV table at .*none.csv, got: .*No such file"):
        read_table(tmp_path / "none.csv", KEYS)
    with pytest.raises(InputError, match="Give the path of a UTF-8 file"):
        table_of(tmp_path, "VolumeName,ä\na,1\n", "latin-1")


def test_a_cell_that_is_no_number_is_named_by_row_and_column(tmp_path):
    table = table_of(tmp_path, "VolumeName,x\na,1\nb,yes\n")
    with pytest.raises(InputError, match=r"Expected a number in column 'x', row 3 of .*, got 'yes'"):
        table.numbers("x")
