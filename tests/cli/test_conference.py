"""`conference` from the shell: what is printed, what fails how, and what the keys are good for."""

from __future__ import annotations

import json
import re
import shutil
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import Shell
from tests.peers.programs import need

ALICE = "sip:alice@example.com"
FOCUS = "sip:room@conf.example.com"
FACTORY = "sip:factory@conf.example.com"


def person(name: str) -> dict[str, str]:
    """What a person's commands run with: a state and a key of their own."""
    return {
        "MIKEYTOOL_STATE": f"{name}.state",
        "MIKEYTOOL_AS": f"sip:{name}@example.com",
        "MIKEYTOOL_PSK": f"file:{name}.psk",
        "MIKEYTOOL_KMS": "kms.db",
    }


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a KMS and its users, to be copied."""
    shell = Shell(tmp_path_factory.mktemp("users"))
    shell.ok("mikeytool kms init -q kms.db --id sip:kms.example.com")
    for name in ("alice", "bob", "eve"):
        shell.ok(f"mikeytool kms user add -q kms.db sip:{name}@example.com -o {name}.psk")
    shell.ok(
        f"mikeytool kms user add -q kms.db {FACTORY} --act-as 'sip:*@conf.example.com'"
        f" -o factory.psk"
    )
    return shell.folder


@pytest.fixture
def system(shell: Shell, users: Path) -> Shell:
    """A conference system and three users."""
    shutil.copytree(users, shell.folder, dirs_exist_ok=True)
    shell.ok(
        f"mikeytool conference init conference.db --as {FACTORY} --psk file:factory.psk"
        " --kms kms.db"
    )
    return shell


def create(shell: Shell, purposes: str = "audio", options: str = "") -> None:
    """Alice's conference, to which Bob may come."""
    shell.ok(
        f"mikeytool ticket request --to {FACTORY} --to sip:bob@example.com --flags=+M"
        " --save alice.ticket\n"
        f"mikeytool transfer init --ticket alice.ticket --to {FACTORY} --session creation"
        " -o creation-init\n"
        f"mikeytool conference create conference.db creation-init --focus {FOCUS}"
        f" --purpose {purposes} {options} | mikeytool transfer finish --session creation",
        **person("alice"),
    )


def call_in(shell: Shell, name: str, *, ticket: bool = True, ssrc: str = "0x11111111") -> None:
    """Someone joins."""
    if ticket:
        shell.ok(
            f"mikeytool ticket request --to {FOCUS} --flags=+M --key-type none"
            f" --save {name}.ticket",
            **person(name),
        )
    shell.ok(
        f"mikeytool transfer init --ticket {name}.ticket --to {FOCUS} --session {name}.session"
        f" --cs dir=send,ssrc={ssrc} --cs dir=recv -o {name}.init\n"
        f"mikeytool conference call-in conference.db {name}.init -o {name}.resp\n"
        f"mikeytool transfer finish {name}.resp --session {name}.session",
        **person(name),
    )


def shown(shell: Shell, options: str = "") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        shell.ok(f"mikeytool conference show conference.db --json {options}")
    )
    return content


def session(shell: Shell, name: str) -> list[dict[str, Any]]:
    content = json.loads(shell.ok(f"mikeytool transfer show {name}.session --json --show-keys"))
    sessions: list[dict[str, Any]] = content["crypto_sessions"]
    return sessions


def test_what_show_prints(system: Shell) -> None:
    create(system, "audio,events")
    call_in(system, "alice", ticket=False)
    call_in(system, "bob")
    content = shown(system, "--show-keys")
    assert content["focus"] == FOCUS
    assert content["creator"] == "sip:alice@example.com"
    assert content["allowed"] == ["sip:alice@example.com", "sip:bob@example.com"]
    alice, bob = content["members"]
    csb_id = json.loads(system.ok("mikeytool transfer show alice.session --json"))["csb_id"]
    assert alice == {
        "identity": "sip:alice@example.com", "csb_id": csb_id, "state": "joined",
        "ssrcs": ["0x11111111"],
    }  # fmt: skip
    assert bob["ssrcs"] != alice["ssrcs"]
    assert [key["purpose"] for key in content["keys"]] == ["audio", "events"]
    audio = content["keys"][0]
    assert audio["state"] == "active"
    send, recv, events = session(system, "bob")
    assert (send["mki"], send["master_key"], send["master_salt"]) == (
        audio["spi"], audio["tek"], audio["salt"]
    )  # fmt: skip
    assert recv["ssrc"] == "any"
    assert events["key"] == content["keys"][1]["tek"]
    assert "sha256:" in json.dumps(shown(system))
    assert audio["tek"] not in json.dumps(shown(system))
    assert stat.S_IMODE(system.path("conference.db").stat().st_mode) == 0o600


