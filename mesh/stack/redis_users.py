"""`python -m mesh.stack.redis_users`: the platform's users on a Redis that runs elsewhere.

The local Redis reads the same users from a file; one that was given by address is told them by an
administrator's connection (`SOMA_REDIS_ADMIN_URL`, which is what the setting `SOMA_REDIS_URL` held).
"""

from __future__ import annotations

import os
import sys

import redis

from mesh.stack.catalogue import WORKLOADS
from mesh.stack.home import Home
from mesh.stack.secret_files import secret
from mesh.stack.servers.redis import acl_line, password_digest

SECONDS = 10.0


def make(administrator: str, home: Home) -> None:
    """Make or correct every user.

    Raises:
        redis.RedisError: the server does not answer, or the user of the address may not do this.
    """
    with redis.Redis.from_url(administrator, socket_timeout=SECONDS) as connection:
        for one in WORKLOADS:
            digest = password_digest(secret(home.secrets, f"redis-{one.name}"))
            _, name, *rules = acl_line(one, digest).split()
            connection.execute_command("ACL", "SETUSER", name, "reset", *rules)


def main() -> int:
    """Run; a failure is one line on stderr and exit code 1."""
    try:
        make(os.environ["SOMA_REDIS_ADMIN_URL"], Home.from_environment(os.environ))
    except redis.RedisError as error:
        print(f"redis users: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
