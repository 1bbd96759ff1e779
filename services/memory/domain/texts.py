"""Texts as they are remembered, indexed and looked for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

# The embedding model reads 256 tokens, about 1,200 characters; the rest would only cost time.
LONGEST_QUERY: Final = 2_000
LONGEST_INPUT: Final = 600
LONGEST_ANSWER: Final = 1_400
LONGEST_KEY: Final = 512  # bytes; an index holds 2,700
_SPACES: Final = re.compile(r"\s+")


def digest(text: str) -> bytes:
    """Give the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).digest()


def query(text: str) -> str:
    """Give what of a query is looked for: its beginning, with single spaces."""
    return _SPACES.sub(" ", text[: 4 * LONGEST_QUERY]).strip()[:LONGEST_QUERY]


def shortened(text: str, longest: int) -> str:
    """Cut a text at the last sentence or word that fits."""
    text = text.strip()
    if len(text) <= longest:
        return text
    head = text[:longest]
    end = max(head.rfind(mark) for mark in (". ", "! ", "? ", "\n"))
    if end < longest // 2:
        end = head.rfind(" ") - 1
    return (head[: end + 1] if end > 0 else head).rstrip()


def of_turn(said: str, answered: str) -> str:
    """Give the memory of a turn: what was said and what was answered, shortened; empty without both."""
    said = shortened(said.replace("\x00", ""), LONGEST_INPUT)
    answered = shortened(answered.replace("\x00", ""), LONGEST_ANSWER)
    if not said or not answered:
        return ""
    return f"The user said: {said}\nThe agent answered: {answered}"


def of_passage(title: str, headings: Sequence[str], text: str) -> str:
    """Give what is embedded for a passage: what stands above it, and its text."""
    above = list(headings) if headings and headings[0] == title else [title, *headings]
    context = " > ".join(one for one in above if one)
    return f"{context}\n{text}" if context else text


def title_of(given: str, found: str, source: str) -> str:
    """Choose a document's title: given, else found in it, else the last part of its source."""
    name = PurePosixPath(urlsplit(source).path).name if "://" in source else PurePosixPath(source).name
    return given.strip() or found.strip() or name or "Untitled"


def document_key(source: str, content_digest: str) -> str:
    """Give what a document is known by: its source, or the digest of a long one; else its own digest."""
    if not source:
        return f"sha256:{content_digest}"
    return f"source:{source}" if len(source.encode()) <= LONGEST_KEY else f"long:{digest(source).hex()}"


def label_terms(labels: Mapping[str, str]) -> list[str]:
    """Give labels in the form that the vector store filters by."""
    return sorted(f"{name}={value}" for name, value in labels.items())