def test_several_conferences_are_a_list(system: Shell) -> None:
    assert not shown(system)
    create(system)
    system.path("alice.ticket").unlink()
    system.path("creation").unlink()
    system.path("creation-init").unlink()
    other = "sip:other@conf.example.com"
    system.ok(
        f"mikeytool ticket request --to {FACTORY} --save alice.ticket\n"
        f"mikeytool transfer init --ticket alice.ticket --to {FACTORY} --session creation"
        f" | mikeytool conference create conference.db --focus {other}"
        " | mikeytool transfer finish --session creation",
        **person("alice"),
    )
    assert [one["focus"] for one in json.loads(json.dumps(shown(system)))] == [FOCUS, other]
    system.fails("mikeytool conference rekey conference.db", 2, "--focus")


def test_an_intruder_gets_an_error_message(system: Shell) -> None:
    create(system)
    system.ok(
        f"mikeytool ticket request --to {FOCUS} --flags=+M --save eve.ticket\n"
        f"mikeytool transfer init --ticket eve.ticket --to {FOCUS} --session eve.session -o init",
        **person("eve"),
    )
    ran = system.fails(
        "mikeytool conference call-in conference.db init > error", 1, "may not take part"
    )
    assert ran.out == ""
    decoded = json.loads(system.ok("mikeytool decode error --json"))
    assert decoded["data_type"] == "Error"
    system.fails(
        "mikeytool transfer finish error --session eve.session", 1, "Error message",
        **person("eve"),
    )  # fmt: skip
    assert shown(system)["keys"] == []


WRONG = (
    ("mikeytool conference show nothing.db", 4, "no such conference system"),
    ("mikeytool conference show kms.db", 4, "no conference system"),
    (
        f"mikeytool conference init conference.db --as sip:a --psk {'00' * 16} --kms kms.db",
        4,
        "exists",
    ),
    ("mikeytool conference create conference.db 00 --focus sip:x --purpose ''", 2, "--purpose"),
    ("mikeytool conference call-out conference.db sip:bob@example.com", 2, "no conference yet"),
    ("mikeytool conference init d.db --as sip:a --psk 00ff --kms kms.db", 2, "octets"),
    (
        f"mikeytool conference init d.db --as sip:a --psk {'00' * 16} --kms $'k\\xffms.db'"
        " --kms-id sip:kms",
        2,
        "k\\udcffms.db': this is no UTF-8",
    ),
    ("mikeytool conference call-in conference.db 00ff", 3, ""),
    ("echo | mikeytool conference call-in conference.db", 3, "empty"),
    ("mikeytool conference remove conference.db", 2, "URI"),
    ("mikeytool conference rekey conference.db --overlap soon", 2, "90s"),
)


def test_wrong_inputs(system: Shell) -> None:
    for command, code, words in WRONG:
        system.fails(command, code, words)


def test_wrong_uses_with_a_conference(system: Shell) -> None:
    create(system)
    system.fails("mikeytool conference create conference.db creation-init", 2, "--focus")
    system.fails(
        "mikeytool conference create conference.db creation-init --focus sip:x --purpose tea",
        2, "audio",
    )  # fmt: skip
    system.fails(
        f"mikeytool conference create conference.db creation-init --focus {FOCUS}", 1, "replay"
    )
    system.fails("mikeytool conference call-out conference.db sip:eve@example.com", 1, "may not")
    system.fails("mikeytool conference call-out conference.db 'sip:*@example.com'", 1, "person")
    system.fails("mikeytool conference remove conference.db sip:bob@example.com", 1, "is not in")
    system.fails("mikeytool conference rekey conference.db", 1, "no group key")
    system.fails("mikeytool conference answer conference.db creation-init", 1, "no call-out")
    system.ok("mikeytool conference call-out -q conference.db sip:bob@example.com -o to-bob")
    system.fails(
        "mikeytool conference call-out conference.db sip:bob@example.com", 1, "conference remove"
    )
    name = "'sip:'$(head -c 66000 /dev/zero | tr '\\0' x)"
    system.fails(f"mikeytool conference allow conference.db {name}", 2, "at most 1024 octets")


def test_a_system_made_anew_knows_what_it_has_seen(system: Shell) -> None:
    create(system)
    system.ok(
        f"mikeytool conference init -q conference.db --force --as {FACTORY}"
        " --psk file:factory.psk --kms kms.db"
    )
    assert not shown(system)
    system.fails(
        f"mikeytool conference create conference.db creation-init --focus {FOCUS}", 1, "replay"
    )
    assert not shown(system)


