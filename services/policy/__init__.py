"""Policy: what may be done.

Decides: nothing by itself; every service decides in process (`mesh.policy`), and this one answers questions
about such decisions. Owns: the versions of the rule set (schema `policy`) and the key that signs bundles.
Emits: the signed bundle on `Bundles/WatchBundle`, a fresh signature in time, and an audit record of each
question on `audit.records`.
"""
