"""The command line, `streamd COMMAND`. Thin: each command is a module of its own."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streamd import __version__
from streamd.errors import StreamdError

if TYPE_CHECKING:
    from streamd.config import Config

_EXIT_SOFTWARE: Final = 70  # sysexits.h: an internal fault
_LOG_FORMAT: Final = "%(asctime)s %(levelname)-7s %(message)s"
_JOURNAL_FORMAT: Final = "%(levelname)s %(message)s"  # the journal stamps the time itself


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status (sysexits.h where it is an error that a person can mend)."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except StreamdError as error:
        for line in str(error).splitlines():
            print(f"streamd: {line}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0  # the reader, such as `head`, has seen enough


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="streamd", description="Faces at the door, decided and told over MQTT.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=run)
        return command

    run = add("run", _run, "Watch the cameras and publish who comes, until stopped.")
    _config_option(run)
    run.add_argument("--pictures", type=Path, metavar="FOLDER", help="leave an annotated picture of each decision")
    check = add("check", _check, "Try the configuration, cameras, model, gallery and broker, and say what to mend.")
    _config_option(check)
    _json_option(check)
    demo = add("demo", _demo, "Recognise a face in a video stream, with a broker and a camera of its own.")
    demo.add_argument("--camera", metavar="CAMERA", help="your own: 0 for /dev/video0, a device, or an rtsp:// address")
    demo.add_argument("--photo", type=Path, metavar="FILE", help="with --camera: a photo of you, enrolled before the start")
    demo.add_argument("--name", default="You", help="with --photo: your name (default: You)")
    demo.add_argument("--seconds", type=float, help="with --camera: end after so long (default: with Ctrl-C)")
    demo.add_argument(
        "--output", type=Path, default=Path("demo-output"), help="where everything is left (default: demo-output)"
    )
    _json_option(demo)
    gallery = add("gallery", _gallery, "Show who is enrolled, by which photos, what they lack, and whom the door may confuse.")
    _config_option(gallery)
    gallery.add_argument("who", nargs="?", metavar="WHO", help="one person, by name or id (default: everybody)")
    _json_option(gallery)
    enrol = add("enrol", _enrol, "Enrol a person by photos, and say what each is worth.")
    _config_option(enrol)
    enrol.add_argument("who", metavar="WHO", help="the person's name, which becomes a folder's")
    enrol.add_argument("photos", nargs="*", type=Path, metavar="PHOTO", help="JPEG, PNG, WebP, HEIC or BMP files")
    enrol.add_argument("--name", help="as the person is shown, in messages and logs (default: WHO)")
    enrol.add_argument("--camera", metavar="NAME", help="instead of photos: guide the person before this camera of the daemon")
    _json_option(enrol)
    forget = add("forget", _forget, "Delete everything of a person, and prove it by searching every file of the state.")
    _config_option(forget)
    forget.add_argument("who", metavar="WHO", help="the person, by name or id")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    _json_option(forget)
    export = add("export", _export, "Hand a person everything that is kept of them.")
    _config_option(export)
    export.add_argument("who", metavar="WHO", help="the person, by name or id")
    export.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder for it")
    _json_option(export)
    for name, run_it, text in (
        ("backup", _backup, "Write the gallery, sealed, into one file."),
        ("restore", _restore, "Bring a backup of the gallery back; stop the daemon before."),
    ):
        kept = add(name, run_it, text)
        _config_option(kept)
        kept.add_argument("file", type=Path, metavar="FILE")
        kept.add_argument(
            "--passphrase-file", type=Path, metavar="FILE", help="a file with a passphrase (default: the vault's key)"
        )
        if name == "backup":
            kept.add_argument("--force", action="store_true", help="also where FILE is there already: it is replaced")
        else:
            kept.add_argument("--key-file", type=Path, metavar="FILE", help="the key that it was sealed by, if it is another")
        _json_option(kept)
    unknown = add("unknown", _unknown, "List unknown visitors that are kept, enrol one, ignore one, or forget one.")
    _config_option(unknown)
    unknown.add_argument("action", nargs="?", choices=["list", "assign", "ignore", "forget"], default="list")
    unknown.add_argument("id", nargs="?", metavar="ID", help="the visitor, as listed")
    unknown.add_argument("who", nargs="?", metavar="WHO", help="with assign: the person's name, which becomes a folder's")
    unknown.add_argument("--name", help="with assign: as the person is shown, in messages and logs (default: WHO)")
    _json_option(unknown)
    simulate = add("simulate", _simulate, "Play scripted visits onto MQTT, for people who write automations.")
    _config_option(simulate)
    simulate.add_argument(
        "scenario", nargs="?", default="all", help="identified, unknown, ambiguous, undecided, camera-fault or all"
    )
    simulate.add_argument("--broker", metavar="URL", help="instead of a configuration: mqtt://host[:port]")
    simulate.add_argument("--speed", type=float, default=1.0, help="how many times as fast (default: 1)")
    _json_option(simulate)
    bench = add("bench", _bench, "Measure what is promised in figures; without a name, list what can be measured.")
    bench.add_argument("benchmark", nargs="*", metavar="NAME", help="which ones, or all")
    bench.add_argument("--list", action="store_true", help="name the benchmarks and what each measures")
    bench.add_argument("--seconds", type=float, help="how long each part is measured (default: the benchmark's own)")
    _json_option(bench)
    version = add("version", _version, "Print the version.")
    _json_option(version)
    return parser


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the configuration (default: $STREAMD_CONFIG, /etc/streamd/streamd.yaml)"
    )


def _configuration(options: argparse.Namespace) -> Config:
    """The configuration that a command was given, or the one that holds here. Raises ConfigError."""
    from streamd.config import find, load

    return load(find(options.config, os.environ), os.environ)


def _json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def _run(options: argparse.Namespace) -> int:
    from streamd.signals import leave_when_asked

    leave_when_asked()
    from streamd.service import serve

    config = _configuration(options)
    if options.pictures is not None:
        config = config.model_copy(update={"debug": config.debug.model_copy(update={"pictures": options.pictures})})
    logging.basicConfig(
        level=config.log.level.upper(), format=_JOURNAL_FORMAT if "JOURNAL_STREAM" in os.environ else _LOG_FORMAT
    )
    try:
        serve(config, os.environ)
    except StreamdError:
        raise
    except Exception:  # the outermost loop
        logging.getLogger(__name__).critical("streamd ends because of an internal fault", exc_info=True)
        return _EXIT_SOFTWARE
    return 0


def _check(options: argparse.Namespace) -> int:
    from streamd.check import State, check
    from streamd.display import findings_table

    config = _configuration(options)
    logging.basicConfig(level=logging.ERROR, format=_LOG_FORMAT)
    findings = list(check(config))
    if options.json:
        rows = [{"part": one.part, "state": one.state.value, "seen": one.seen, "mend": one.mend} for one in findings]
        print(json.dumps(rows, indent=2))
    else:
        findings_table(findings)
    from streamd.errors import EXIT_UNAVAILABLE

    return EXIT_UNAVAILABLE if any(one.state is State.FAILED for one in findings) else 0


def _demo(options: argparse.Namespace) -> int:
    from streamd.demo.play import play
    from streamd.errors import ConfigError

    if options.camera is None and (options.photo is not None or options.seconds is not None):
        raise ConfigError(["--photo and --seconds belong to a camera of your own: give --camera as well"])
    if options.seconds is not None and not 0 < options.seconds < math.inf:
        raise ConfigError([f"--seconds: expected more than 0, found {options.seconds:g}"])
    return play(options.output, options.camera, options.photo, options.name, options.seconds, as_json=options.json)


def _gallery(options: argparse.Namespace) -> int:
    from streamd import desk
    from streamd.display import gallery_json, gallery_lines

    logging.basicConfig(level=logging.ERROR, format=_LOG_FORMAT)
    overviews, confusable = desk.look_at(_configuration(options), options.who)
    if options.json:
        print(json.dumps(gallery_json(overviews, confusable), indent=2, ensure_ascii=False))
    else:
        print("\n".join(gallery_lines(overviews, confusable)))
    return 0


def _enrol(options: argparse.Namespace) -> int:
    from streamd import desk
    from streamd.display import dropped_json, dropped_lines
    from streamd.errors import ConfigError

    logging.basicConfig(level=logging.ERROR, format=_LOG_FORMAT)
    config = _configuration(options)
    if bool(options.photos) == (options.camera is not None):
        raise ConfigError(["enrol: expected either photos or --camera NAME"])
    if options.camera is not None:
        answer: Mapping[str, Any] = {}
        for answer in desk.guide(config, options.who, options.camera, options.name):
            print(
                json.dumps(answer, ensure_ascii=False) if options.json else answer.get("text", answer.get("message")),
                flush=True,
            )
        return 0 if answer.get("ok") else 1
    dropped = desk.enrol(config, options.who, options.photos, options.name)
    print(
        json.dumps(dropped_json(dropped), indent=2, ensure_ascii=False) if options.json else "\n".join(dropped_lines(dropped))
    )
    return 0 if all(one.event is not None and one.event.accepted for one in dropped) else 1


def _forget(options: argparse.Namespace) -> int:
    if options.yes:
        return _ask_desk(options, "forget", subject=options.who)
    from streamd import desk
    from streamd.errors import ConfigError

    logging.basicConfig(level=logging.ERROR, format=_LOG_FORMAT)
    person = desk.person(_configuration(options), options.who)
    try:
        answer = input(f"Delete everything of {person.shown}? This cannot be undone. [y/N] ")
    except EOFError:
        raise ConfigError(["forget: expected an answer, found the end of the input; --yes asks nothing"]) from None
    if answer.strip().lower() != "y":
        print("Nothing was deleted.")
        return 1
    return _ask_desk(options, "forget", subject=person.subject)


def _export(options: argparse.Namespace) -> int:
    from streamd import desk

    logging.basicConfig(level=logging.ERROR, format=_LOG_FORMAT)
    return _told(options, desk.export(_configuration(options), options.who, options.folder))


def _backup(options: argparse.Namespace) -> int:
    from streamd import desk

    return _told(options, desk.backup(_configuration(options), options.file, _passphrase(options), force=options.force))


def _restore(options: argparse.Namespace) -> int:
    from streamd import desk

    return _told(options, desk.restore(_configuration(options), options.file, _passphrase(options), options.key_file))


def _passphrase(options: argparse.Namespace) -> str | None:
    from streamd.errors import ConfigError

    try:
        return None if options.passphrase_file is None else str(options.passphrase_file.read_text().strip())
    except (OSError, ValueError) as error:
        raise ConfigError([f"--passphrase-file: {options.passphrase_file} cannot be read ({error})"]) from None


def _told(options: argparse.Namespace, answer: Mapping[str, Any]) -> int:
    print(json.dumps(answer, indent=2, ensure_ascii=False) if options.json else answer["message"])
    return 0 if answer["ok"] else 1


def _unknown(options: argparse.Namespace) -> int:
    from streamd.errors import ConfigError

    if options.name is not None and options.action != "assign":
        raise ConfigError(["--name belongs to unknown assign"])
    if options.action == "list":
        return _ask_desk(options, "unknown")
    if options.id is None or (options.action == "assign" and options.who is None):
        raise ConfigError([f"unknown {options.action}: expected ID{' WHO' if options.action == 'assign' else ''}"])
    asked = {"id": options.id}
    if options.action == "assign":
        asked |= {"subject": options.who, "name": options.name}
    return _ask_desk(options, f"unknown-{options.action}", **asked)


def _ask_desk(options: argparse.Namespace, command: str, **asked: object) -> int:
    from streamd import desk

    logging.basicConfig(level=logging.ERROR, format=_LOG_FORMAT)
    return _told(options, desk.request(_configuration(options), command, **asked))


def _simulate(options: argparse.Namespace) -> int:
    from streamd.simulate import run

    return run(options.scenario, options.broker, options.config, options.speed, as_json=options.json)


def _bench(options: argparse.Namespace) -> int:
    from streamd.bench.run import run

    return run(options.benchmark, list_them=options.list, seconds=options.seconds, as_json=options.json)


def _version(options: argparse.Namespace) -> int:
    print(json.dumps({"version": __version__}) if options.json else f"streamd {__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