def test_updates_are_json_lines(system: Shell) -> None:
    create(system)
    call_in(system, "alice", ticket=False)
    call_in(system, "bob")
    lines = system.ok("mikeytool conference rekey conference.db --overlap 1h").splitlines()
    updates = {one["to"]: one["message"] for one in map(json.loads, lines)}
    assert set(updates) == {"sip:alice@example.com", "sip:bob@example.com"}
    system.ok(
        f"echo {updates['sip:bob@example.com']}"
        " | mikeytool transfer respond --session bob.session"
        " | mikeytool conference answer conference.db",
        **person("bob"),
    )
    system.path("updates").write_text("\n".join(lines))
    ran = system.run("mikeytool decode --json updates")
    assert len(ran.out.splitlines()) == 2
    assert system.run("mikeytool lint updates").code == 0
    left = system.ok("mikeytool conference updates conference.db").splitlines()
    assert [json.loads(line)["to"] for line in left] == ["sip:alice@example.com"]
    system.ok("mikeytool conference remove conference.db sip:bob@example.com")
    assert [one["state"] for one in shown(system)["members"]] == ["joined", "left"]
    assert [key["state"] for key in shown(system)["keys"]] == ["active", "overlap", "overlap"]


def test_call_out_and_its_time(system: Shell) -> None:
    create(system)
    system.ok("mikeytool conference call-out conference.db sip:bob@example.com -o to-bob")
    assert shown(system)["members"][0]["state"] == "invited"
    system.ok(
        "mikeytool transfer respond to-bob --session bob.session -o from-bob\n"
        "mikeytool conference answer conference.db from-bob",
        **person("bob"),
    )
    assert shown(system)["members"][0]["state"] == "joined"
    system.ok("mikeytool conference remove conference.db sip:bob@example.com")
    system.ok("mikeytool conference call-out conference.db sip:bob@example.com --timeout 0s -q")
    assert shown(system)["members"][0]["state"] == "left"


def test_one_who_insists_on_a_taken_ssrc_is_named(system: Shell) -> None:
    """Bob sends with Alice's SSRC, though the answer gave him another."""
    create(system)
    call_in(system, "alice", ticket=False)
    call_in(system, "bob")
    key = shown(system, "--show-keys")["keys"][0]
    bare = f"--suite AES_CM_128_HMAC_SHA1_80 --key {key['tek']}{key['salt']}"
    for name, text in (("alice", "68656c6c6f"), ("bob", "6d6f6f6f6f")):
        system.ok(f"echo 80000001000000a011111111{text} | mikeytool srtp encrypt {bare} > {name}")
    system.ok("mikeytool kms user add -q kms.db sip:carol@example.com -o carol.psk")
    system.ok("mikeytool conference allow conference.db sip:carol@example.com")
    call_in(system, "carol", ssrc="0x33333333")
    ran = system.fails(
        "cat alice bob | mikeytool srtp decrypt --session carol.session", 1, "11111111"
    )
    assert "80000001000000a01111111168656c6c6f" in ran.out


def test_floor_control_with_a_tls_pre_shared_key(system: Shell) -> None:
    need("openssl")
    create(system, "floor")
    system.ok(
        f"mikeytool ticket request --to {FOCUS} --flags=+M --key-type none --save bob.ticket\n"
        f"mikeytool transfer init --ticket bob.ticket --to {FOCUS} --session bob.session"
        " --cs dir=recv,prot=241"
        " | mikeytool conference call-in conference.db"
        " | mikeytool transfer finish --session bob.session",
        **person("bob"),
    )
    (floor,) = session(system, "bob")
    assert floor["protocol"] == "TLS-PSK"
    psk_file = system.ok("mikeytool conference keys conference.db --purpose floor --psk-file")
    identity_of_bob, key = psk_file.split(":")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    identity = f"-psk_identity {floor['key_id']}"
    said = system.ok(
        f"timeout 20 openssl s_server -accept {port} -nocert -naccept 1 -rev -psk {key}"
        f" {identity} > heard 2>&1 < /dev/null & sleep 1\n"
        f"(echo floor request; sleep 1) | timeout 20 openssl s_client -connect 127.0.0.1:{port}"
        f" -psk {floor['key']} {identity} 2>&1; wait"
    )
    # The server, which has the keys of all, sends each line back in reverse.
    assert "tseuqer roolf" in said
    assert (identity_of_bob, key) == (floor["key_id"], floor["key"])
    assert shown(system, "--show-keys")["keys"][0]["tek"] is None
    system.ok("mikeytool conference keys conference.db --purpose floor --psk-file keys.psk")
    assert system.path("keys.psk").read_text() == psk_file + "\n"
    assert stat.S_IMODE(system.path("keys.psk").stat().st_mode) == 0o600
    system.fails("mikeytool conference keys conference.db --purpose floor --psk-file keys.psk", 4)
    table = system.ok("mikeytool conference keys conference.db --purpose floor")
    assert "sip:bob@example.com" in table
    assert key not in table
    system.ok("mikeytool conference end conference.db")
    system.fails(
        "mikeytool conference keys conference.db --purpose floor --psk-file ended.psk",
        1,
        f"the conference {FOCUS} ended at",
    )
    assert not system.path("ended.psk").exists()


