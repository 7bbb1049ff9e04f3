"""A real Mosquitto for tests: `with Mosquitto(folder) as broker:`. It can be killed, halted, continued and started again."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from streamd.demo.broker import free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

PATIENCE = 10.0


def mosquitto_path() -> str:
    """Where Mosquitto is; skips the test without it, but fails where CI=true promises that it is there."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("mosquitto is missing: apt-get install mosquitto")
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    return found


def wait_until(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Look at a condition until it holds; fails after `timeout` seconds, saying for what it waited."""
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"waited {timeout:g} s for {what}")
        time.sleep(0.01)


class Mosquitto:
    """A broker of its own on a free port of 127.0.0.1.

    users: password by name, anonymous is allowed without any. acl: the lines of an access-control list. tls: a certificate
    that the broker shows; the port then speaks TLS only. client_ca: the authority whose clients alone may come in.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: dict[str, str] | None = None,
        acl: str | None = None,
        tls: Certificate | None = None,
        client_ca: Path | None = None,
        persistent: bool = False,
    ) -> None:
        self.port = free_port()
        self._program = mosquitto_path()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["per_listener_settings false", f"listener {self.port} 127.0.0.1", "log_dest none"]
        # Started as root, Mosquitto would drop to a user who cannot read the folders of pytest.
        lines.append(f"user {'root' if os.geteuid() == 0 else 'nobody'}")
        if tls is not None:
            lines += [f"certfile {tls.certificate}", f"keyfile {tls.key}"]
        if client_ca is not None:
            lines += [f"cafile {client_ca}", "require_certificate true"]
        lines.append(f"allow_anonymous {'false' if users else 'true'}")
        if users:
            lines.append(f"password_file {self._write_passwords(users)}")
        if acl is not None:
            (folder / "acl").write_text(acl)
            lines.append(f"acl_file {folder / 'acl'}")
        if persistent:
            lines += ["persistence true", f"persistence_location {folder}/"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._folder / "mosquitto.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._listens, f"mosquitto at port {self.port}")

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._signal(signal.SIGTERM)
        if self._process is not None:
            self._process.wait(PATIENCE)
            self._process = None

    def kill(self) -> None:
        """End it without warning."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(PATIENCE)
            self._process = None

    def halt(self) -> None:
        """Let it hang: the kernel goes on taking bytes for it."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it continue after `halt`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "mosquitto ended at once; look at its configuration"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _write_passwords(self, users: dict[str, str]) -> Path:
        path = self._folder / "passwords"
        path.write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
        path.chmod(0o600)
        passwd = shutil.which("mosquitto_passwd", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin")
        assert passwd is not None, "mosquitto_passwd comes with mosquitto"
        subprocess.run([passwd, "-U", str(path)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return path


@dataclass(frozen=True)
class Received:
    """A message that a subscriber got; `at` in monotonic seconds."""

    at: float
    topic: str
    body: bytes
    retained: bool
    properties: Properties | None


@dataclass
class Listener:
    """A subscriber to everything (or to `topics`): `messages` in the order of arrival. Also sends, to play the other side."""

    port: int
    topics: tuple[str, ...] = ("#",)
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    mqtt5: bool = True
    messages: list[Received] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._ready = 0
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5 if self.mqtt5 else paho.MQTTv311, client_id=""
        )
        if self.username is not None:
            self.client.username_pw_set(self.username, self.password)
        if self.tls is not None:
            self.client.tls_set_context(self.tls)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message
        self.client.connect(self.host, self.port)
        self.client.loop_start()
        self.await_subscriptions()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def await_subscriptions(self) -> None:
        """Wait until the broker, which may have been away, hands over everything that is said from now on."""
        wait_until(lambda: self._ready >= len(self.topics), "the listener's subscriptions")

    def at(self, topic: str) -> list[Received]:
        """The messages of one topic, in order."""
        return [message for message in self.messages if message.topic == topic]

    def send(self, topic: str, body: bytes = b"", *, retain: bool = False, properties: Properties | None = None) -> None:
        """Publish, and wait until the broker has it."""
        self.client.publish(topic, body, qos=1, retain=retain, properties=properties).wait_for_publish(PATIENCE)

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        for topic in self.topics:
            if self.mqtt5:
                client.subscribe(topic, options=SubscribeOptions(qos=1))
            else:
                client.subscribe(topic, qos=1)

    def _on_disconnect(self, *_: object) -> None:
        self._ready = 0

    def _on_subscribe(self, *_: object) -> None:
        self._ready += 1

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        properties = message.properties if self.mqtt5 else None
        self.messages.append(Received(time.monotonic(), message.topic, bytes(message.payload), message.retain, properties))


@dataclass(frozen=True)
class Certificate:
    """Paths of a certificate and its private key, PEM."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of its own that issues certificates into a folder; `certificate` is its root, PEM."""

    def __init__(self, folder: Path, name: str = "streamd test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        root = (
            self._builder(self._name, self._key, timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "authority.pem"
        self.certificate.write_bytes(root.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, host: str = "127.0.0.1", life: timedelta = timedelta(days=1)) -> Certificate:
        """A certificate for a host (name or address); a negative `life` makes one that has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            alternative = x509.DNSName(host)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, life)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        issued = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        issued.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        issued.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return issued

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta) -> x509.CertificateBuilder:
        ends = datetime.now(UTC) + life
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(ends - timedelta(days=2))
            .not_valid_after(ends)
        )
