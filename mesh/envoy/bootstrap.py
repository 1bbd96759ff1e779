"""`python -m mesh.envoy.bootstrap --home H --xds-port P --admin-port A`: what an edge starts with.

The bootstrap says who the edge is, where its control plane is and by which certificate the two know
each other; everything else comes over ADS. The certificate is a file, watched by Envoy itself, so
that an edge can come back after its control plane was away for longer than a certificate lives.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from pathlib import Path

from mesh.envoy.snapshot import Address
from mesh.envoy.typed import ADS, Resource, extension, socket, typed
from mesh.pki.workloads import workload

NODE = "edge"
_CLUSTER = "xds"
_HEAP = "envoy.resource_monitors.fixed_heap"
_HEAP_BYTES = 2 * 1024**3
_MOST_CONNECTIONS = 20_000
_PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# The default waits up to 30 s: too long for a control plane that restarts in one.
_RECONNECT: Resource = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}


def bootstrap(
    *, folder: Path, control_plane: Address, admin: Address, connections: int = _MOST_CONNECTIONS
) -> Resource:
    """Give the bootstrap of an edge whose SDS files lie in `folder`."""
    return {
        "node": {"id": NODE, "cluster": NODE},
        "admin": {"address": socket(admin)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": _CLUSTER, "retry_policy": _RECONNECT}}],
            },
            "lds_config": ADS,
            "cds_config": ADS,
        },
        "static_resources": {"clusters": [_control_plane(folder, control_plane)]},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "overload_manager": _overload_manager(connections),
    }


def connections_within(descriptors: int) -> int:
    """Give how many clients may be connected with so many file descriptors.

    The rest is for upstreams and files: an edge that has none left accepts in vain, in a loop, and
    reaches no service either.
    """
    return min(_MOST_CONNECTIONS, descriptors - min(1024, descriptors // 4))


def _overload_manager(connections: int) -> Resource:
    """Shed load step by step as the heap fills, rather than be killed with every stream on it.

    First idle connections live shorter, then the streams that hold the most memory end, then requests
    are refused; live streams that hold little go on.
    """
    connected = extension(
        "envoy.resource_monitors.global_downstream_max_connections",
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=connections,
    )
    heap = extension(
        _HEAP,
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        max_heap_size_bytes=_HEAP_BYTES,
    )
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [connected, heap],
        # Streams that buffer less than 1 MiB are never ended for their memory.
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "actions": [
            {
                **_when_heap("envoy.overload_actions.reduce_timeouts", 0.7, 0.95),
                "typed_config": typed(
                    "envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
                    timer_scale_factors=[
                        {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "2s"},
                        {"timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": "1s"},
                    ],
                ),
            },
            _when_heap("envoy.overload_actions.reset_high_memory_stream", 0.8, 0.95),
            _when_heap("envoy.overload_actions.shrink_heap", 0.85),
            _when_heap("envoy.overload_actions.stop_accepting_requests", 0.95),
            _when_heap("envoy.overload_actions.stop_accepting_connections", 0.98),
        ],
    }


def _when_heap(action: str, share: float, saturated: float | None = None) -> Resource:
    """Take an action from a share of the heap on, or by degrees up to a second one."""
    if saturated is None:
        trigger: Resource = {"threshold": {"value": share}}
    else:
        trigger = {"scaled": {"scaling_threshold": share, "saturation_threshold": saturated}}
    return {"name": action, "triggers": [{"name": _HEAP, **trigger}]}


def secret_files(pki: Path) -> dict[str, Resource]:
    """Give the two SDS files; each holds one secret, whose files are watched in `pki`."""
    watched = {"path": str(pki)}
    identity = {
        "certificate_chain": {"filename": str(pki / "cert.pem")},
        "private_key": {"filename": str(pki / "key.pem")},
        "watched_directory": watched,
    }
    root = {"trusted_ca": {"filename": str(pki / "ca.pem")}, "watched_directory": watched}
    return {
        "sds-identity.json": _secret("bootstrap-identity", "tls_certificate", identity),
        "sds-root.json": _secret("bootstrap-root", "validation_context", root),
    }


def prepare(*, home: Path, control_plane: Address, admin: Address) -> Resource:
    """Write the SDS files below `home`; give the bootstrap that names them."""
    folder = home / "run" / "envoy"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in secret_files(home / "pki" / NODE).items():
        temporary = folder / f"{name}.tmp"
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        temporary.replace(folder / name)
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = connections_within(descriptors)
    return bootstrap(folder=folder, control_plane=control_plane, admin=admin, connections=connections)


def _secret(name: str, kind: str, content: Resource) -> Resource:
    secret = typed("envoy.extensions.transport_sockets.tls.v3.Secret", name=name, **{kind: content})
    return {"resources": [secret]}


def _control_plane(folder: Path, address: Address) -> Resource:
    identity = workload("xds")
    members = [{"endpoint": {"address": socket(address)}}]
    return {
        "name": _CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": _CLUSTER,
            "endpoints": [{"lb_endpoints": members}],
        },
        "typed_extension_protocol_options": {
            _PROTOCOL: typed(
                _PROTOCOL,
                explicit_http_config={
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}}
                },
            )
        },
        "transport_socket": extension(
            "envoy.transport_sockets.tls",
            "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            sni=identity.server_name,
            common_tls_context={
                "alpn_protocols": ["h2"],
                "tls_certificate_sds_secret_configs": [
                    _file_secret("bootstrap-identity", folder / "sds-identity.json")
                ],
                "combined_validation_context": {
                    "default_validation_context": {
                        "match_typed_subject_alt_names": [
                            {"san_type": "URI", "matcher": {"exact": identity.spiffe_id}}
                        ]
                    },
                    "validation_context_sds_secret_config": _file_secret(
                        "bootstrap-root", folder / "sds-root.json"
                    ),
                },
            },
        ),
    }


def _file_secret(name: str, path: Path) -> Resource:
    source = {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
    return {"name": name, "sds_config": source}


def main(arguments: list[str] | None = None) -> int:
    """Write the SDS files and print the bootstrap (JSON, which is YAML, too)."""
    parser = argparse.ArgumentParser(prog="python -m mesh.envoy.bootstrap")
    home = os.environ.get("SOMA_HOME")
    parser.add_argument("--home", type=Path, default=home, required=home is None)
    parser.add_argument("--xds-port", type=int, required=True)
    parser.add_argument("--admin-port", type=int, required=True)
    options = parser.parse_args(arguments)
    made = prepare(
        home=Path(options.home).resolve(),
        control_plane=Address("127.0.0.1", options.xds_port),
        admin=Address("127.0.0.1", options.admin_port),
    )
    print(json.dumps(made, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