def test_a_floor_in_which_nobody_is(system: Shell) -> None:
    create(system, "floor")
    ran = system.run("mikeytool conference keys conference.db --purpose floor --psk-file")
    assert (ran.code, ran.out) == (0, "")
    assert "nobody is in who has a floor key" in ran.err


def test_event_packages_with_a_cms_key(system: Shell) -> None:
    need("openssl")
    create(system, "audio,events")
    call_in(system, "bob")
    events = session(system, "bob")[-1]
    assert events["protocol"] == "CMS"
    key = shown(system, "--show-keys")["keys"][1]
    system.path("body").write_text("<conference-info/>\n")
    system.ok(
        f"openssl cms -EncryptedData_encrypt -aes128 -secretkey {key['tek']} -in body"
        " -outform DER -out sealed\n"
        f"openssl cms -EncryptedData_decrypt -secretkey {events['key']} -in sealed -inform DER"
        " -out opened"
    )
    assert system.path("opened").read_bytes().split() == system.path("body").read_bytes().split()


def test_one_device_of_two_is_removed(system: Shell) -> None:
    create(system)
    call_in(system, "bob", ssrc="0x22222222")
    system.ok("rm bob.session bob.init bob.resp")
    call_in(system, "bob", ticket=False, ssrc="0x33333333")
    phone, tablet = [one["csb_id"] for one in shown(system)["members"]]
    told = system.ok("mikeytool conference show conference.db")
    assert phone in told
    # Fingerprints come with the lengths of AES-CM (RFC 3711 8.2).
    key, salt = (rf"sha256:[0-9a-f]{{8}} \({octets}\)" for octets in (16, 14))
    assert re.search(rf"{key}  {salt}  active", told)
    system.fails("mikeytool conference remove conference.db", 2, "URI", "--seat")
    system.fails("mikeytool conference remove conference.db --seat seven", 2, "--seat seven")
    system.fails("mikeytool conference remove conference.db --seat 0x7", 1, "no seat 0x00000007")
    line = system.ok(f"mikeytool conference remove conference.db --seat {phone}")
    system.ok(
        f"echo '{line}' | mikeytool transfer respond --session bob.session"
        " | mikeytool conference answer conference.db"
    )
    left = {one["csb_id"]: one["state"] for one in shown(system)["members"]}
    assert left == {phone: "left", tablet: "joined"}


def test_a_device_that_was_replaced_is_told(system: Shell) -> None:
    create(system)
    call_in(system, "bob", ssrc="0x22222222")
    system.ok("mv bob.session old.session; rm bob.init bob.resp")
    call_in(system, "bob", ticket=False, ssrc="0x22222222")
    system.ok("rm bob.init bob.resp bob.session")
    system.ok(f"mikeytool transfer init --ticket bob.ticket --to {FOCUS} --session s -o third.init")
    third = system.run("mikeytool conference call-in conference.db third.init -o third.resp")
    assert "1 session replaced; conference updates prints" in third.err
    told = system.run(
        "mikeytool conference updates conference.db"
        " | mikeytool transfer respond --session old.session"
    )
    assert told.code == 0
    assert f"{FOCUS} has ended the session; its keys are gone from old.session" in told.err
    show = "mikeytool transfer show old.session"
    assert "ended" in system.ok(show)
    content = json.loads(system.ok(f"{show} --json"))
    assert (content["state"], content["crypto_sessions"]) == ("ended", [])
    system.ok("echo 80000001000000a01111111168656c6c6f > packet")
    system.fails("mikeytool srtp encrypt packet --session old.session", 1, "has ended this session")
    again = system.run("mikeytool conference updates conference.db")
    assert (again.out, again.err) == ("", "no member has an update to answer\n")


