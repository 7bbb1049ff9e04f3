"""Where the broker is, how it can fail, and when to try again. Values and pure functions; mqtt.py acts on them."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker is and how to speak to it. Times in seconds; the password appears in no text."""

    host: str
    port: int = 1883
    tls: bool = False
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_id: str = "streamd"
    protocol: Literal["5", "3.1.1"] = "5"
    keepalive: int = 10
    reconnect_min: float = 0.5
    reconnect_max: float = 4.0
    # Nobody mends a wrong password in half a second, and each try fills the broker's log.
    reconnect_refused: float = 30.0
    connect_timeout: float = 3.0
    max_age: float = 2.0

    @property
    def address(self) -> str:
        """`host:port`, for people."""
        return f"{self.host}:{self.port}"


class BrokerFailure(StrEnum):
    """Why there is no connection, told apart so that each has its own mend."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    NOT_AUTHORISED = "not_authorised"
    UNKNOWN_CA = "unknown_ca"
    WRONG_HOST = "wrong_host"
    EXPIRED = "expired"
    TLS = "tls"
    TLS_FILES = "tls_files"
    PROTOCOL_VERSION = "protocol_version"
    REJECTED = "rejected"
    CLOSED = "closed"
    SILENT = "silent"
    CLIENT_ID_CONFLICT = "client_id_conflict"
    FAULT = "fault"


# What does not heal by itself is retried slowly.
_PERSISTENT = frozenset(
    {
        BrokerFailure.NOT_AUTHORISED,
        BrokerFailure.UNKNOWN_CA,
        BrokerFailure.WRONG_HOST,
        BrokerFailure.EXPIRED,
        BrokerFailure.TLS,
        BrokerFailure.TLS_FILES,
        BrokerFailure.PROTOCOL_VERSION,
        BrokerFailure.REJECTED,
        BrokerFailure.CLIENT_ID_CONFLICT,
    }
)


@dataclass(frozen=True, slots=True)
class BrokerFault:
    """Why there is no connection: the kind, and a sentence with the mend."""

    failure: BrokerFailure
    sentence: str


class TlsFileError(OSError):
    """A file that TLS needs cannot be used."""


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho forgets it then, and it would stay open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def reconnect_delay(attempt: int, settings: BrokerSettings, failure: BrokerFailure, chance: float) -> float:
    """Seconds to wait before the next attempt: doubling up to the limit, shortened by up to a fifth so that nodes spread.

    attempt: 0 for the first one after a good connection. chance: 0..1.
    """
    if failure in _PERSISTENT:
        longest = settings.reconnect_refused
    else:
        longest = min(settings.reconnect_max, settings.reconnect_min * 2 ** min(attempt, 16))
    return longest * (1 - 0.2 * chance)


def tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """Verifies the broker's certificate and name, always; with `ca_file` only that authority is trusted. TlsFileError."""
    path: Path | None = settings.ca_file
    try:
        context = ssl.create_default_context(cafile=None if path is None else str(path))
        if settings.certificate is not None:
            path = settings.certificate
            context.load_cert_chain(settings.certificate, settings.key)
        context.sslsocket_class = _TlsSocket
    except OSError as error:
        raise TlsFileError(f"{path}: {error.strerror or error}") from None
    return context


def fault_of_error(error: OSError | ValueError, settings: BrokerSettings) -> BrokerFault:
    """Why the broker could not be reached, from what the sockets, TLS and paho raise."""
    where = settings.address
    if isinstance(error, TlsFileError):
        return BrokerFault(BrokerFailure.TLS_FILES, f"a TLS file cannot be used: {error}; expected PEM that streamd may read")
    if isinstance(error, ssl.SSLCertVerificationError):
        return _fault_of_certificate(error, settings)
    if isinstance(error, ssl.SSLError) or (settings.tls and isinstance(error, ConnectionResetError)):
        return BrokerFault(
            BrokerFailure.TLS, f"{where} does not agree on TLS ({error}); is this the broker's TLS port (usually 8883)?"
        )
    if isinstance(error, socket.gaierror):
        return BrokerFault(
            BrokerFailure.UNREACHABLE, f"the name {settings.host!r} cannot be resolved ({error.strerror}); check `mqtt.url`"
        )
    if isinstance(error, ConnectionRefusedError):
        return BrokerFault(
            BrokerFailure.REFUSED, f"nothing listens at {where}; is the broker running, and is the port in `mqtt.url` right?"
        )
    if isinstance(error, TimeoutError):
        return BrokerFault(BrokerFailure.TIMEOUT, f"{where} did not answer in time; check `mqtt.url` and the firewall")
    if isinstance(error, ConnectionError):
        return closed_unanswered(settings)
    return BrokerFault(BrokerFailure.UNREACHABLE, f"{where} cannot be reached ({error}); check `mqtt.url` and the network")


