"""Makes a served model of a weights folder: ``python -m models.convert FOLDER --out DIR [--name NAME]``.

Writes DIR/NAME: a model of Triton's repository (configuration, entry, profile), graph and tokenizer inside.
DIR can be named to Triton as one more ``--model-repository``. The folder appears by one rename or not at all.
"""

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Final

from models.convert import decoder
from models.convert.errors import ConversionError
from models.convert.folders import appearing
from models.convert.graph import Precision

PACKAGE: Final = Path(__file__).resolve().parent.parent
TEMPLATE: Final = PACKAGE / "repository" / "slm"
NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}")
CHAT_END: Final = "<|im_end|>"


def convert(
    source: Path, out: Path, *, name: str, precision: Precision, library: Path, window: int, slots: int
) -> Path:
    """Return the folder of the served model; raise `ConversionError` for what cannot be served."""
    if not NAME.fullmatch(name):
        raise ConversionError(f"model name {name!r} must match {NAME.pattern}")
    target = out / name
    if target.exists():
        raise ConversionError(f"{target} is there already; remove it or choose another name")
    window = min(window, decoder.Architecture.read(source).positions)
    with appearing(target) as partial:
        decoder.convert(source, partial / "1" / "weights", precision=precision)
        shutil.copyfile(TEMPLATE / "1" / "model.py", partial / "1" / "model.py")
        settings = {"library": str(library), "weights": "1/weights"}
        settings |= {"window": str(window), "slots": str(slots)}
        settings["step_threads"] = (
            "0"  # a larger model's step is worth dividing, and its weights are not doubled
        )
        (partial / "config.pbtxt").write_text(configuration(name, settings))
        (partial / "profile.json").write_text(json.dumps(_profile(name, source, window), indent=2) + "\n")
    return target


def configuration(name: str, settings: dict[str, str]) -> str:
    """Return the template's config.pbtxt with another name and other parameters."""
    text = (TEMPLATE / "config.pbtxt").read_text().replace('name: "slm"', f'name: "{name}"', 1)
    for key, value in settings.items():
        opening = f'key: "{key}" value {{ string_value: '
        before, found, after = text.partition(opening)
        if not found:
            raise ConversionError(f"the template has no parameter {key}")
        rest = after[after.index('"', 1) + 1 :]  # the template's own value has no quotation mark inside
        text = f"{before}{opening}{json.dumps(value)}{rest}"
    return text


def _profile(name: str, source: Path, window: int) -> dict[str, object]:
    chat = CHAT_END in (source / "tokenizer.json").read_text(encoding="utf-8")
    return {
        "name": name,
        "prompt": "chatml",
        "context_window": window,
        "max_output_tokens": window // 2,
        "tokenizer": "1/weights/tokenizer.json",
        "stop": [CHAT_END] if chat else [],
        "description": f"Converted from {source.name}.",
        "notice": "",
    }


def main() -> None:
    """Read the command line, convert, print the folder."""
    parser = argparse.ArgumentParser(description="convert a Llama- or Qwen2-shaped folder to a served model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="model repository to add to")
    parser.add_argument("--name", help="the model's name; the folder's by default")
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--library", type=Path, default=PACKAGE.parent, help="where `models` lies")
    parser.add_argument("--window", type=int, default=2048, help="tokens of prompt and answer")
    parser.add_argument("--slots", type=int, default=8, help="sequences decoded together")
    options = parser.parse_args()
    try:
        made = convert(
            options.folder,
            options.out,
            name=options.name or options.folder.resolve().name.lower(),
            precision=options.precision,
            library=options.library.resolve(),
            window=options.window,
            slots=options.slots,
        )
    except ConversionError as error:
        raise SystemExit(f"models: {error}") from error
    print(made)


if __name__ == "__main__":
    main()
