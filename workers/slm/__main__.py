"""Starts the worker."""

from mesh.runtime.process import run
from workers.slm.config import Settings
from workers.slm.wiring import build

if __name__ == "__main__":
    run(build, Settings)
