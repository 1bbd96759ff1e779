"""The bootstrap model, converted once for all tests of the engine."""

from pathlib import Path

import pytest

from models.convert import decoder

WEIGHTS = Path(__file__).parents[3] / "models" / "bootstrap" / "weights"


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the committed bootstrap model as int8 ONNX, as Triton serves it."""
    folder = tmp_path_factory.mktemp("bootstrap")
    decoder.convert(WEIGHTS, folder, precision="int8")
    return folder
