"""What every command ends with, whatever it did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from monoscope.app import cli, stopping
from monoscope.app.verbs import doctor
from monoscope.errors import MonoscopeError


@pytest.fixture(autouse=True)
def heard():
    """What an interrupted command no longer hears the tests do."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ended(monkeypatch: pytest.MonkeyPatch, with_: BaseException | None) -> int | str | None:
    """The status with which a command exits that ends so."""

    def run() -> None:
        if with_ is not None:
            raise with_

    monkeypatch.setattr(doctor, "doctor", run)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["doctor"])
    return exit_.value.code


def test_an_interrupted_command_says_what_becomes_of_the_work(monkeypatch, capsys) -> None:
    assert ended(monkeypatch, KeyboardInterrupt()) == 130
    assert "a run goes on from there with the same command" in " ".join(capsys.readouterr().err.split())


def test_termination_is_an_interrupt(monkeypatch, capsys) -> None:
    monkeypatch.setattr(doctor, "doctor", lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as exit_:
        cli.main(["doctor"])
    assert exit_.value.code == 130 and "interrupted" in capsys.readouterr().err


def test_termination_that_is_ignored_stays_so(monkeypatch) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    monkeypatch.setattr(doctor, "doctor", lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as exit_:
        cli.main(["doctor"])
    assert exit_.value.code == 0


@pytest.mark.parametrize("second", stopping.SIGNALS)
def test_a_second_interrupt_cuts_nothing_short(monkeypatch, capsys, second) -> None:
    show = cli.Console.print
    monkeypatch.setattr(cli.Console, "print", lambda *a, **k: (signal.raise_signal(second), show(*a, **k)))
    assert ended(monkeypatch, KeyboardInterrupt()) == 130
    signal.raise_signal(second)  # as while the interpreter ends
    assert "interrupted" in capsys.readouterr().err


def test_a_users_error_says_what_to_do(monkeypatch, capsys) -> None:
    assert ended(monkeypatch, MonoscopeError("no such [site]", fix="name another")) == 2
    said = capsys.readouterr().err
    assert "no such [site]" in said and "name another" in said and "Traceback" not in said


def test_what_is_done_says_nothing(monkeypatch, capsys) -> None:
    assert ended(monkeypatch, None) == 0
    assert capsys.readouterr().err == ""


def test_a_defect_is_not_hidden(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "doctor", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


@pytest.mark.parametrize(
    "says",
    [
        "sys.stdout.write('a line') and None",  # noticed when it is flushed
        "sys.stdout.write('a line' * 100_000) and None",
        "rich.console.Console().print('a line')",
        "sys.stderr.write('a line') and sys.stdout.write('a line') and None",
    ],
)
def test_a_command_whose_reader_has_gone_ends_quietly(says: str) -> None:
    code = (
        "import sys, types, rich.console; from monoscope.app import cli; "
        f"sys.modules['monoscope.app.doctor'] = types.SimpleNamespace(doctor=lambda: {says}); "  # without torch
        "sys.stdin.read(); cli.main(['doctor'])"
    )
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=buffered) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stdin.close()  # only now does it begin
        said = process.stderr.read()
    assert (process.returncode, said) == (cli.UNREAD, b"a line" if "stderr" in says else b"")


@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
@pytest.mark.parametrize("verb", ["quickstart", "ui", "serve"])
def test_a_port_that_cannot_be_is_refused_before_anything_is_done(verb, port, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        cli.main([verb, *(["reference-a"] if verb == "serve" else []), "--port", port])
    assert exit_.value.code != 0 and "port" in " ".join(capsys.readouterr()).lower()
    assert not list(tmp_path.iterdir())
