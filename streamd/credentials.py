"""Credentials: passwords read from files and systemd credentials, put into addresses and kept out of every text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_PASSWORD_BYTES: Final = 4096  # a longer file is not a password, but a picture or a log given by mistake

# A password may itself hold '@', ':' or an unescaped '/', so everything up to the last '@' of the word is hidden: now and
# then a little more than needed, never less.
_LOGIN: Final = re.compile(r"(?<=://)(\S*)@")
# An address whose scheme was forgotten or mistyped: admin:password@host, rtsp:/admin:password@host.
_LOGIN_WITHOUT_SCHEME: Final = re.compile(r"[^\s/:@'\"]+:(?!//)\S*@")
# Cameras that take their password in the path or the query, such as /user=admin&password=1234&channel=1.
_PARAMETER: Final = re.compile(r"(?i)(?<![a-z])(pass(?:word|wd|phrase)?|pwd|pw|token|secret|api_?key|auth)=[^&\s'\"]+")
_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)@(.*)", re.DOTALL)


def redact(text: str) -> str:
    """`text` with `***` for the `user:password` of every address in it and for parameters such as `password=`."""
    return _PARAMETER.sub(r"\1=***", _LOGIN_WITHOUT_SCHEME.sub("***@", _LOGIN.sub(_hide_login, text)))


def split_login(address: str) -> tuple[str, str | None, str | None]:
    """`scheme://user:password@host/...` as (address without login, user, password), both decoded; None for what is absent."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return address, None, None
    scheme, login, rest = match.groups()
    user, colon, password = login.partition(":")
    return scheme + rest, unquote(user), unquote(password) if colon else None


def join_login(address: str, user: str, password: str | None) -> str:
    """`address` (`scheme://host/...`) with the login in it, percent-encoded; the opposite of `split_login`."""
    scheme, mark, rest = address.partition("://")
    login = quote(user, safe="") + ("" if password is None else ":" + quote(password, safe=""))
    return f"{scheme}{mark}{login}@{rest}"


def password_from_file(path: Path) -> str:
    """The password in `path`: one line of UTF-8 text, its line end taken off.

    Raises ValueError with a sentence that names neither the path nor what the file holds: a password that was written where
    a path belongs must not be printed either.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_PASSWORD_BYTES + 1)
    except OSError as error:
        raise ValueError(f"the file cannot be read: {_reason(error)}; expected a file with the password in one line") from None
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError("the file is not text; expected a file with the password in one line") from None
    if not password:
        raise ValueError("the file is empty; expected a file with the password in one line")
    if "\n" in password or len(content) > _MAX_PASSWORD_BYTES:
        raise ValueError("the file has more than one line; expected a file with the password in one line")
    return password


def password_from_credential(name: str, environ: Mapping[str, str]) -> str:
    """The password in the systemd credential `name` (systemd.exec(5), LoadCredential=), found by $CREDENTIALS_DIRECTORY.

    Raises ValueError with a sentence, as `password_from_file` does.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name in (".", ".."):
        raise ValueError("expected the name of a systemd credential: letters, digits, '_', '.' and '-'")
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ValueError(
            "systemd gave no credentials ($CREDENTIALS_DIRECTORY is not set); "
            "add LoadCredential= to the unit, or use password_file where streamd runs without systemd"
        )
    try:
        given = sorted(entry.name for entry in Path(folder).iterdir())
    except OSError as error:
        raise ValueError(f"the credentials of systemd cannot be read: {_reason(error)}") from None
    if name not in given:
        raise ValueError(f"systemd gave no credential of that name (given: {', '.join(given) or 'none'}); add LoadCredential=")
    return password_from_file(Path(folder) / name)


def _hide_login(match: re.Match[str]) -> str:
    inside = match[1]
    is_path = "/" in inside and ":" not in inside  # rtsp://10.0.0.7/camera@2
    return match[0] if is_path else "***@"


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
