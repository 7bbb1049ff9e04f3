"""The command line: what each command answers at once, with which status, and what it does not load for that."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from streamd import __version__
from streamd.cli import main
from streamd.errors import EXIT_CONFIG
from streamd.simulate import SCENARIOS
from tests.checkout import environment

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = ("run", "check", "demo", "simulate", "bench", "version")
BENCHMARKS = ("pipeline", "cameras", "start", "embedding", "detection", "reload", "search", "kills", "bulk")


def streamd(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """A command run as a person runs it."""
    return subprocess.run(
        [sys.executable, "-m", "streamd", *arguments], env=environment(changes), capture_output=True, text=True, check=False
    )


def test_version_tells_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"streamd {__version__}\n"


def test_version_as_json_is_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": __version__}


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    words = capsys.readouterr().out.split()
    assert [command for command in COMMANDS if command not in words] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert ended.value.code == 0
    assert f"usage: streamd {command}" in capsys.readouterr().out


def test_simulate_names_its_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--help"])

    words = capsys.readouterr().out.replace(",", " ").split()
    assert [name for name in SCENARIOS if name.replace("_", "-") not in words] == []


@pytest.mark.parametrize("arguments", [[], ["recognise"], ["run", "--speed", "2"]])
def test_what_is_no_command_is_refused_with_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage: streamd" in capsys.readouterr().err


@pytest.mark.parametrize("how", [(), ("--list",)], ids=["no name", "--list"])
def test_the_benchmarks_are_listed_and_none_is_run_unnamed(how: tuple[str, ...]) -> None:
    listed = streamd("bench", *how)

    assert listed.returncode == 0
    assert tuple(line.split()[0] for line in listed.stdout.splitlines()) == (*BENCHMARKS, "all")
    assert all(len(line.split()) > 2 for line in listed.stdout.splitlines())


def test_the_list_of_benchmarks_is_there_for_scripts_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list", "--json"]) == 0

    listed = json.loads(capsys.readouterr().out)
    assert tuple(listed) == BENCHMARKS
    assert all(listed.values())


@pytest.mark.parametrize("beside", [(), ("all",)])
def test_an_unknown_benchmark_is_named_with_those_that_there_are(beside: tuple[str, ...]) -> None:
    refused = streamd("bench", *beside, "speed")

    assert refused.returncode == EXIT_CONFIG
    assert refused.stderr == f"streamd: no benchmark is called 'speed'; there are: {', '.join(BENCHMARKS)}, and all\n"


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_configuration_that_is_not_there_is_named_with_where_it_was_looked_for(command: str, tmp_path: Path) -> None:
    missing = tmp_path / "streamd.yaml"

    refused = streamd(command, STREAMD_CONFIG=str(missing))

    assert refused.returncode == EXIT_CONFIG
    assert refused.stderr.startswith(f"streamd: {missing}: no such file (named by STREAMD_CONFIG)")


def test_what_is_heavy_is_loaded_only_by_the_command_that_needs_it() -> None:
    """`streamd version` answers without the networks, the decoder and the broker's client."""
    heavy = ("mediapipe", "av", "cv2", "numpy", "ai_edge_litert", "tensorflow", "paho", "pydantic", "rich")
    program = (
        f"import sys\nfrom streamd.cli import main\nmain(['version'])\nprint([one for one in {heavy} if one in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--photo", "me.jpg"], "give --camera as well"),
        (["demo", "--camera", "0", "--seconds", "-1"], "--seconds: expected more than 0"),
        (["demo", "--camera", "0", "--seconds", "nan"], "--seconds: expected more than 0, found nan"),
        (["bench", "--seconds", "3"], "--seconds: expected the name of what is to be measured"),
        (["bench", "pipeline", "--seconds", "0"], "--seconds: expected more than 0"),
        (["bench", "pipeline", "--seconds", "nan"], "--seconds: expected more than 0, found nan"),
        (["bench", "pipeline", "--seconds", "inf"], "--seconds: expected more than 0, found inf"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_starts(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == EXIT_CONFIG
    assert words in capsys.readouterr().err


def test_the_demonstration_touches_no_folder_that_is_not_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "holiday.jpg").write_bytes(b"mine")

    assert main(["demo", "--output", str(tmp_path)]) == EXIT_CONFIG

    assert "holds files that are not the demonstration's" in capsys.readouterr().err
    assert (tmp_path / "pictures" / "holiday.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["../../evil", "a/b", " ", ".hidden"])
def test_a_name_for_the_demonstration_is_one_that_a_folder_can_have(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "me.jpg"
    photo.write_bytes(b"")
    output = tmp_path / "out"

    status = main(["demo", "--camera", "0", "--photo", str(photo), "--name", name, "--output", str(output)])

    assert status == EXIT_CONFIG
    assert "expected a name that a folder can have" in capsys.readouterr().err
    assert list((output / "state" / "gallery").iterdir()) == []
