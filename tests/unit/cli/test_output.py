"""What is printed: data whole, terminals never driven."""

import json

import pytest
import yaml
from google.protobuf.timestamp_pb2 import Timestamp
from soma.audit.v1.service_pb2 import VerifyChainResponse
from soma.orchestrator.v1.resources_pb2 import Session

from mesh.cli.output import Output, as_json, as_yaml, clean, line, show, show_rows, when

# Colour, title, cursor, C1, carriage return, backspace, bell, right-to-left override, isolate.
HOSTILE = "a\x1b[31mb\x1b]0;title\x07c\x9b2Jd\re\x08f\x7fg\u202eh\u2066i\x00j"
UNSAFE = "\x1b\x07\x9b\r\x08\x7f\u202e\u2066\x00"


def has_unsafe(text: str) -> bool:
    return any(each in text for each in UNSAFE)


def test_text_keeps_its_words_and_lines_and_loses_what_drives_a_terminal() -> None:
    assert clean(HOSTILE) == "a[31mb]0;titlec2Jdefghij"
    assert clean("first\n\tsecond — größer 日本 🙂") == "first\n\tsecond — größer 日本 🙂"


def test_a_line_is_one_line_of_a_width() -> None:
    assert line("a\nb\t\tc\u2028d") == "a b c d"
    assert line("x" * 80, widest=10) == "x" * 9 + "…"


@pytest.mark.parametrize("write", [as_json, as_yaml])
def test_data_is_escaped_and_read_back_unchanged(write: object) -> None:
    value = {"text": HOSTILE, "list": [HOSTILE, "plain"], "lines": "a\nb\n", "größer": "日本"}
    written = write(value)  # type: ignore[operator]  # a function of the table
    assert not has_unsafe(written)
    assert (json.loads(written) if write is as_json else yaml.safe_load(written)) == value


def test_json_keeps_fields_that_are_false_or_zero(capsys: pytest.CaptureFixture[str]) -> None:
    show(VerifyChainResponse(), Output.JSON)
    assert json.loads(capsys.readouterr().out) == {
        "valid": False,
        "record_count": "0",
        "first_invalid_index": "0",
        "head_hash": "",
    }


def test_a_table_has_a_head_and_cuts_wide_cells(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Session(id="ses_1", display_name=HOSTILE), Session(id="ses_22", display_name="y" * 100)]
    show_rows(rows, Output.TABLE, (("id", lambda row: row.id), ("name", lambda row: row.display_name)))
    head, first, second = capsys.readouterr().out.splitlines()
    assert head == "ID      NAME"
    assert first.startswith("ses_1   a[31m")
    assert len(second) == 8 + 60
    assert not has_unsafe(first)


def test_rows_are_an_array_also_when_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([], Output.JSON, ())
    assert json.loads(capsys.readouterr().out) == []


def test_one_message_is_a_field_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(Session(id="ses_1", persona="guide"), Output.TABLE)
    assert "persona       guide" in capsys.readouterr().out.splitlines()


def test_an_absent_time_is_nothing() -> None:
    assert when(Timestamp()) == ""
    assert when(Timestamp(seconds=1_700_000_000)) == "2023-11-14 22:13:20"
