"""systemd: what it is told, and that the unit and its companions say what systemd and this program understand."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamd.config import DEFAULT_PATH, Config, load
from streamd.errors import EXIT_CONFIG
from streamd.systemd import Systemd

PROJECT = Path(__file__).parent.parent
UNIT = PROJECT / "systemd" / "streamd.service"
OURS = 4711
"""A process number that stands for the daemon's."""


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """A socket that listens as systemd does, and the environment that names it."""
    named = str(tmp_path / "notify") if request.param == "path" else f"@streamd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(named.replace("@", "\0", 1))
        receiver.settimeout(5)
        yield receiver, {"NOTIFY_SOCKET": named}


def test_systemd_is_told_of_a_whole_life(listener: tuple[socket.socket, dict[str, str]]) -> None:
    receiver, environ = listener
    systemd = Systemd(environ, OURS)

    systemd.extend(30.0)
    systemd.ready("2 cameras")
    systemd.watchdog()
    systemd.status("front: no picture")
    systemd.stopping("asked to stop")

    assert [receiver.recv(4096).decode() for _ in range(5)] == [
        "EXTEND_TIMEOUT_USEC=30000000",
        "READY=1\nSTATUS=2 cameras",
        "WATCHDOG=1",
        "STATUS=front: no picture",
        "STOPPING=1\nSTATUS=asked to stop",
    ]


def test_a_status_is_one_short_line_and_no_other_message(listener: tuple[socket.socket, dict[str, str]]) -> None:
    receiver, environ = listener

    Systemd(environ, OURS).status("first\nSTOPPING=1 " + "x" * 10_000)

    message = receiver.recv(65536).decode()
    assert message.startswith("STATUS=first STOPPING=1 xxx")
    assert len(message) < 4096


