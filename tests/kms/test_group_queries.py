"""Groups over HTTP: who may ask, and whose answer is believed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.client.kms_access import reach
from mikeytool.exchange.environment import NS
from mikeytool.kms.group_queries import (
    Forbidden,
    SharedKey,
    _answer_mac,
    _derived,
    answer,
    authorization,
    read_answer,
    target,
)
from mikeytool.wire.errors import Refused, Unreachable, WireError
from mikeytool.wire.identity import Identity
from tests.kms.serving import Server, serving
from tests.world import ALICE, BOB, EVE, START, World, psk_of

TEAM = Identity.from_text("sip:team@example.com")
OTHERS = Identity.from_text("others@example.com")
FACTORY = Identity.from_text("sip:factory@example.com")
KEY = Identity.key_name('a "key" & more')
DESK = SharedKey(FACTORY, psk_of(FACTORY))


def with_groups(folder: Path) -> World:
    world = World(folder)
    world.store.add_user(FACTORY, psk_of(FACTORY), KEY, ["sip:conference-*@example.com"])
    world.store.add_members(TEAM, [ALICE, BOB])
    world.store.add_members(OTHERS, [ALICE])
    return world


@pytest.fixture
def asked_of(tmp_path: Path) -> Iterator[World]:
    with closing(with_groups(tmp_path)) as made:
        yield made


def told(world: World, key: SharedKey, what: str, now: int = START) -> list[Identity]:
    """What a KMS answers, at a moment."""
    header, mac = authorization(key, what, START)
    body, mark = answer(world.store, header, what, now)
    return read_answer(key, mac, mark, body)


def test_who_may_act_as_others_is_told(asked_of: World) -> None:
    for key in (DESK, SharedKey(KEY, psk_of(FACTORY))):
        assert told(asked_of, key, target("member", ALICE)) == [OTHERS, TEAM]
        assert told(asked_of, key, target("member", EVE)) == []
        assert told(asked_of, key, target("group", TEAM)) == [TEAM]
        assert told(asked_of, key, target("group", ALICE)) == []
    found = told(asked_of, DESK, target("member", ALICE))
    assert {one.data: one.id_type for one in found} == {OTHERS.data: 0, TEAM.data: 1}


def test_others_are_told_of_themselves_alone(asked_of: World) -> None:
    alice = SharedKey(ALICE, psk_of(ALICE))
    assert told(asked_of, alice, target("member", ALICE)) == [OTHERS, TEAM]
    for what in (target("member", BOB), target("group", TEAM)):
        with pytest.raises(Forbidden):
            told(asked_of, alice, what)


def test_who_is_not_known(asked_of: World) -> None:
    asked_of.store.enable(EVE, False)
    for key in (
        SharedKey(FACTORY, psk_of(ALICE)),
        SharedKey(Identity.from_text("sip:nobody@example.com"), psk_of(ALICE)),
        SharedKey(EVE, psk_of(EVE)),
    ):
        with pytest.raises(Refused) as caught:
            told(asked_of, key, target("member", EVE))
        assert not isinstance(caught.value, Forbidden)


def test_another_question_with_the_same_mac(asked_of: World) -> None:
    header, _ = authorization(DESK, target("member", ALICE), START)
    for what in (target("member", BOB), target("group", ALICE), "/groups", "/groups?member="):
        with pytest.raises(Refused, match="MAC"):
            answer(asked_of.store, header, what, START)
    for changed in (
        None, "", header.replace("t=", "u="), header.lower(), header + ", x", "Basic eHg6eQ==",
    ):  # fmt: skip
        with pytest.raises(Refused, match="Authorization"):
            answer(asked_of.store, changed, target("member", ALICE), START)


@pytest.mark.parametrize("query", ["", "member=", "x=y", "member=a&group=b", "member=a&member=a"])
def test_questions_that_are_none(asked_of: World, query: str) -> None:
    with pytest.raises(WireError, match="member=URI"):
        told(asked_of, DESK, f"/groups?{query}")


def test_a_question_is_good_for_as_long_as_the_skew(asked_of: World) -> None:
    what = target("member", ALICE)
    for seconds in (-300, 300):
        assert told(asked_of, DESK, what, START + seconds * NS)
    for seconds in (-302, 302):
        with pytest.raises(Forbidden, match="clock"):
            told(asked_of, DESK, what, START + seconds * NS)


def test_an_answer_is_of_the_kms_and_to_this_question(asked_of: World) -> None:
    header, mac = authorization(DESK, target("member", ALICE), START)
    body, mark = answer(asked_of.store, header, target("member", ALICE), START)
    _, other = authorization(DESK, target("member", BOB), START)
    for bad_mac, bad_mark, bad_body in (
        (other, mark, body),
        (mac, mark, body.replace(b"[", b"[ ")),
        (mac, mark.replace("mac", "mad"), body),
        (mac, None, body),
    ):
        with pytest.raises(Refused, match="MAC"):
            read_answer(DESK, bad_mac, bad_mark, bad_body)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with (
        closing(with_groups(tmp_path_factory.mktemp("kms"))) as world,
        serving(world.folder, str(world.store.path)) as running,
    ):
        yield running


def test_over_http(server: Server) -> None:
    kms = reach(server.url, key=DESK)
    assert kms.groups_of(ALICE) == [OTHERS, TEAM]
    assert (kms.is_group(TEAM), kms.is_group(ALICE)) == (True, False)
    for key, words in (
        (SharedKey(FACTORY, bytes(32)), "--psk"),
        (SharedKey(BOB, psk_of(BOB)), "--act-as"),
        (None, "need a pre-shared key"),
    ):
        with pytest.raises(Refused, match=words):
            reach(server.url, key=key).groups_of(ALICE)
    with pytest.raises(Unreachable, match="no KMS"):
        reach(f"{server.url}/prefix", key=DESK).groups_of(ALICE)


def test_headers(server: Server) -> None:
    what = target("member", ALICE)
    header, mac = authorization(DESK, what, time.time_ns())
    reply = server.ask("GET", what, headers={"Authorization": header})
    assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
    assert reply.headers["content-type"] == "application/json"
    assert read_answer(DESK, mac, reply.headers["authentication-info"], reply.body)
    reply = server.ask("GET", what)
    assert (reply.status, reply.headers["www-authenticate"]) == (401, "MIKEY-PSK")


def test_long_names(asked_of: World) -> None:
    """Names of 1,024 octets are asked for, whatever is in them, and longer ones are not."""
    longest = Identity(b"sip:" + b"\xff" * 1020)
    assert told(asked_of, DESK, target("member", longest)) == []
    longer = Identity(longest.data + b"x")
    with pytest.raises(Refused, match="at most 1024"):
        told(asked_of, DESK, target("member", longer))
    with pytest.raises(Refused, match="at most 1024"):
        told(asked_of, SharedKey(longer, psk_of(FACTORY)), target("member", ALICE))
    _, mac = authorization(DESK, "x", START)
    body = json.dumps({"groups": [{"id_hex": longer.data.hex(), "id_type": 1}]}).encode()
    mark = f'mac="{_answer_mac(_derived(DESK.psk), mac, body).hex()}"'
    with pytest.raises(Refused, match="at most 1024"):
        read_answer(DESK, mac, mark, body)
