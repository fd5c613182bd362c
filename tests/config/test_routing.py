"""Routing rules: which records a sink gets."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.routing import make_line_route, make_route

RECORD: dict[str, Any] = {
    "event_name": "user.login",
    "level": "WARNING",
    "logger": "shop.auth.web",
    "audit": {"outcome": "failure", "actor": {"id": "alice", "type": "user"}},
    "data": {"http.method": "GET", "attempt": 3, "again": True, "none": None, "http": {"method": "PUT"}},
}


@pytest.mark.parametrize(
    "rules",
    [
        {"event_name": "user.login"},
        {"event_name": ["order.*", "user.*"]},
        {"event_name": "*.lo[gk]in"},
        {"level": "WARNING"},
        {"level": "info"},
        {"level": 30},
        {"logger": "shop"},
        {"logger": ["other", "shop.auth.web"]},
        {"field": {"audit.outcome": "failure"}},
        {"field": {"audit.actor.type": ["service", "user"]}},
        {"field": {"data.http.method": "GET"}},
        {"field": {"data.http.method": "PUT"}},
        {"field": {"data.attempt": 3, "data.again": True, "data.none": None}},
        {"event_name": "user.*", "level": "WARNING", "logger": "shop", "field": {"audit.outcome": "failure"}},
    ],
)
def test_a_record_that_fits_every_rule_is_routed(rules: dict[str, Any]) -> None:
    assert make_route(rules)(RECORD) is True


@pytest.mark.parametrize(
    "rules",
    [
        {"event_name": "user"},
        {"event_name": "User.*"},
        {"level": "ERROR"},
        {"logger": "shop.aut"},
        {"logger": "shop.auth.web.x"},
        {"field": {"audit.outcome": "success"}},
        {"field": {"audit.outcome.x": "failure"}},
        {"field": {"nothing.there": None}},
        {"field": {"data.again": 1}},
        {"field": {"data.attempt": "3"}},
        {"event_name": "user.*", "level": "ERROR"},
        {"field": {"audit.outcome": "failure", "data.attempt": 4}},
    ],
)
def test_a_record_that_fails_one_rule_is_not_routed(rules: dict[str, Any]) -> None:
    assert make_route(rules)(RECORD) is False


@pytest.mark.parametrize("rules", [{"level": "DEBUG"}, {"logger": "shop"}])
def test_an_event_that_came_from_no_logger_matches_no_rule_about_one(rules: dict[str, Any]) -> None:
    assert make_route(rules)({"event_name": "user.login", "audit": {}}) is False


def test_a_level_that_has_no_number_here_is_not_held_back() -> None:
    assert make_route({"level": "ERROR"})({"event_name": "x", "level": "AUDIT-ISH"}) is True


def test_a_level_of_the_programs_own_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "_nameToLevel", {**logging._nameToLevel, "notice": 25})
    route = make_route({"level": "notice"})

    assert route({"event_name": "x", "level": "WARNING"}) is True
    assert route({"event_name": "x", "level": "INFO"}) is False


def test_control_records_pass_every_route() -> None:
    assert make_route({"event_name": "user.*", "level": "ERROR"})({"event_name": "audit.gap"}) is True


def test_a_line_is_routed_as_its_record_is() -> None:
    route = make_line_route({"logger": "shop"})

    assert route(json.dumps(RECORD).encode() + b"\n") is True
    assert route(json.dumps({**RECORD, "logger": "other"}).encode() + b"\n") is False


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "a mapping with one or several of event_name, level, logger, field"),
        ("user.*", "a mapping"),
        ({"event": "x"}, "did you mean 'event_name'"),
        ({"event_name": []}, "a word or a list of words"),
        ({"logger": 3}, "a word or a list of words"),
        ({"level": "LOUD"}, "no logging level"),
        ({"level": True}, "no logging level"),
        ({"field": "audit.outcome"}, "dotted paths"),
        ({"field": {"audit": {"outcome": "x"}}}, "a plain value or a list"),
        ({"field": {"audit.outcome": []}}, "a plain value or a list"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rules: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_route(rules)
