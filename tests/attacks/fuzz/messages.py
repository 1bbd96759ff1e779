# ruff: noqa: E501 - a table of cases reads better with a case on a line
"""Random messages of the contracts, valid on the wire and strange in what they hold; and damaged bytes.

Known ids are mixed in, so that not everything ends at "does not exist".
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

F = FieldDescriptor
_DEEPEST: Final = 6
STRANGE: Final = (
    "", " ", "\x00", "a\x00b", "\n\r\t", "\x1b[31m", "\u202e\u2066", "\ufeff", "\U0010ffff", "\ud7ff",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "e\u0301" * 50, "A" * 300, "\u00df" * 70_000, "../../etc/passwd",
    "'; drop table sessions; --", "{{7*7}}${7*7}%s%n", "ses_", "trn_1", "*", "null", "0", "-1", "1e400",
    "9" * 5000, "guide", "default", "bootstrap", "embed", "slm", "text/plain", "text/html", "application/pdf",
    "tenants/x", "https://127.1/", "%00%ff", "a" * 128, "a" * 129, "true and (", "((((" * 200,
)  # fmt: skip
_RANGES: Final = {
    F.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    F.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    F.CPPTYPE_UINT32: (0, 2**32 - 1),
    F.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FLOATS: Final = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-320, 1e38, float("inf"), float("-inf"), float("nan"))


class Messages:
    """Makes messages; `known` holds values for fields of a name."""

    def __init__(self, rng: random.Random, known: Mapping[str, Sequence[Any]]) -> None:
        self.rng = rng
        self._known = known

    def fill(self, message: Message, depth: int = 0) -> Message:
        """Set random fields of a message."""
        for field in message.DESCRIPTOR.fields:
            if self.rng.random() < (0.3 if depth == 0 else 0.5):
                continue
            if field.is_repeated:
                self._fill_many(message, field, depth)
            elif field.message_type is not None:
                if depth < _DEEPEST:
                    getattr(message, field.name).SetInParent()
                    self.fill(getattr(message, field.name), depth + 1)
            else:
                setattr(message, field.name, self._scalar(field))
        return message

    def _fill_many(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        count = self.rng.choice((0, 1, 1, 2, 3, 40))
        held = getattr(message, field.name)
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            self._fill_map(held, kind, min(count, 3), depth)
            return
        for _ in range(count if kind is None else min(count, 2)):
            if kind is None:
                held.append(self._scalar(field))
            elif depth < _DEEPEST:
                self.fill(held.add(), depth + 1)

    def _fill_map(self, held: Any, kind: Descriptor, count: int, depth: int) -> None:
        value = kind.fields_by_name["value"]
        for _ in range(count):
            key = self._scalar(kind.fields_by_name["key"])
            if value.message_type is None:
                held[key] = self._scalar(value)
            elif depth < _DEEPEST:
                self.fill(held[key], depth + 1)

    def _scalar(self, field: FieldDescriptor) -> Any:
        known = self._known.get(field.name)
        if known and self.rng.random() < 0.6:
            return self.rng.choice(known)
        match field.cpp_type:
            case F.CPPTYPE_STRING if field.type == F.TYPE_BYTES:
                return self.rng.choice(
                    (b"", b"\xff\xfe", b"%PDF-1.7\n", self.rng.randbytes(50), b"x" * 20_000)
                )
            case F.CPPTYPE_STRING:
                return self.text()
            case F.CPPTYPE_BOOL:
                return self.rng.random() < 0.5
            case F.CPPTYPE_ENUM:
                numbers = [value.number for value in field.enum_type.values]
                return self.rng.choice([*numbers, *numbers, 77, -1, 2**31 - 1])
            case F.CPPTYPE_DOUBLE | F.CPPTYPE_FLOAT:
                return self.rng.choice(_FLOATS)
            case kind:
                least, most = _RANGES[kind]
                return self.rng.choice((0, 1, least, most, max(least, -1), self.rng.randint(least, most)))

    def text(self) -> str:
        """A strange text, or a random one."""
        if self.rng.random() < 0.6:
            return self.rng.choice(STRANGE)
        letters = self.rng.choice(
            (string.printable, string.ascii_lowercase, "\u00e9\u4e2d\U0001f600\u0000\u200b")
        )
        return "".join(self.rng.choice(letters) for _ in range(self.rng.choice((1, 8, 40, 200))))


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The bytes of a message, of which some are changed, cut out, repeated or put in."""
    held = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(held) + 1)
        match rng.randrange(6):
            case 0:
                del held[at:]
            case 1 if at < len(held):
                held[at] = rng.randrange(256)
            case 2:
                held[at:at] = rng.randbytes(rng.choice((1, 5, 50)))
            case 3:
                held[at:at] = held[: rng.randrange(len(held) + 1)][:4096]
            case 4:
                held[at:at] = b"\xff" * rng.choice((1, 9, 11))
            case _:
                # An unknown field of each wire type, and groups that do not end.
                held += rng.choice(
                    (b"\xf8\x07\x01", b"\xfa\x07\x03abc", b"\xfb\x07", b"\xfc\x07", b"\x0a\x02\xff\xfe")
                )
    return bytes(held)
