"""What an Envoy of ours is told: pure functions from a snapshot to resources, and the bootstrap.

Nothing here knows how configuration is delivered (that is `mesh/xds`), and nothing but
`bootstrap` touches a file. Resources are plain dictionaries in the shape of Envoy's own
documentation; `mesh/xds/encoding.py` turns them into protobuf.
"""
