"""How the commands print: data on stdout as a table, JSON or YAML; words on stderr.

What a server or a model says is shown as text and never obeyed: control characters, with which text could
move the cursor, recolour or rename the terminal, and characters that turn the direction of writing are taken
out of what people read, and escaped in JSON and YAML.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

# C0 but tab and newline, DEL, C1, and Unicode's explicit directional formatting (Unicode Annex 9).
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_BREAKS = re.compile(r"[\t\n\u2028\u2029]+")
_WIDEST = 60
Cell = tuple[str, Callable[[Any], object]]


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How to print the data.")]
LimitOption = Annotated[int, typer.Option("-n", "--limit", min=1, help="Most rows to print.")]


def clean(text: str) -> str:
    """Take out what a terminal would obey; newlines and tabs stay."""
    return _UNSAFE.sub("", text)


def line(text: str, *, widest: int = 0) -> str:
    """Give a text as one clean line, cut to a width where one is given."""
    flat = _BREAKS.sub(" ", clean(text)).strip()
    return f"{flat[: widest - 1]}…" if widest and len(flat) > widest else flat


def say(words: str) -> None:
    """Say something to the person on stderr."""
    print(clean(words), file=sys.stderr, flush=True)


def as_dict(message: Message) -> dict[str, Any]:
    """Give a message as JSON names and values, fields with their zero values included."""
    from google.protobuf.json_format import MessageToDict

    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


def as_json(value: Any, *, indent: int | None = 2) -> str:
    """Give JSON in which every unsafe character is escaped."""
    import json

    return _escaped(json.dumps(value, ensure_ascii=False, indent=indent))


def as_yaml(value: Any) -> str:
    """Give YAML in which every unsafe character is escaped."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes what holds an unsafe character, so that it can be escaped."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = '"' if _UNSAFE.search(value) else "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return _escaped(yaml.dump(value, Dumper=Dumper, allow_unicode=True, sort_keys=False)).rstrip("\n")


def show_rows(messages: Iterable[Message], output: Output, cells: Sequence[Cell]) -> None:
    """Print a list: as a table its cells, else all of each message."""
    found = list(messages)
    if output is Output.TABLE:
        _print_table(found, cells)
    else:
        _print_data([as_dict(message) for message in found], output)


def show(message: Message, output: Output, cells: Sequence[Cell] = ()) -> None:
    """Print one message: as a table its cells (all fields where none are named), one a line."""
    if output is not Output.TABLE:
        _print_data(as_dict(message), output)
        return
    shown = [(name, line(str(value(message)))) for name, value in cells] or _fields(message)
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}".rstrip())


def when(stamp: Timestamp) -> str:
    """Give a time as people read it, in UTC; nothing where it is not set."""
    return stamp.ToDatetime().strftime("%Y-%m-%d %H:%M:%S") if stamp.ByteSize() else ""


def first(count: int, rows: Iterable[Any]) -> list[Any]:
    """Give the first rows."""
    from itertools import islice

    return list(islice(rows, count))


def _print_data(value: Any, output: Output) -> None:
    print(as_yaml(value) if output is Output.YAML else as_json(value))


def _print_table(messages: Sequence[Message], cells: Sequence[Cell]) -> None:
    rows = [[name.upper() for name, _ in cells]]
    rows += [[line(str(value(each)), widest=_WIDEST) for _, value in cells] for each in messages]
    widths = [max(len(row[place]) for row in rows) for place in range(len(cells))]
    for row in rows:
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


def _fields(message: Message) -> list[tuple[str, str]]:
    found = as_dict(message).items()
    return [
        (name, line(value if isinstance(value, str) else as_json(value, indent=None)))
        for name, value in found
    ]


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
