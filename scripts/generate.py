"""Generates everything under gen/ from proto/: Python, type stubs, descriptors.

`python scripts/generate.py` writes; `--check` generates into a temporary folder
and fails when what is committed differs. The OpenAPI description is made from
the descriptors by `scripts/openapi.py`, which this program calls.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import google.api
import grpc_tools
import openapi
from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GEN = ROOT / "gen"
VALIDATE = "buf/validate/validate.proto"


def third_party_roots() -> list[Path]:
    """Folders of the installed packages that carry google/**/*.proto."""
    googleapis = Path(next(iter(google.api.__path__))).parent.parent
    return [googleapis, Path(grpc_tools.__file__).parent / "_proto"]


def validate_descriptor(target: Path) -> Path:
    """Writes protovalidate's own descriptor as a set, since its wheel carries no .proto file."""
    file = descriptor_pb2.FileDescriptorProto.FromString(_validate_bytes())
    deps = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(deps.file.add())
    deps.file.append(file)
    path = target / "validate.binpb"
    path.write_bytes(deps.SerializeToString())
    return path


def _validate_bytes() -> bytes:
    return validate_pb.desc().proto.to_binary()


def run_protoc(*arguments: str) -> None:
    """Runs protoc with this environment's plugins; a failure has been printed by protoc itself."""
    bins = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": bins + os.pathsep + os.environ.get("PATH", "")}
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise SystemExit("protoc failed")


def generate(target: Path, *, source_image: Path | None = None) -> None:
    """Generates all of gen/ into `target`; `source_image` gets the descriptors with comments, for buf."""
    python, descriptors = target / "python", target / "descriptors"
    for folder in (python, descriptors):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        known = validate_descriptor(Path(name))
        files = sorted(str(p.relative_to(PROTO)) for p in PROTO.rglob("*.proto"))
        full = Path(name) / "full.binpb"
        roots = [f"-I{p}" for p in (PROTO, *third_party_roots())]
        run_protoc(
            *roots,
            f"-I{Path(name)}",
            f"--descriptor_set_in={known}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={full}",
            *files,
            "google/rpc/error_details.proto",
            "google/rpc/status.proto",
        )
        run_protoc(
            f"--descriptor_set_in={full}",
            f"--python_out={python}",
            f"--grpc_python_out={python}",
            f"--mypy_out=quiet:{python}",
            f"--mypy_grpc_out=quiet:{python}",
            *files,
        )
        run_protoc(
            f"--descriptor_set_in={full}", f"--python_out={python}", f"--mypy_out=quiet:{python}", VALIDATE
        )
        image = descriptor_pb2.FileDescriptorSet.FromString(full.read_bytes())
        openapi.write(image.SerializeToString(), target / "openapi" / "openapi.json", version=_version())
        if source_image is not None:
            source_image.write_bytes(image.SerializeToString(deterministic=True))
        for file in image.file:
            file.ClearField("source_code_info")
        (descriptors / "soma.binpb").write_bytes(image.SerializeToString(deterministic=True))
    _remove_empty_grpc(python)


def _version() -> str:
    """The project's version."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _remove_empty_grpc(python: Path) -> None:
    """Files without services get no grpc modules."""
    for path in python.rglob("*_pb2_grpc.py"):
        if "add_" not in path.read_text():
            path.unlink()
            path.with_suffix(".pyi").unlink(missing_ok=True)


def differing(ours: Path, fresh: Path) -> list[str]:
    """Paths below gen/ that are missing, superfluous or different."""
    left = {p.relative_to(ours) for p in ours.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    right = {p.relative_to(fresh) for p in fresh.rglob("*") if p.is_file()}
    changed = {p for p in left & right if not filecmp.cmp(ours / p, fresh / p, shallow=False)}
    return sorted(str(p) for p in (left ^ right) | changed)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when gen/ is not fresh")
    parser.add_argument("--image", type=Path, help="also write the descriptors with comments here")
    arguments = parser.parse_args()
    check = arguments.check
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name)
        generate(fresh, source_image=arguments.image)
        if check:
            stale = differing(GEN, fresh)
            if stale:
                raise SystemExit("gen/ is not fresh; run `make gen`:\n  " + "\n  ".join(stale))
            return
        shutil.rmtree(GEN, ignore_errors=True)
        shutil.copytree(fresh, GEN)
        GEN.chmod(0o755)


if __name__ == "__main__":
    main()
