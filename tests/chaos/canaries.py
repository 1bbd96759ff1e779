"""Canaries: words that one tenant writes everywhere and nobody else ever does, and the search for them.

A word is looked for as it is, in hexadecimal (as Postgres prints bytes) and in Base64 (as JSON carries
them), at each of the three places where it may begin within a group.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterator, Sequence

from tests.chaos.held import Sighting
from tests.chaos.journal import Owner


def new_canaries(count: int) -> list[str]:
    """Make words of one run; they begin alike, so that one search finds them all."""
    run = secrets.token_hex(4)
    return [f"canary{run}n{index:02d}" for index in range(count)]


def spellings(word: str) -> tuple[str, ...]:
    """How a word may stand in text."""
    raw = word.encode()
    found = [word, raw.hex()]
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode()
        first = -(-before * 8 // 6)  # what belongs to the word alone
        last = (before + len(raw)) * 8 // 6
        found.append(encoded[first:last])
    return tuple(found)


class Spotter:
    """Finds the canaries of some owners in text and bytes."""

    def __init__(self, owners: Sequence[Owner]) -> None:
        """Prepare the search."""
        self._spelled = {form: one.canary for one in owners for form in spellings(one.canary)}
        self._any = re.compile("|".join(map(re.escape, self._spelled)))

    @property
    def pattern(self) -> str:
        """A regular expression that matches every spelling of every canary."""
        return self._any.pattern

    def may_be_in(self, content: bytes) -> bool:
        """Whether a content is worth a closer look."""
        return any(form.encode() in content for form in self._spelled)

    def seen(self, content: str | bytes) -> set[str]:
        """The canaries in a content."""
        text = content if isinstance(content, str) else content.decode("latin-1")
        return {self._spelled[found] for found in self._any.findall(text)}

    def sightings(self, content: str | bytes, *, place: str, tenant: str = "") -> Iterator[Sighting]:
        """What a place shows."""
        for canary in sorted(self.seen(content)):
            yield Sighting(canary=canary, place=place, tenant=tenant)
