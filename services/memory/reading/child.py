"""The process that reads documents: requests on stdin, answers on stdout, one after the other.

Started by `reader` with an empty environment. It gives up what it does not need before it looks at
a byte: more memory, more processor time, files, processes. It ends after a PDF, so that no document
meets what a crafted one left behind.

Wire: a request is a line of JSON `{media_type, size, bounds}` and `size` bytes; an answer is a line
of JSON, `{title, passages}` or `{error}`.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from typing import Any, BinaryIO, Final

from services.memory.reading.blocks import Bounds, UnreadableError
from services.memory.reading.document import PDF, read

MEMORY: Final = 1 << 30  # bytes of address space
FILES: Final = 16


def confine(cpu_seconds: int) -> None:
    """Give up memory, processor time, files and processes beyond what reading needs."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def answer(content: bytes, media_type: str, bounds: Bounds) -> dict[str, Any]:
    """Read a document; give what goes on the wire."""
    try:
        reading = read(content, media_type, bounds)
    except UnreadableError as error:
        return {"error": str(error)}
    except (MemoryError, RecursionError):
        return {"error": "the document takes too much memory to read"}
    return {"title": reading.title, "passages": [asdict(one) for one in reading.passages]}


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are none, or until a PDF was read."""
    for line in requests:
        request = json.loads(line)
        content = requests.read(request["size"])
        if len(content) != request["size"]:
            return
        found = answer(content, request["media_type"], Bounds(**request["bounds"]))
        answers.write(json.dumps(found).encode() + b"\n")
        answers.flush()
        if request["media_type"] == PDF:
            return


if __name__ == "__main__":
    confine(int(sys.argv[1]))
    serve(sys.stdin.buffer, sys.stdout.buffer)
