"""Records that the old ``tvmc`` wrote."""

from __future__ import annotations

from tvmq.tvmc.old.records import current_records


def test_a_file_is_passed_over(tmp_path, caplog):
    path = tmp_path / "autotuner_records.json"
    path.write_text('{"input": ["llvm"]}\n')
    assert current_records(path) is None
    assert caplog.messages == [
        f"{path} is a file, as AutoTVM and the auto-scheduler wrote, and no folder of records: it is passed over"
    ]


def test_a_folder_stays(tmp_path, caplog):
    assert current_records(tmp_path) == tmp_path
    assert current_records(tmp_path / "missing") == tmp_path / "missing"
    assert current_records(None) is None
    assert caplog.messages == []


def test_what_is_not_needed_need_not_exist(tmp_path, caplog):
    path = tmp_path / "missing"
    assert current_records(path, needed=False) is None
    assert caplog.messages == [f"there are no tuning records {str(path)!r} yet: they are passed over"]
    assert current_records(tmp_path, needed=False) == tmp_path
    assert current_records(None, needed=False) is None
