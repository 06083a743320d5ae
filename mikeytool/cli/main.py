"""The command `mikeytool`: its groups, and what becomes of errors.

Commands are loaded when they are called for, because a tool that is run in pipes is started
often: `decode` shall not pay for the cryptography of the others.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from mikeytool import __version__
from mikeytool.cli.command_groups import LazyGroup
from mikeytool.cli.exit_codes import (
    EXIT_INTERRUPT,
    EXIT_PIPE,
    EXIT_REFUSED,
    EXIT_STATE,
    EXIT_USAGE,
    complain,
    exit_code,
)
from mikeytool.cli.options.common import ARGUMENTS, DEBUG
from mikeytool.cli.render.guarded_streams import guarded_streams
from mikeytool.wire.errors import MikeyError


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    lazy={
        "decode": ("mikeytool.cli.decode", "Show what is in MIKEY messages."),
        "encode": ("mikeytool.cli.encode", "Write messages from JSON."),
        "lint": ("mikeytool.cli.lint", "Check messages against the RFCs."),
        "keygen": ("mikeytool.cli.keygen", "Make keys."),
        "kms": ("mikeytool.cli.kms", "Run a key management service."),
        "ticket": ("mikeytool.cli.ticket", "Request, accept, resolve and show tickets."),
        "transfer": ("mikeytool.cli.transfer", "Send tickets and set up sessions."),
        "srtp": ("mikeytool.cli.srtp", "Encrypt and decrypt media packets."),
        "conference": ("mikeytool.cli.conference", "Run a conference system."),
        "wireshark": ("mikeytool.cli.wireshark", "Write a dissector for Wireshark."),
        "manual": ("mikeytool.cli.manual", "Show a page of the manual."),
        "completion": ("mikeytool.cli.completion", "Teach a shell to complete commands."),
        "demo": ("mikeytool.cli.demo", "Show a call and a conference from start to end."),
    },
)
@click.version_option(__version__, prog_name="mikeytool")
def cli() -> None:
    """Craft and inspect MIKEY-TICKET messages (RFC 6043) and use the keys they carry.

    Messages are read and written as base64, hex, binary or a=key-mgmt lines, so that
    commands can be piped into each other. --debug, anywhere, adds the traceback of an error.
    """


def main() -> NoReturn:
    """Run the command line and exit."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the process ends
    if sys.stdout is None:
        complain("standard output is closed")
        sys.exit(EXIT_STATE)
    if (shell := os.environ.get("_MIKEYTOOL_COMPLETE")) in ("bash", "zsh", "fish"):
        from mikeytool.cli.completion import answer

        print(answer(cli, shell, sys.argv[1:]), end="")
        sys.exit(0)
    if shell is not None:  # scripts of click, which users may have
        cli.main(prog_name="mikeytool")
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = run(arguments, debug=debug)
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            complain(f"the output: {error.strerror}")
            code = EXIT_STATE
            _discard_output()
    except BrokenPipeError:
        code = EXIT_PIPE
        _discard_output()
    sys.exit(code)


def _discard_output() -> None:
    """Keep Python from writing the rest of the buffer at exit, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@guarded_streams()
def run(arguments: list[str], *, debug: bool = False) -> int:
    """Run one command and give its exit code; errors are one line on standard error."""
    try:
        # Not cli.main(), which would take a closed pipe for a failure of the command.
        with cli.make_context("mikeytool", arguments) as context:
            context.meta[DEBUG] = debug
            context.meta[ARGUMENTS] = arguments
            result = cli.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "mikeytool"
        complain(f"{_one_line(error.format_message())} (see {where} --help)")
        return EXIT_USAGE
    except click.ClickException as error:
        complain(_one_line(error.format_message()))
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPT
    except BrokenPipeError:
        raise
    except MikeyError as error:
        _show_traceback(debug)
        complain(str(error))
        return exit_code(error)
    except OSError as error:
        _show_traceback(debug)
        complain(f"{error.filename or 'the output'}: {error.strerror}")
        return EXIT_STATE
    except Exception as error:
        _show_traceback(debug)
        complain(f"this is a bug, {type(error).__name__}; run it again with --debug to see more")
        return EXIT_REFUSED
    return result if isinstance(result, int) else 0


def _show_traceback(debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