@pytest.mark.parametrize("name", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_systemd_nothing_is_said_and_nothing_fails(name: dict[str, str]) -> None:
    systemd = Systemd(name, OURS)

    systemd.ready("")
    systemd.watchdog()

    assert not systemd.present
    assert systemd.watchdog_seconds is None


def test_a_socket_that_is_gone_is_logged_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}, OURS).watchdog()

    assert caplog.messages == ["systemd could not be told WATCHDOG=1: No such file or directory"]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(OURS)}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_wants_a_sign_in_half_its_time_from_the_process_that_it_watches(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert Systemd(environ, OURS).watchdog_seconds == seconds


# The unit


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists, where `systemd-analyze` exists; it is required where CI=true."""
    if shutil.which("systemd-analyze") is None:
        message = "systemd-analyze is missing; it is in Debian's package systemd"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    copy = tmp_path / "streamd.service"
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text()))
    return copy


def settings() -> dict[str, list[str]]:
    """Every setting of the unit with its values."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"(?m)^(\w+)=(.*)$", UNIT.read_text()):
        found.setdefault(name, []).append(value)
    return found


def test_systemd_understands_every_line_of_the_unit(unit: Path) -> None:
    run = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=yes", "--man=no", unit], capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stderr) == (0, "")


def test_a_broken_decoder_would_be_locked_in(unit: Path) -> None:
    """An exposure of at most 2.5 of 10 (the threshold is in tenths)."""
    run = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout


def test_the_unit_calls_a_command_and_a_configuration_that_exist() -> None:
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    program, command, option, path = settings()["ExecStart"][0].split()

    assert Path(program).name in scripts
    assert (command, option, Path(path)) == ("run", "--config", DEFAULT_PATH)


def test_the_unit_keeps_what_the_program_promises() -> None:
    unit = settings()

    assert unit["Type"] == ["notify"]
    assert unit["RestartPreventExitStatus"] == [str(EXIT_CONFIG)]
    assert Path("/var/lib", unit["StateDirectory"][0]) == Config.model_fields["state"].default
    assert Path("/etc", unit["ConfigurationDirectory"][0]) == DEFAULT_PATH.parent
    assert unit["MemoryDenyWriteExecute"] == ["yes"]
    assert "TF_ENABLE_ONEDNN_OPTS=0" in unit["Environment"]  # without it TensorFlow aborts under MemoryDenyWriteExecute


def test_the_filter_of_system_calls_leaves_what_the_program_asks_the_kernel_for() -> None:
    """Whether the clock is set, which ProtectClock= would forbid; and Landlock, for the process that decodes photos."""
    unit = settings()

    assert "ProtectClock" not in unit
    assert unit["SystemCallFilter"][:2] == ["@system-service", "~@privileged @resources"]
    assert set(" ".join(unit["SystemCallFilter"][2:]).split()) >= {
        "adjtimex", "clock_adjtime", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
    }  # fmt: skip
    assert not set(unit["CapabilityBoundingSet"][0].split())  # without a capability nobody sets the clock


def test_only_private_networks_are_reached() -> None:
    """The wall behind streamd's own silence: a public address must not pass."""
    unit = settings()

    assert unit["IPAddressDeny"] == ["any"]
    assert set(" ".join(unit["IPAddressAllow"]).split()) == {
        "localhost", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fe80::/10", "fc00::/7",
    }  # fmt: skip


def test_every_user_and_group_is_made_before_it_is_used() -> None:
    made = re.findall(r"(?m)^(?:[ug]|m \S+) (\S+)", (PROJECT / "systemd" / "streamd.sysusers").read_text())
    folders = re.findall(r"(?m)^d \S+ \d+ (\S+) (\S+)", (PROJECT / "systemd" / "streamd.tmpfiles").read_text())
    unit = settings()
    used = {name for owners in folders for name in owners} - {"root"}
    used |= {unit["User"][0], unit["Group"][0], *unit["SupplementaryGroups"][0].split()}

    assert used == set(made)


def test_folders_have_the_modes_that_the_unit_gives_them() -> None:
    """A mode that differs would be changed at every boot, once by each."""
    modes = dict(re.findall(r"(?m)^d (\S+) (\d+)", (PROJECT / "systemd" / "streamd.tmpfiles").read_text()))
    unit = settings()

    assert modes["/var/lib/streamd"] == unit["StateDirectoryMode"][0]
    assert modes["/etc/streamd"] == unit["ConfigurationDirectoryMode"][0]


# The page for the person who runs it


def operations() -> str:
    return (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_installation_uses_files_that_exist_and_the_libraries_that_are_needed() -> None:
    files = set(re.findall(r"(?<!/)\bsystemd/\S+", operations()))
    needed = set(re.findall(r"packages (lib\S+)\"", (PROJECT / "scripts" / "system-libraries.sh").read_text()))

    assert files == {f"systemd/{file.name}" for file in (PROJECT / "systemd").iterdir()}
    assert needed <= set(operations().split())


def test_the_configuration_of_the_installation_is_right(tmp_path: Path) -> None:
    """Runs the lines that write it, as the shell would."""
    variables = "\n".join(re.findall(r"(?m)^(?:CAMERA|BROKER)=.*$", operations()))
    printf = re.search(r"(?m)^printf .* \|$", operations())
    assert printf is not None
    file = tmp_path / "streamd.yaml"

    file.write_bytes(subprocess.run(["sh", "-c", f"{variables}\n{printf[0]} cat"], capture_output=True, check=True).stdout)

    assert list(load(file, {}).cameras) == ["front"]


def test_troubleshooting_quotes_the_log_as_it_is_written() -> None:
    """The first quotation in the second column of each row stands so in the program."""
    program = "".join(module.read_text(encoding="utf-8") for module in (PROJECT / "streamd").rglob("*.py"))
    rows = re.findall(r"(?m)^\| [^|]*\| ([^|]*)\| [^|]*\|$", operations().partition("## Troubleshooting")[2])
    quotations = [found[0] for row in rows if (found := re.findall(r"`([^`]+)`", row))]

    assert len(quotations) > 10
    assert [quotation for quotation in quotations if quotation not in program] == []
