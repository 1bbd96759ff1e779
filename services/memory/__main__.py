"""Starts memory."""

from mesh.runtime.process import run
from services.memory.config import Settings
from services.memory.wiring import build

if __name__ == "__main__":
    run(build, Settings)