def test_a_conference_ends(system: Shell) -> None:
    create(system)
    call_in(system, "alice", ticket=False)
    call_in(system, "bob", ssrc="0x22222222")
    end = "mikeytool conference end conference.db"
    assert len(system.ok(f"{end} > ends; cat ends").splitlines()) == 2
    system.ok("mikeytool transfer respond ends --session bob.session")
    assert json.loads(system.ok("mikeytool transfer show bob.session --json"))["state"] == "ended"
    assert system.run("mikeytool lint ends").code == 0
    one = shown(system)
    assert (one["state"], one["keys"][0]["state"], one["keys"][0]["tek"]) == (
        "ended", "expired", None
    )  # fmt: skip
    assert [member["state"] for member in one["members"]] == ["left", "left"]
    system.ok(f"mikeytool transfer init --ticket bob.ticket --to {FOCUS} --session s -o late.init")
    system.fails("mikeytool conference call-in conference.db late.init", 1, FOCUS, "ended at")
    system.fails(end, 2, "every conference has ended")


def test_who_may_add_and_create_and_what_is_said(system: Shell) -> None:
    create(system)
    allow = "mikeytool conference allow conference.db sip:carol@example.com"
    system.fails(f"{allow} --by sip:bob@example.com", 1, "bob@example.com may not add", "creator")
    assert "carol@example.com may take part" in system.run(f"{allow} --by {ALICE}").err
    call = "mikeytool conference call-out conference.db sip:bob@example.com"
    system.fails(f"{call} --by sip:bob@example.com", 1, "may not add or invite")
    deny = system.run("mikeytool conference deny conference.db sip:eve@example.com")
    assert (deny.code, deny.out) == (0, "")
    assert f"sip:eve@example.com was not in {FOCUS} and may not take part" in deny.err
    may_create = "mikeytool conference may-create conference.db"
    assert system.ok(may_create) == "anyone"
    assert system.ok(f"{may_create} 'sip:*@example.com'") == "sip:*@example.com"
    assert system.ok(f"{may_create} --anyone") == "anyone"
    system.fails(f"{may_create} --anyone sip:x@y", 2, "--anyone")


def test_people_are_put_out_when_the_store_of_the_kms_is_gone(system: Shell) -> None:
    create(system)
    call_in(system, "bob")
    system.path("kms.db").rename(system.path("away"))
    ran = system.fails("mikeytool conference remove conference.db sip:bob@example.com", 4, "stands")
    assert len(ran.err.splitlines()) == 1
    assert shown(system)["members"][-1]["state"] == "left"
    system.path("away").rename(system.path("kms.db"))
    system.ok("mikeytool conference updates conference.db")
    assert [key["state"] for key in shown(system)["keys"]] == ["active", "overlap"]


def send(shell: Shell, name: str, text: str, sequence: int = 1) -> None:
    """A packet of someone's own stream, in hex and under their session's key, to `NAME.srtp`."""
    ssrc = next(one["ssrc"] for one in session(shell, name) if one["direction"] == "send")
    packet = f"8000{sequence:04x}000000a0{ssrc[2:]}{text.encode().hex()}"
    shell.ok(
        f"echo {packet} | mikeytool srtp encrypt --session {name}.session > {name}.srtp",
        **person(name),
    )


def test_the_system_hears_members_and_names_the_others(system: Shell) -> None:
    create(system)
    call_in(system, "alice", ticket=False)
    call_in(system, "bob", ssrc="0x22222222")
    for name in ("alice", "bob"):
        send(system, name, f"from {name}")
    listen = "cat alice.srtp bob.srtp | mikeytool srtp decrypt --conference conference.db"
    heard = system.ok(listen)
    assert b"from alice".hex() in heard
    assert b"from bob".hex() in heard
    system.ok("mikeytool conference remove conference.db sip:bob@example.com")
    ran = system.fails(listen, 1, "0x22222222", "sip:bob@example.com, who is no longer in")
    assert b"from alice".hex() in ran.out
    assert b"from bob".hex() not in ran.out


@pytest.mark.parametrize(("seconds", "code"), [(9, 0), (11, 1)])
def test_an_old_key_lives_for_ten_seconds_everywhere(
    system: Shell, seconds: int, code: int
) -> None:
    """For the system and for a member who has the new key, from T of the update."""
    create(system)
    call_in(system, "alice", ticket=False)
    call_in(system, "bob", ssrc="0x22222222")
    send(system, "alice", "old key")
    start = int(time.time()) + 1
    (update,) = [
        one["message"]
        for one in map(
            json.loads,
            system.ok(
                "mikeytool conference rekey conference.db", MIKEYTOOL_NOW=str(start)
            ).splitlines(),
        )
        if one["to"] == "sip:bob@example.com"
    ]
    system.ok(
        f"mikeytool transfer respond {update} --session bob.session -o answer",
        **person("bob"),
        MIKEYTOOL_NOW=str(start + 5),
    )
    for keys in ("--conference conference.db", "--session bob.session"):
        ran = system.run(
            f"mikeytool srtp decrypt alice.srtp {keys}", MIKEYTOOL_NOW=str(start + seconds)
        )
        assert ran.code == code, f"{keys}: {ran.err}"
    state = "overlap" if code == 0 else "expired"
    shown_to_bob = json.loads(
        system.ok("mikeytool transfer show bob.session --json", MIKEYTOOL_NOW=str(start + seconds))
    )
    received = next(one for one in shown_to_bob["crypto_sessions"] if one["direction"] == "recv")
    assert [key["state"] for key in received["keys"]] == ["active", state]


