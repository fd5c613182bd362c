"""The evolving MAC: its definition, and that a later key says nothing about earlier records."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest

from otel_audit.integrity.mac import EvolvingMac
from otel_audit.integrity.mackey import MacKey, _leap

KEY = bytes(range(32))


def test_the_sum_is_the_one_that_is_written_down() -> None:
    mac, key, total = EvolvingMac(KEY), KEY, sha256(b"otel-audit mac begin" + KEY).digest()
    assert mac.matches(total)
    for number in range(20):
        record = sha256(b"%d" % number).digest()
        mac.add(record)
        total = sha256(total + hmac.digest(key, record, "sha256")).digest()
        key = sha256(b"otel-audit mac ratchet" + key).digest()
    assert mac.sum() == total
    assert mac.matches(total)
    assert mac.count == 20


@pytest.mark.parametrize("change", ["edit", "cut", "swap", "double"])
def test_every_change_shows_in_the_sum(change: str) -> None:
    records = [sha256(b"%d" % number).digest() for number in range(5)]
    honest, forged = EvolvingMac(KEY), EvolvingMac(KEY)
    for each in records:
        honest.add(each)
    changed = {
        "edit": [*records[:2], bytes(32), *records[3:]],
        "cut": records[:-1],
        "swap": [records[1], records[0], *records[2:]],
        "double": [*records, records[-1]],
    }[change]
    for each in changed:
        forged.add(each)
    assert not forged.matches(honest.sum())


def test_the_key_it_was_given_is_gone_after_one_record() -> None:
    mac = EvolvingMac(KEY)
    mac.add(bytes(32))
    assert bytes(mac._key) != KEY
    assert KEY.hex() not in repr(mac)


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        EvolvingMac(b"short")


def test_a_late_seed_is_the_one_that_is_written_down_and_not_sought_twice() -> None:
    seed, key = KEY, MacKey(3, KEY)
    for _ in range(20_000):
        seed = sha256(b"otel-audit mac next" + seed).digest()
    assert key.of(20_003) == MacKey(20_003, seed)
    done = _leap.cache_info().misses
    assert key.of(20_002).of(20_003) == MacKey(20_003, seed)
    assert _leap.cache_info().misses == done
