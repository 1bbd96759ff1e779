"""100,000 passages of real text, with their embeddings, made once and kept.

The texts are paragraphs of the documentation that this machine's Python carries: docstrings of the
standard library and of the installed packages, and the packages' own descriptions. Each stands under
the name of what it tells of, 500 in a Markdown document, and is cut by memory's own reader. The
embeddings are made by the encoder that the model `embed` serves, in this process.

Both are kept in `$SOMA_LIB/bench/<digest of the encoder>/`, a document a file, so that a build that
was interrupted goes on and a second run only reads. `python -m tests.bench.corpus` builds it
(on all cores; 40 passages a second with two of them, so 40 minutes once).
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import sys
import sysconfig
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mesh.stack.settings import StackSettings
from models.evaluation.encoder import Encoder
from services.memory.domain import texts
from services.memory.ports import Embedder
from services.memory.reading.blocks import Bounds
from services.memory.reading.document import read

PASSAGES: Final = 100_000
QUESTIONS: Final = 1_000  # passages that are looked for and not indexed
A_DOCUMENT: Final = 500
_SHORTEST, _LONGEST = 24, 1_500
_TITLE_DIGITS: Final = 4
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Document:
    """A document with the embeddings of its passages, by the digest of what is embedded."""

    title: str
    source: str
    content: str
    keys: tuple[bytes, ...]
    vectors: Vectors


def paragraphs() -> Iterator[tuple[str, str]]:
    """Give names and paragraphs, each text once, in an order that does not change on one machine."""
    seen: set[bytes] = set()
    for name, told in _told():
        for paragraph in told.split("\n\n"):
            text = " ".join(paragraph.split())
            key = hashlib.sha256(text.encode(errors="replace")).digest()
            if _SHORTEST <= len(text) <= _LONGEST and text.isprintable() and key not in seen:
                seen.add(key)
                yield name, text


def _told() -> Iterator[tuple[str, str]]:
    library, packages = (Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib"))
    for root in (library, packages):
        for file in sorted(root.rglob("*.py")):
            if root == library and packages in file.parents:
                continue
            yield from _docstrings(file, ".".join(file.relative_to(root).with_suffix("").parts))
    for file in sorted(packages.glob("*.dist-info/METADATA")):
        _, _, told = file.read_text(encoding="utf-8", errors="replace").partition("\n\n")
        yield file.parent.name.partition("-")[0], told


def _docstrings(file: Path, module: str) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of other people's escapes
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return  # what Python cannot read, nobody documents
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = module if isinstance(node, ast.Module) else f"{module}.{node.name}"
            yield name, ast.get_docstring(node) or ""


class Kept:
    """The folder of the corpus that belongs to the encoder of a tree of `models.build`."""

    def __init__(self, settings: StackSettings) -> None:
        """Find the folder; nothing is read or made yet."""
        self._tree = settings.home.models / "current"
        weights = self._tree / "weights" / "minilm" / "model.onnx"
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
        self.folder = settings.home.lib / "bench" / digest

    def documents(self, passages: int) -> list[Document]:
        """Give documents with at least so many passages, building what is missing."""
        self._build(passages)
        found: list[Document] = []
        size = 0
        for file in sorted(self.folder.glob("*.npz")):
            if size >= passages:
                break
            found.append(_read(file))
            size += len(found[-1].keys)
        return found

    def _build(self, passages: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        files = sorted(self.folder.glob("*.npz"))
        size, number = sum(len(_read(file).keys) for file in files), len(files)
        if size >= passages:
            return
        told = paragraphs()
        for _ in range(number * A_DOCUMENT):
            next(told)
        count = os.cpu_count() or 1
        with ProcessPoolExecutor(
            count, mp_context=get_context("spawn"), initializer=_load, initargs=(self._tree,)
        ) as pool:
            while size < passages:
                begin = time.perf_counter()
                some = [list(islice(told, A_DOCUMENT)) for _ in range(count)]
                for made in pool.map(_document, range(number, number + count), some):
                    if not made.keys:
                        raise RuntimeError(f"the packages of this machine tell only {size} passages")
                    _write(self.folder / f"{number:0{_TITLE_DIGITS}}.npz", made)
                    number, size = number + 1, size + len(made.keys)
                seconds = time.perf_counter() - begin
                sys.stderr.write(f"{size} passages, the last {len(some)} documents in {seconds:.1f} s\n")


_loaded: list[Encoder] = []  # of a process of the pool, which the pool's initializer fills


def _load(tree: Path) -> None:
    _loaded.append(Encoder(tree))


def _document(number: int, told: Sequence[tuple[str, str]]) -> Document:
    content = "\n".join(f"## {name}\n\n{text}\n" for name, text in told)
    title = f"Documentation {number}"
    cuts = read(content.encode(), "text/markdown", Bounds()).passages
    written = [texts.of_passage(title, one.headings, one.text) for one in cuts]
    vectors = _loaded[0](written) if written else np.zeros((0, 384), np.float32)
    keys = tuple(texts.digest(text) for text in written)
    return Document(title, f"bench/documentation-{number:04}.md", content, keys, vectors)


def _write(file: Path, made: Document) -> None:
    told = json.dumps({"title": made.title, "source": made.source, "content": made.content})
    draft = file.with_suffix(".draft")
    with draft.open("wb") as stream:
        np.savez(
            stream,
            told=np.frombuffer(told.encode(), np.uint8),
            keys=np.frombuffer(b"".join(made.keys), np.uint8).reshape(-1, 32),
            vectors=made.vectors,
        )
    draft.replace(file)


def _read(file: Path) -> Document:
    with np.load(file) as kept:
        told = json.loads(kept["told"].tobytes())
        keys = tuple(row.tobytes() for row in kept["keys"])
        return Document(told["title"], told["source"], told["content"], keys, kept["vectors"])


class KeptEmbedder:
    """Embeds from what was kept, and asks another embedder for the rest."""

    def __init__(self, documents: Sequence[Document], other: Embedder) -> None:
        """Take the documents whose passages are known."""
        self._known = {
            key: vector for one in documents for key, vector in zip(one.keys, one.vectors, strict=True)
        }
        self._other = other

    async def embed(
        self, texts_: Sequence[str], *, model: str = "embed", timeout_seconds: float = 10.0
    ) -> list[list[float]]:
        """Return one vector for each text, in order."""
        found = [self._known.get(texts.digest(text)) for text in texts_]
        if any(vector is None for vector in found):
            return await self._other.embed(texts_, model=model, timeout_seconds=timeout_seconds)
        return [vector.tolist() for vector in found if vector is not None]


def main() -> None:
    """Build the corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=PASSAGES + QUESTIONS)
    kept = Kept(StackSettings.from_environment(os.environ))
    found = kept.documents(parser.parse_args().passages)
    print(f"{sum(len(one.keys) for one in found)} passages in {kept.folder}")


if __name__ == "__main__":
    main()
