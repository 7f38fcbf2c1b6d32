"""CSV files, tables in metadata, and the page as text."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from tvmq.errors import TvmqError
from tvmq.report.files import METADATA, TABLES, read_csv, read_metadata_table, tables
from tvmq.report.records import Advice, TensorRecord

from .synthetic import report


def test_csv(tmp_path):
    made = report()
    made.to_csv(tmp_path / "new" / "folder")
    for name, record in TABLES.items():
        with (tmp_path / "new/folder" / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == [field.name for field in dataclasses.fields(record)]
        assert len(rows) == len(getattr(made, name))
    rows = read_csv(tmp_path / "new/folder", "tensors")
    assert rows[0]["layer"] == "block/0/conv<0>"
    assert float(rows[1]["accumulated_sqnr"]) == 40.0
    assert rows[0]["accumulated_sqnr"] == ""
    layers = read_csv(tmp_path / "new/folder", "layers")
    assert layers[0]["layer"] == 'soft<max> & "co", 1'
    assert layers[0]["reason"] == "no integer kernel"


def test_metadata_survives_json():
    made = report()
    metadata = json.loads(json.dumps({METADATA: tables(made, ("tensors", "outputs"))}, allow_nan=False))
    (row, *_) = read_metadata_table(metadata, "tensors", "a.tar")
    assert TensorRecord(**row) == made.tensors[0]
    assert list(metadata[METADATA]) == ["tensors", "outputs"]


def test_metadata_without_a_report():
    with pytest.raises(TvmqError, match=r"a\.tar holds no table of errors: .*--report DIR"):
        read_metadata_table({}, "tensors", "a.tar")


def test_a_folder_without_a_report(tmp_path):
    with pytest.raises(TvmqError, match="is no report: cannot read 'tensors.csv'"):
        read_csv(tmp_path, "tensors")
    (tmp_path / "tensors.csv").write_text("layer,kind\na,b\n")
    with pytest.raises(TvmqError, match="lacks the column 'min'"):
        read_csv(tmp_path, "tensors")


def test_nothing_can_be_written(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(TvmqError, match="cannot write"):
        report().to_csv(file)
    with pytest.raises(TvmqError, match="cannot write"):
        report().to_html(tmp_path)


def test_names_cannot_leave_their_place_in_the_page(tmp_path):
    made = report()
    name = "</script><script>alert(1)</script>"
    layers = [dataclasses.replace(made.layers[0], layer=name, advice=(Advice(name, name),))]
    dataclasses.replace(made, layers=layers).to_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count("</script>") == 2
    assert "<script>alert" not in text


def test_the_page_refers_to_nothing(tmp_path):
    report().to_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert " src=" not in text
    assert "<link" not in text
    assert "url(" not in text