@pytest.mark.parametrize("out", ["remove", "deny", "replaced"])
def test_who_is_put_out_is_not_heard(system: Shell, out: str) -> None:
    """By the system from that moment, by members until the old key has expired.

    A session that was replaced has the key of its user, who is still in.
    """
    create(system)
    call_in(system, "alice", ticket=False)
    call_in(system, "bob", ssrc="0x22222222")
    send(system, "bob", "from bob")
    start = int(time.time()) + 1
    if out == "replaced":
        system.ok("rm bob.session bob.init bob.resp")
        call_in(system, "bob", ticket=False, ssrc="0x22222222")
    else:
        system.ok(
            f"mikeytool conference {out} conference.db sip:bob@example.com > updates",
            MIKEYTOOL_NOW=str(start),
        )
        system.ok(
            "mikeytool transfer respond updates --session alice.session -o answer",
            **person("alice"),
            MIKEYTOOL_NOW=str(start + 5),
        )
    for seconds in (0, 9, 11):
        now, decrypt = str(start + seconds), "mikeytool srtp decrypt bob.srtp"
        system.fails(f"{decrypt} --conference conference.db", 1, "0x22222222", MIKEYTOOL_NOW=now)
        if seconds:
            heard = system.run(f"{decrypt} --session alice.session", MIKEYTOOL_NOW=now)
            assert (heard.code == 0) == (seconds == 9 or out == "replaced"), heard.err


def test_a_member_chooses_another_overlap(system: Shell) -> None:
    create(system)
    call_in(system, "alice", ticket=False)
    call_in(system, "bob", ssrc="0x22222222")
    send(system, "alice", "old key")
    start = int(time.time()) + 1
    lines = system.ok("mikeytool conference rekey conference.db", MIKEYTOOL_NOW=str(start))
    update = next(
        one["message"]
        for one in map(json.loads, lines.splitlines())
        if one["to"] == "sip:bob@example.com"
    )
    system.ok(
        f"mikeytool transfer respond {update} --session bob.session --overlap 1m -o answer",
        **person("bob"),
        MIKEYTOOL_NOW=str(start + 1),
    )
    decrypt = "mikeytool srtp decrypt alice.srtp --session bob.session"
    system.ok(decrypt, MIKEYTOOL_NOW=str(start + 59))
    system.fails(decrypt, 1, "verify", MIKEYTOOL_NOW=str(start + 61))


def test_info_names_the_seats(system: Shell) -> None:
    create(system)
    call_in(system, "alice", ticket=False)
    for sequence in (1, 2, 3):
        send(system, "alice", "hello", sequence)
        system.ok("cat alice.srtp >> all")
    system.ok("sed s/11111111/99999999/ all > other; cat other >> all")
    out = system.ok("mikeytool srtp info all --conference conference.db --json")
    assert [(one["ssrc"], one["seat"]) for one in json.loads(out)["streams"]] == [
        ("0x11111111", "sip:alice@example.com audio"),
        ("0x99999999", "nobody has it"),
    ]


def test_a_member_takes_their_own_of_several_updates(system: Shell) -> None:
    create(system)
    call_in(system, "alice", ticket=False)
    call_in(system, "bob", ssrc="0x22222222")
    system.ok("mikeytool conference rekey conference.db > updates")
    for name in ("bob", "alice"):
        system.ok(
            f"mikeytool transfer respond updates --session {name}.session"
            " | mikeytool conference answer conference.db",
            **person(name),
        )
    assert system.ok("mikeytool conference updates conference.db") == ""
    assert [key["state"] for key in shown(system)["keys"]] == ["active", "overlap"]
    system.ok("cp alice.session other.session; cat updates updates > twice")
    system.fails(
        "mikeytool transfer respond twice --session other.session", 2, "4 messages", "--index"
    )


