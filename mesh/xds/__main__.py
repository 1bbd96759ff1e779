"""`python -m mesh.xds`: the control plane."""

from mesh.runtime.process import run
from mesh.xds.config import Settings
from mesh.xds.wiring import build

if __name__ == "__main__":
    run(build, Settings)
