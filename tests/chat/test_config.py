"""Settings: flags, variables, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest

from examples.chat.config import Settings, from_command_line


def test_defaults() -> None:
    """Without flags and variables the defaults hold: this machine only, asyncio."""
    settings = from_command_line([], {})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.backend) == ("127.0.0.1", 8765, "asyncio")
    assert settings.loopback


def test_flags_and_variables() -> None:
    """Every flag is a variable too; a flag wins."""
    environ = {"GOCHAT_PORT": "1", "GOCHAT_BACKEND": "trio", "GOCHAT_ALLOW_HOSTS": " Chat.Example, two ,", "OTHER": "x"}
    settings = from_command_line(["--port", "0", "--hello-timeout", "2.5", "--outbox=16"], environ)
    assert settings == Settings(
        port=0, backend="trio", allow_hosts=("chat.example", "two"), hello_timeout=2.5, outbox=16
    )


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("yes", True), ("", False), ("Off", False)])
def test_switch(text: str, expected: bool) -> None:
    """A switch is a flag without a value, or a variable that says yes or no."""
    assert from_command_line([], {"GOCHAT_UVLOOP": text}).uvloop is expected
    assert from_command_line(["--uvloop"], {"GOCHAT_UVLOOP": text}).uvloop


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("port", "-1"),
        ("port", "65536"),
        ("port", "http"),
        ("backend", "curio"),
        ("hello-timeout", "0"),
        ("hello-timeout", "nan"),
        ("write-timeout", "inf"),
        ("drain-timeout", "-1"),
        ("outbox", "7"),
        ("outbox", "1.5"),
        ("slow", "shout"),
        ("history", "0"),
        ("rate", "-1"),
        ("log-format", "xml"),
        ("log-level", "loud"),
        ("outbox-bytes", "1"),
        ("max-size", "4g"),
        ("fanout", "slow"),
        ("node", "a node"),
        ("history-bytes", "1000"),
        ("notify", "http://host:99999/"),
        ("notify", "ftp://host/"),
        ("notify", "host"),
        ("notify", "http://me:secret@host/"),
    ],
)
def test_refused(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that makes no sense ends the program with 2 and names itself, as flag and as variable."""
    variable = "GOCHAT_" + flag.upper().replace("-", "_")
    for argv, environ in (([f"--{flag}={value}"], {}), ([], {variable: value})):
        with pytest.raises(SystemExit) as exit:
            from_command_line(argv, environ)
        assert exit.value.code == 2
        reason = capsys.readouterr().err.splitlines()[-1]
        assert repr(value) in reason
        assert (variable if environ else f"--{flag}") in reason


def test_uvloop_is_not_for_trio(capsys: pytest.CaptureFixture[str]) -> None:
    """Two settings that do not go together are refused together."""
    with pytest.raises(SystemExit):
        from_command_line(["--backend", "trio", "--uvloop"], {})
    assert "--uvloop is for --backend asyncio" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--help ends with 0 and shows every flag with its default."""
    with pytest.raises(SystemExit) as exit:
        from_command_line(["--help"], {})
    assert exit.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(Settings):
        if "parse" in field.metadata:
            assert f"--{field.name.replace('_', '-')}" in shown
            assert field.metadata["help"] in shown
    assert "(default: 8765)" in shown


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("LocalHost", True), ("0.0.0.0", False), ("x.y", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Only addresses of this machine count as private to it."""
    assert Settings(host=host).loopback is loopback
