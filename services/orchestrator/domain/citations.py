"""Which passages an answer stands on."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from soma.memory.v1 import resources_pb2 as memory_pb
from soma.orchestrator.v1 import resources_pb2 as pb

_MARK: Final = re.compile(r"\[(\d{1,4})\]")
MEMORY_TITLE: Final = "memory"


def numbered(
    passages: Iterable[memory_pb.Passage], memories: Iterable[memory_pb.RecalledMemory]
) -> tuple[pb.Citation, ...]:
    """Number what was found, passages first, as answers cite it."""
    found = [_of_passage(passage) for passage in passages]
    found += [_of_memory(recalled) for recalled in memories]
    for number, citation in enumerate(found, start=1):
        citation.number = number
    return tuple(found)


def cited(text: str, recalled: Sequence[pb.Citation]) -> tuple[pb.Citation, ...]:
    """Return those that the text cites, as in `[2]`."""
    numbers = {int(found) for found in _MARK.findall(text)}
    return tuple(citation for citation in recalled if citation.number in numbers)


def _of_passage(passage: memory_pb.Passage) -> pb.Citation:
    return pb.Citation(
        document_id=passage.document_id,
        title=" > ".join(dict.fromkeys((passage.title, *passage.headings))),
        source=passage.source,
        text=passage.text,
        start=passage.start,
        end=passage.end,
        score=passage.score,
    )


def _of_memory(recalled: memory_pb.RecalledMemory) -> pb.Citation:
    memory = recalled.memory
    return pb.Citation(
        title=MEMORY_TITLE, source=memory.id, text=memory.text, end=len(memory.text), score=recalled.score
    )
