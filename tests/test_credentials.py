"""Credentials: logins of addresses, what is hidden of them, and passwords in files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.credentials import join_login, password_from_credential, password_from_file, redact, split_login

ADDRESS = "rtsp://10.0.0.7:554/stream?x=1"


@given(st.text(min_size=1), st.none() | st.text())
def test_a_login_survives_its_way_into_an_address_and_out_again(user: str, password: str | None) -> None:
    try:
        address = join_login(ADDRESS, user, password)
    except UnicodeEncodeError:  # half a surrogate pair is no text that a file can hold
        return

    assert split_login(address) == (ADDRESS, user, password)
    assert redact(f"cannot open {address}: refused") == "cannot open rtsp://***@10.0.0.7:554/stream?x=1: refused"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://door:p@ss@10.0.0.7/s", "rtsp://***@10.0.0.7/s"),
        ("rtsp://door:p/a?s#s@10.0.0.7/s", "rtsp://***@10.0.0.7/s"),
        ("[Errno 1] 'http://a:b@h/x' and mqtt://c:d@i", "[Errno 1] 'http://***@h/x' and mqtt://***@i"),
        ("mqtts://token@host", "mqtts://***@host"),
        ("rtsp://10.0.0.7/camera@2", "rtsp://10.0.0.7/camera@2"),
        ("http://h/v?user=a&pwd=b&x=1", "http://h/v?user=a&pwd=***&x=1"),
        ("rtsp://h/user=admin_password=b&channel=1", "rtsp://h/user=admin_password=***&channel=1"),
        ("door:p@ss@10.0.0.7/s", "***@10.0.0.7/s"),
        ("rtsp:/door:pass@10.0.0.7/s", "***@10.0.0.7/s"),
        ("/mnt/door: pass by @ 7:30", "/mnt/door: pass by @ 7:30"),
        ("nobody@example.org at /dev/video0", "nobody@example.org at /dev/video0"),
    ],
)
def test_what_may_be_a_password_is_hidden_and_the_rest_is_not(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("content", ["s3cret", "s3cret\n", "s3cret\r\n"])
def test_a_password_file_holds_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content.encode())

    assert password_from_file(file) == "s3cret"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"a\nb", "more than one line"),
        (b"\xff\xd8", "not text"),
        (b"a" * 5000, "more than one"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)

    with pytest.raises(ValueError, match=fault):
        password_from_file(file)


def test_a_credential_is_looked_up_by_name_in_the_folder_that_systemd_gives(tmp_path: Path) -> None:
    (tmp_path / "front").write_text("s3cret")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    assert password_from_credential("front", environ) == "s3cret"
    with pytest.raises(ValueError, match=r"no credential of that name \(given: front\)"):
        password_from_credential("back", environ)


@pytest.mark.parametrize("name", ["../front", "/etc/shadow", "..", "", "a b"])
def test_a_credential_cannot_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected the name of a systemd credential"):
        password_from_credential(name, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