def join(shell: Shell, name: str, options: str, ticket: str = "") -> tuple[str, str]:
    """Someone calls in with other options; gives what the operator and the caller are told."""
    shell.ok(
        f"mikeytool ticket request --to {FOCUS} --flags=+M --key-type none {ticket}"
        f" --save {name}.ticket --force\n"
        f"mikeytool transfer init --ticket {name}.ticket --to {FOCUS} --session {name}.session"
        f" --force {options} -o {name}.init",
        **person(name),
    )
    told = shell.run(f"mikeytool conference call-in conference.db {name}.init > {name}.resp")
    heard = shell.run(
        f"mikeytool transfer finish {name}.resp --session {name}.session", **person(name)
    )
    return told.err, heard.err


@pytest.mark.parametrize(
    ("purposes", "options"),
    [
        ("audio,video", "--cs purpose=video"),
        ("audio --purpose video", "--cs purpose=video,dir=send --cs purpose=video,dir=recv"),
        ("audio,video", "--sdp offer"),
        ("video,audio", "--cs purpose=video"),
    ],
)
def test_a_member_with_video_alone(system: Shell, purposes: str, options: str) -> None:
    create(system, purposes)
    system.path("offer").write_text(
        "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nt=0 0\n"
        "m=audio 0 RTP/SAVP 0\nm=video 5006 RTP/SAVP 96\n"
    )
    join(system, "bob", options)
    keys = shown(system, "--show-keys")["keys"]
    (video,) = [key for key in keys if key["purpose"] == "video"]
    streams = session(system, "bob")
    assert [one["cs_id"] for one in streams] == [3, 4]
    assert {one["master_key"] for one in streams} == {video["tek"]}
    assert shown(system)["members"][0]["ssrcs"] == [streams[0]["ssrc"]]


@pytest.mark.parametrize("form", ["whole offer", "answer with --sdp", "media section"])
def test_media_lines_in_another_order(system: Shell, form: str) -> None:
    """The types of the media lines count, in the offer that comes and in the answer that goes."""
    create(system, "audio,video")
    head = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nt=0 0\n"
    system.path("offer").write_text(f"{head}m=video 5006 RTP/SAVP 96\nm=audio 5004 RTP/SAVP 0\n")
    around = {
        "whole offer": ("--sdp offer", ""),
        "answer with --sdp": ("", "--sdp offer"),
        "media section": ("--sdp offer --sdp-media 1", "--sdp offer --sdp-media 1"),
    }
    offered, answered = around[form]
    system.ok(
        f"mikeytool ticket request --to {FOCUS} --flags=+M --key-type none --save bob.ticket\n"
        f"mikeytool transfer init --ticket bob.ticket --to {FOCUS} --session bob.session {offered}"
        f" | mikeytool conference call-in conference.db {answered}"
        " | mikeytool transfer finish --session bob.session",
        **person("bob"),
    )
    keys = {key["tek"]: key["purpose"] for key in shown(system, "--show-keys")["keys"]}
    found = {one["cs_id"]: keys[one["master_key"]] for one in session(system, "bob")}
    every = {1: "video", 2: "video", 3: "audio", 4: "audio"}
    assert found == (every if form == "whole offer" else {1: "video", 2: "video"})
    called = "mikeytool conference call-out conference.db sip:carol@example.com --sdp offer"
    system.ok("mikeytool conference allow conference.db sip:carol@example.com")
    system.fails(called, 1, "media line 1 of the session description is video")


def test_what_is_ambiguous_is_said(system: Shell) -> None:
    create(system, "audio,video")
    told, _ = join(system, "bob", "--cs dir=send --cs dir=send --cs dir=recv --cs dir=recv")
    assert "crypto sessions 1 and 2 both send audio" in told
    assert "video has 3 and 4" in told


def test_suites_of_a_conference(system: Shell) -> None:
    create(system, "audio --purpose video=AEAD_AES_128_GCM --suite AES_256_CM_HMAC_SHA1_80")
    told, heard = join(system, "bob", "--cs purpose=audio")
    assert "offers AES_CM_128_HMAC_SHA1_80; audio of" in told
    assert "the other end supports AES_256_CM_HMAC_SHA1_80, AEAD_AES_128_GCM" in heard
    join(system, "bob", "--cs purpose=video --suite AEAD_AES_128_GCM")
    join(system, "alice", "--suite AES_256_CM_HMAC_SHA1_80 --suite AEAD_AES_128_GCM"
         " --cs purpose=audio,policy=0 --cs purpose=video,policy=1", "--profile 256")  # fmt: skip
    found = [(one["suite"], one["mki"]) for one in session(system, "alice")]
    audio, video = (key["spi"] for key in shown(system)["keys"])
    assert found == [("AES_256_CM_HMAC_SHA1_80", audio)] * 2 + [("AEAD_AES_128_GCM", video)] * 2
    assert {one["mki"] for one in session(system, "bob")} == {video}


