"""The bootstrap model's training text: documentation strings of Python and of packages that the locks pin.

Owns the choice, order and form of the text. It reads source files with ``ast`` and imports none of them, so
that what it collects depends on the files alone. It refuses sources whose licence is not permissive:
`PACKAGES` lists each one with its licence, and the model card repeats the list.
"""

import ast
import hashlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

END: Final = "<|endoftext|>"
TURN_OPEN: Final = "<|im_start|>"
TURN_CLOSE: Final = "<|im_end|>"
SPECIAL_TOKENS: Final = (END, TURN_OPEN, TURN_CLOSE)

STANDARD_LIBRARY_LICENCE: Final = "PSF-2.0"
PACKAGES: Final[dict[str, str]] = {
    "aiohttp": "Apache-2.0",
    "aiokafka": "Apache-2.0",
    "anyio": "MIT",
    "asyncpg": "Apache-2.0",
    "attr": "MIT",
    "click": "BSD-3-Clause",
    "cryptography": "Apache-2.0 or BSD-3-Clause",
    "google/protobuf": "BSD-3-Clause",
    "grpc": "Apache-2.0",
    "h2": "MIT",
    "huggingface_hub": "Apache-2.0",
    "jsonschema": "MIT",
    "limits": "MIT",
    "markdown_it": "MIT",
    "numpy": "BSD-3-Clause",
    "openai": "Apache-2.0",
    "opentelemetry": "Apache-2.0",
    "prometheus_client": "Apache-2.0",
    "pydantic": "MIT",
    "pygments": "BSD-2-Clause",
    "qdrant_client": "Apache-2.0",
    "redis": "MIT",
    "rich": "MIT",
    "sortedcontainers": "Apache-2.0",
    "structlog": "MIT or Apache-2.0",
    "temporalio": "MIT",
    "tenacity": "Apache-2.0",
    "typer": "MIT",
    "urllib3": "MIT",
    "werkzeug": "BSD-3-Clause",
    "wrapt": "BSD-2-Clause",
    "yarl": "Apache-2.0",
}
SKIPPED_FOLDERS: Final = frozenset(
    {"test", "tests", "idlelib", "lib2to3", "site-packages", "__pycache__", "_vendor"}
)
MIN_CHARACTERS: Final = 40
MAX_CHARACTERS: Final = 6000


def collect() -> list[str]:
    """Return the documents, each once, in an order that depends on their text alone."""
    roots = [(Path(sysconfig.get_path("stdlib")), "")]
    site = Path(sysconfig.get_path("purelib"))
    roots += [(site / name, name.replace("/", ".")) for name in PACKAGES]
    documents = {text for root, prefix in roots for text in _documents_below(root, prefix)}
    return sorted(documents, key=lambda text: hashlib.sha256(text.encode()).digest())


def as_conversation(document: str) -> str:
    """Return a documented name as a question and an answer, in ChatML."""
    name, _, text = document.partition("\n")
    return f"{TURN_OPEN}user\nWhat is {name}?{TURN_CLOSE}\n{TURN_OPEN}assistant\n{text}{TURN_CLOSE}\n"


def render(documents: list[str]) -> list[str]:
    """Return the training texts: every second document as a conversation, the others plain."""
    return [as_conversation(text) if index % 2 else text for index, text in enumerate(documents)]


def digest(documents: list[str]) -> str:
    """Return the sha256 of the documents joined by NUL: the corpus that a card or a log names."""
    return hashlib.sha256("\0".join(documents).encode()).hexdigest()


def _documents_below(root: Path, prefix: str) -> Iterator[str]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: install requirements/dev.lock into this environment first")
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not SKIPPED_FOLDERS.intersection(parts):
            yield from _documents_in(path, [part for part in (prefix, *parts) if part and part != "__init__"])


def _documents_in(path: Path, module: list[str]) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # templates and files in other encodings are no source text
        return
    for names, node in _definitions(tree, module):
        text = (ast.get_docstring(node) or "").strip()
        if MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS and text.isascii():
            yield f"{'.'.join(names)}\n{text}"


Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(node: Definition, names: list[str]) -> Iterator[tuple[list[str], Definition]]:
    yield names, node
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _definitions(child, [*names, child.name])
