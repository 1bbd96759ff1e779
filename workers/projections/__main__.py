"""`python -m workers.projections`."""

from mesh.runtime.process import run
from workers.projections.config import Settings
from workers.projections.wiring import build

if __name__ == "__main__":
    run(build, Settings)