def rtp(ssrc: str, sequence: int = 0) -> str:
    """A packet in hex; `ssrc` is as JSON has it."""
    return f"8000{sequence:04x}000000a0{ssrc.removeprefix('0x')}68656c6c6f"


def test_a_mixer_from_the_shell(system: Shell) -> None:
    """Members hear it and nobody else; it hears everybody, and goes on under the next key."""
    create(system, options="--topology mixer")
    call_in(system, "alice", ticket=False)
    call_in(system, "bob", ssrc="0x22222222")
    mix = "mikeytool conference mixer conference.db --purpose audio --session mix"
    system.ok(mix)
    streams = json.loads(system.ok(f"{mix} --json"))["streams"]
    ssrc, to = streams[0]["ssrc"], streams[0]["to"]
    assert (len(streams), to) == (1, None)
    assert shown(system)["topology"] == "mixer"
    assert {session(system, name)[1]["ssrc"] for name in ("alice", "bob")} == {ssrc}
    by_mixer = system.ok(f"mikeytool srtp encrypt --session mix <<< {rtp(ssrc)}")
    by_bob = system.ok(f"mikeytool srtp encrypt --session bob.session <<< {rtp('0x22222222')}")
    open_ = "mikeytool srtp decrypt --session {} <<< {}"
    assert system.ok(open_.format("mix", by_bob)) == rtp("0x22222222")
    for name in ("alice.session", "bob.session"):
        assert system.ok(open_.format(name, by_mixer)) == rtp(ssrc)
    system.fails(open_.format("alice.session", by_bob), 1, "")
    system.fails(f"mikeytool srtp encrypt --session mix <<< {rtp(ssrc)}", 1, "has used")
    system.fails(mix.replace("--session mix", "--session other"), 1, "--force")
    system.ok("mikeytool conference remove conference.db sip:bob@example.com > update")
    system.ok(
        "mikeytool transfer respond update --session alice.session"
        " | mikeytool conference answer conference.db",
        **person("alice"),
    )
    system.ok(mix)
    system.fails(f"mikeytool srtp encrypt --session mix <<< {rtp(ssrc)}", 1, "has used")
    by_mixer = system.ok(f"mikeytool srtp encrypt --session mix <<< {rtp(ssrc, 1)}")
    assert system.ok(open_.format("alice.session", by_mixer)) == rtp(ssrc, 1)
    system.fails(open_.format("bob.session", by_mixer), 1, "")
    system.fails(open_.format("mix", by_bob), 1, "")  # within the overlap


def test_a_member_adds_a_stream_and_changes_another(system: Shell) -> None:
    create(system, "audio,video")
    join(system, "bob", "--cs purpose=audio,ssrc=0x22222222")
    for spec in ("purpose=video,ssrc=0x44444444", "purpose=audio,dir=send,ssrc=0x33333333"):
        system.ok(
            f"mikeytool transfer update --session bob.session --cs {spec}"
            " | mikeytool conference call-in conference.db"
            " | mikeytool transfer finish --session bob.session",
            **person("bob"),
        )
    assert shown(system)["members"][0]["ssrcs"] == ["0x33333333", "0x44444444"]
    assert [one["ssrc"] for one in session(system, "bob")] == [
        "0x33333333", "any", "0x44444444", "any"
    ]  # fmt: skip
    update = system.ok("mikeytool transfer update --session bob.session --cs id=9,dir=send")
    ran = system.fails(f"mikeytool conference call-in conference.db {update}", 1, "media line")
    system.fails(
        f"mikeytool transfer finish {ran.out.strip()} --session bob.session", 1, "Invalid SP",
        **person("bob"),
    )  # fmt: skip


def test_who_is_allowed_is_a_line_in_a_pipe_and_whole_addresses_on_a_terminal(
    system: Shell,
) -> None:
    create(system)
    guests = [f"sip:anna-maria-{number}@long-name.example.com" for number in range(8)]
    system.ok(f"mikeytool conference allow conference.db {' '.join(guests)}")
    plain = system.ok("mikeytool conference show conference.db").splitlines()
    assert plain[1].startswith("allowed:  ")
    assert set(guests) < set(plain[1].replace(",", "").split())
    narrow = system.ok("mikeytool conference show conference.db", COLUMNS="80").splitlines()
    assert max(map(len, narrow)) <= 80
    assert set(guests) < set(" ".join(narrow).replace(",", "").split())
