"""Certificates of one installation: root, intermediate and a 24-hour leaf for each workload.

Owns the folder `$SOMA_HOME/pki` and what lies in it. Each workload reads its own folder only; the
keys of the root and of the intermediate are read by `python -m mesh.pki` and by the control plane.
In a cluster another issuer (cert-manager, SPIRE) fills the workload folders with the same file
names, and everything that reads them stays as it is.
"""