# OpenSSL's X509_V_ERR_ codes.
_EXPIRED = {9, 10}
_WRONG_NAME = {62, 64}
_UNKNOWN_ISSUER = {18, 19, 20, 21}


def _fault_of_certificate(error: ssl.SSLCertVerificationError, settings: BrokerSettings) -> BrokerFault:
    where = settings.address
    if error.verify_code in _EXPIRED:
        return BrokerFault(
            BrokerFailure.EXPIRED,
            f"the certificate of {where} is not valid now ({error.verify_message}); renew it, or set this machine's clock",
        )
    if error.verify_code in _WRONG_NAME:
        return BrokerFault(
            BrokerFailure.WRONG_HOST,
            f"the certificate of {where} is for another name ({error.verify_message}); use the name in it in `mqtt.url`",
        )
    if error.verify_code in _UNKNOWN_ISSUER:
        trusted = f"by {settings.ca_file}" if settings.ca_file else "by an authority that this machine trusts"
        return BrokerFault(
            BrokerFailure.UNKNOWN_CA,
            f"the certificate of {where} was not issued {trusted} ({error.verify_message}); "
            "set `mqtt.ca_file` to the certificate of the authority that issued it",
        )
    return BrokerFault(BrokerFailure.TLS, f"the certificate of {where} cannot be trusted ({error.verify_message}); replace it")


def fault_of_reason(code: int, text: str, settings: BrokerSettings) -> BrokerFault:
    """Why the broker answered the CONNECT packet with a refusal: reason codes of MQTT 5, section 3.2.2.2, and their names."""
    where = settings.address
    if code == 132:
        other = "3.1.1" if settings.protocol == "5" else "5"
        return BrokerFault(
            BrokerFailure.PROTOCOL_VERSION, f'{where} does not speak MQTT {settings.protocol}; set `mqtt.protocol: "{other}"`'
        )
    if code in (134, 135, 140):
        who = "without a user name" if settings.username is None else f"as {settings.username!r}"
        return BrokerFault(
            BrokerFailure.NOT_AUTHORISED,
            f"{where} does not let us in {who} ({text}); check the user name and password of `mqtt`",
        )
    if code == 133:
        return BrokerFault(
            BrokerFailure.REJECTED, f"{where} does not take the identifier {settings.client_id!r}; set another `mqtt.client_id`"
        )
    if code in (136, 137, 151, 159):
        return BrokerFault(BrokerFailure.CLOSED, f"{where} has no room for us now ({text}); it is tried again")
    return BrokerFault(BrokerFailure.REJECTED, f"{where} refused the connection ({text}); its log says why")


def no_answer(settings: BrokerSettings) -> BrokerFault:
    """The fault of a port that takes a connection and stays silent."""
    tls = "" if settings.tls else ", or a TLS port (`mqtts://` in `mqtt.url`)"
    return BrokerFault(
        BrokerFailure.TIMEOUT, f"{settings.address} took the connection and did not answer; is it an MQTT broker{tls}?"
    )


def closed_unanswered(settings: BrokerSettings) -> BrokerFault:
    """The fault of a port that takes a connection and closes it."""
    mend = (
        "does it want a client certificate (`mqtt.client_certificate`)?" if settings.tls else "is it a TLS port (`mqtts://`)?"
    )
    version = ' Or a broker that knows only MQTT 3.1.1 (`mqtt.protocol: "3.1.1"`)?' if settings.protocol == "5" else ""
    return BrokerFault(BrokerFailure.CLOSED, f"{settings.address} closed the connection without an answer; {mend}{version}")


def silent(settings: BrokerSettings) -> BrokerFault:
    """The fault of a broker that takes messages and confirms none."""
    return BrokerFault(
        BrokerFailure.SILENT,
        f"{settings.address} takes messages and confirms none; expected an answer at once; is the broker overloaded, "
        "or the network gone?",
    )


def client_id_conflict(settings: BrokerSettings) -> BrokerFault:
    """The fault of two clients with one identifier, who push each other out; not every broker says so when it closes."""
    return BrokerFault(
        BrokerFailure.CLIENT_ID_CONFLICT,
        f"{settings.address} ends every connection soon after it took it; does another client use the identifier "
        f"{settings.client_id!r} too? give each node its own `mqtt.client_id`",
    )
