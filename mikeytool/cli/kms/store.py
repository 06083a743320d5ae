"""`kms init`, `show`, `check`, `backup` and `copy`: commands for a whole store."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from mikeytool.cli.command_groups import Command
from mikeytool.cli.options.clock import clock
from mikeytool.cli.options.common import PATH, json_option, quiet_option, say
from mikeytool.cli.options.keys import KEY, KEY_HELP, read_passphrase
from mikeytool.cli.options.outputs import force_option
from mikeytool.cli.options.store import STORE, store_argument
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.progress import counted
from mikeytool.cli.render.table import print_table
from mikeytool.exchange.profile import PROFILES
from mikeytool.kms.pem_files import load_key_pair
from mikeytool.kms.store import check as checking
from mikeytool.kms.store import copying
from mikeytool.kms.store.records import Tpk
from mikeytool.kms.store.seal import BESIDE, PLACE_VARIABLE, check_how
from mikeytool.kms.store.store import Store
from mikeytool.kms.store.store_description import describe_check, describe_store
from mikeytool.storage.sql import Where
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.printable import number_of


@click.command(cls=Command)
@store_argument
@click.option(
    "--id", "identity", type=IDENTITY, required=True, metavar="KMS_ID",
    help="Identity of the KMS, as in sip:kms.example.com.",
)  # fmt: skip
@click.option("--tpk", type=KEY, metavar="KEY", help=f"Ticket protection key: {KEY_HELP}.")
@click.option(
    "--profile", type=click.Choice(["128", "256"]), default="256", show_default=True,
    help="The strongest profile that is served, in bits.",
)  # fmt: skip
@click.option(
    "--private-key", type=PATH, metavar="PEM",
    help="The private key of the KMS, for public-key requests.",
)  # fmt: skip
@click.option("--cert", type=PATH, metavar="PEM", help="The certificate of that key.")
@click.option(
    "--seal", default=BESIDE, envvar=PLACE_VARIABLE, show_envvar=True, metavar="HOW",
    help="What seals the keys in STORE: file:PATH, env:NAME or passphrase; by default a new"
    " STORE.key.",
)  # fmt: skip
@force_option
@quiet_option
def init(
    store: Where,
    identity: Identity,
    tpk: bytes | None,
    profile: str,
    private_key: Path | None,
    cert: Path | None,
    seal: str,
    force: bool,
) -> None:
    """Create the STORE of a KMS."""
    how = check_how(seal)
    if private_key is not None and cert is not None:
        key_pair = load_key_pair(private_key, cert, lambda: read_passphrase(private_key))
    elif private_key is None and cert is None:
        key_pair = None
    else:
        raise UsageError("--private-key and --cert go together")
    chosen = PROFILES[int(profile)]
    first = Tpk(Identity.key_name("tpk-1"), tpk or os.urandom(chosen.key_length))
    Store.init(store, identity, chosen, first, how=how, key_pair=key_pair, force=force).close()
    sealed = f"{store}.key; keep that apart from backups" if how == BESIDE else how
    say(f"{store}: KMS {identity}, {profile}-bit profile; keys are sealed under {sealed}")


@click.command(cls=Command)
@store_argument
@json_option
def show(store: Where, as_json: bool) -> None:
    """Show the identity of the KMS, and what is in its STORE."""
    with Store(store) as opened:
        content = describe_store(opened)
    if as_json:
        print(json.dumps(content))
    else:
        print_table([("", ""), *((name.replace("_", " "), str(v)) for name, v in content.items())])


@click.command(cls=Command)
@store_argument
@json_option
@quiet_option
def check(store: Where, as_json: bool) -> int:
    """Check that a STORE is consistent: the file, all keys in it and the replay cache.

    The exit code is 1 if something is wrong.
    """
    with Store(store) as opened:
        found = checking.check(opened)
    if as_json:
        print(json.dumps({"checks": [describe_check(one) for one in found]}))
    else:
        rows = [
            (one.name if at == 0 else "", text)
            for one in found
            for at, text in enumerate(one.faults or ("good",))
        ]
        print_table([("", ""), *rows])
    return 1 if any(one.faults for one in found) else 0


@click.command(cls=Command)
@store_argument
@click.argument("file", type=PATH)
@click.option("--with-key", is_flag=True, help="Copy STORE.key to FILE.key as well.")
@force_option
@quiet_option
def backup(store: Where, file: Path, with_key: bool, force: bool) -> None:
    """Copy the STORE, as it is at one moment, to FILE. The STORE may be in use meanwhile.

    Without its sealing key a copy is of no use, to you or to a thief: keep the two apart.

    A copy knows nothing of what came after it was made. Use it with `kms restore`: used as it
    is, it answers again what was answered since, for as long as --max-skew allows.
    """
    with Store(store) as opened:
        opened.backup(file, with_key=with_key, force=force)
    say(f"{file}: copy of {store}" + (f", its key in {file}.key" if with_key else ""))


@click.command(cls=Command, short_help="Make a STORE of a copy that backup made.")
@click.argument("file", type=PATH)
@click.argument("store", type=PATH)
@force_option
@quiet_option
def restore(file: Path, store: Path, force: bool) -> None:
    """Make a STORE of FILE, a copy that backup made. Stop the KMS first.

    The key is FILE.key, else the STORE.key that is there. Messages from before now are refused, and
    so are tickets for single use that were made before. Repeat what was disabled, removed or
    changed since the copy was made: `kms log` of the lost store would have said what.
    """
    Store.restore(file, store, clock(), force=force)
    say(f"{store}: restored from {file}; repeat what was disabled or removed since")


@click.command(cls=Command)
@click.argument("store", metavar="FROM", type=STORE)
@click.argument("target", metavar="TO", type=STORE)
@click.option(
    "--seal", default=BESIDE, metavar="HOW",
    help="What seals the keys in TO: file:PATH, env:NAME or passphrase; by default a new TO.key,"
    " which a database cannot have.",
)  # fmt: skip
@quiet_option
def copy(store: Where, target: Where, seal: str) -> None:
    """Copy a store to a new one: from a file to PostgreSQL, for example, or back.

    Stop the KMS first, and start it on TO afterwards: TO does not get what comes to FROM
    meanwhile. The replay cache is copied as well, so that no message is accepted twice.
    """
    with Store(store) as source, counted("copying") as progress:
        rows = copying.copy(source, target, check_how(seal), progress)
    say(f"{target}: copy of {store}, {number_of(rows, 'row')}")
