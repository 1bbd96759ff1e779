"""Ways to write a path so that who decides by it and who maps it might read two different ones."""

from __future__ import annotations

from collections.abc import Iterator


def disguises(path: str) -> Iterator[str]:
    """Give spellings of a path; some are the same resource, some are none."""
    head, _, last = path.rpartition("/")
    first, rest = path[1:2], path[2:]
    yield from (
        f"/{path}",
        f"//{path[1:]}//",
        f"{path}/",
        f"{path}//",
        f"/.{path}",
        f"/x/..{path}",
        f"{path}/.",
    )
    yield from (f"{path}/x/..", f"/%2e%2e{path}", f"/x/%2e%2e{path}", f"/x/%2E%2E{path}", f"/x%2f..{path}")
    yield from (
        f"{head}%2f{last}",
        f"{head}%2F{last}",
        f"{head}\\{last}",
        f"{head}%5c{last}",
        f"/%2f{path[1:]}",
    )
    yield from (
        f"/%{ord(first):02x}{rest}",
        f"/%25{ord(first):02x}{rest}",
        f"/{first.upper()}{rest}",
        path.upper(),
    )
    yield from (
        f"{path};x",
        f"{path};x=/",
        f"{head};x/{last}",
        f"{path}%3bx",
        f"{path}#x",
        f"{path}%23",
        f"{path}?",
    )
    yield from (
        f"{path}?#",
        f"{path}%3f",
        f"{path}%00",
        f"{path}\x00",
        f"{path}%0d%0a",
        f"{path}%20",
        f"{path}\t",
    )
    yield from (
        f"{path}%c0%af",
        f"{head}%c0%af{last}",
        f"{head}%c0%ae{last}",
        f"{path}%ff",
        f"{path}\xff",
        f"{path}*",
    )
    yield from (
        f"http://soma{path}",
        f"http://soma@evil{path}",
        f"https://127.0.0.1{path}",
        f"soma{path}",
        path[1:],
    )
    yield from (
        f"{path}:",
        f"{path}%3a",
        f"{path}%3Ax",
        f"{path}:x:y",
        f"{path}.",
        f"{path}.json",
        f"{path}%2ejson",
    )
    yield from (
        f"{path}/{{id}}",
        f"{path}?x=1",
        f"{path}??",
        f"{path}&x",
        f"{path}%26",
        f"{path}~",
        f"{path}!",
    )


OVERRIDES = (
    "x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url",
    "x-original-uri", "x-forwarded-uri", "x-forwarded-path", "x-envoy-original-path",
    "x-envoy-original-method", "x-forwarded-prefix", ":path", "x-envoy-decorator-operation",
)  # fmt: skip
