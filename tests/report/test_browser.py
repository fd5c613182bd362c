"""The report as a stranger meets it: in a real browser, with hostile data, tampered with, printed, by keyboard."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.integrity.site import Site, main_to
from tests.integrity.test_seventy_cases import CASES
from tests.report.conftest import HOSTILE, write_report
from tests.vectors.make import HERE as VECTORS
from tests.verify.histories import reseal, whole

pytestmark = pytest.mark.server("chromium")

Open = Callable[..., Any]


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
    """Open a report, wait until it has checked itself, and give the page."""
    contexts = []

    def visit(path: Path, *, prepare: Callable[[Any], object] = lambda page: None, **settings: Any) -> Any:
        context = browser.new_context(**settings)
        context.set_default_timeout(90_000)
        contexts.append(context)
        page = context.new_page()
        page.said = []
        page.requested = []
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("dialog", lambda dialog: (page.said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: page.requested.append(request.url))
        prepare(page)
        page.goto(path.as_uri())
        if settings.get("java_script_enabled", True):
            page.wait_for_selector("html[data-checked]", state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()


def checks(page: Any) -> str:
    return page.inner_text("#checks")


def alarm(page: Any) -> str:
    return page.inner_text("#alarm")


def test_a_sound_log_is_checked_again_down_to_its_signed_roots(visit: Open, signed_report: Path) -> None:
    page = visit(signed_report)

    assert page.inner_text("#verdict-word") == "Intact"
    assert alarm(page) == ""
    said = checks(page)
    assert "The text and the data of this page are as they were made." in said
    assert re.search(r"\d+ records give the hash that was sealed in\.", said)
    assert re.search(r"\d+ records name the hash of the record before", said)
    assert "Signatures of checkpoints: 6 good, by keys that the policy trusts." in said
    assert "6 checkpoints: the records in this file lead to the signed root." in said
    assert "✘" not in said
    assert page.said == []


def test_names_from_the_log_do_not_run_and_are_seen(visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report)
    page.click("#more") if page.is_visible("#more") else None
    for button in page.locator("#rows button").all():
        button.click()

    assert page.evaluate("window.pwned") is None
    assert page.said == []
    assert page.locator("img, iframe, object, embed, body svg script").count() == 0
    assert page.locator("script").count() == 2
    shown = page.inner_text("#rows")
    assert HOSTILE[0] in shown
    assert HOSTILE[1] in shown
    assert r"\u{202e}gnp.exe\u{2066}" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\u2028\u2029]", page.inner_text("body"))


def test_nothing_leaves_the_page(visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report)
    page.fill("#filter", "http")
    for button in page.locator("#rows button").all():
        button.click()
    page.wait_for_timeout(200)

    assert page.requested == [hostile_report.as_uri()]
    blocked = page.evaluate("fetch('https://198.51.100.7/').then(() => 'sent', () => 'blocked')")
    assert blocked == "blocked"
    assert "Content Security Policy" in page.said[0]


def test_what_was_found_comes_first_and_says_what_it_means(visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report)

    assert page.inner_text("#verdict-word") == "Tampered"
    assert [item.inner_text().split("\n")[0] for item in page.locator(".facts li").all()] == [
        "Content",
        "Continuity",
        "Signatures",
        "Time",
        "Anchors",
    ]
    findings = page.inner_text(".findings")
    assert {"HASH_MISMATCH", "SEQ_GAP", "NOT_A_RECORD"} <= set(re.findall("[A-Z_]{6,}", findings))
    assert "The record was changed after it was sealed." in findings
    first = [row.inner_text() for row in page.locator("#rows tr").all()[:3]]
    assert all("✘" in row or "!" in row for row in first), first
    assert "1 record does not, as the findings say." in checks(page)
    assert alarm(page) == ""


# A copy of the report that somebody changed.


def data_of(page: str) -> dict[str, Any]:
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])


def with_data(page: str, change: Callable[[dict[str, Any]], object], *, digest: bool) -> str:
    """Change the data of a page; with `digest`, its digest as well, as somebody with a little skill does."""
    before = page.partition('id="data">')[2].partition("</script>")[0]
    data = json.loads(before)
    change(data)
    after = (
        json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )
    page = page.replace(before, after)
    if digest:
        page = page.replace(sha256(before.encode()).hexdigest(), sha256(after.encode()).hexdigest())
    return page


def an_amount(data: dict[str, Any]) -> None:
    record = next(record for record in data["records"] if '"amount":12.5' in record[5])
    record[5] = record[5].replace('"amount":12.5', '"amount":99.5')


def an_amount_and_its_hash(data: dict[str, Any]) -> None:
    record = next(record for record in data["records"] if '"seq":40,' in record[5])
    record[5] = reseal(record[5].encode(), message="another").decode().rstrip("\n")


def the_last_record(data: dict[str, Any]) -> None:
    """The one that no other record names: only the signed root tells."""
    record = max(data["records"], key=lambda each: json.loads(each[5])["seq"])
    record[5] = reseal(record[5].encode(), message="another").decode().rstrip("\n")


def a_signature(data: dict[str, Any]) -> None:
    signature = data["checkpoints"][0]["signatures"][0]
    signature["payload"] = base64.b64encode(bytes(64)).decode()


def a_root(data: dict[str, Any]) -> None:
    data["checkpoints"][0]["root"] = "00" * 32


def a_record_is_removed(data: dict[str, Any]) -> None:
    del data["records"][30]


@pytest.mark.parametrize("change", [an_amount, an_amount_and_its_hash, a_signature, a_root, a_record_is_removed])
def test_a_page_whose_data_were_changed_says_so(
    change: Callable[[dict[str, Any]], object], visit: Open, signed_report: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.html"
    copy.write_text(with_data(signed_report.read_text(), change, digest=False))
    page = visit(copy)

    assert "This file was changed after it was made" in alarm(page)
    assert "The data of this page are not the ones" in checks(page)
    assert page.title().startswith("✘")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (an_amount, "1 record does not give the hash"),
        (an_amount_and_its_hash, "not follow the record before as when this file was made"),
        (the_last_record, "do not lead to the root that was signed over them"),
        (a_signature, "gives another result"),
        (a_root, "do not lead to the root that was signed over them"),
    ],
)
def test_it_says_so_too_where_the_digest_was_made_to_fit(
    change: Callable[[dict[str, Any]], object], reason: str, visit: Open, signed_report: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.html"
    copy.write_text(with_data(signed_report.read_text(), change, digest=True))
    page = visit(copy)

    assert "This file was changed after it was made" in alarm(page)
    assert reason in checks(page)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (">Tampered<", ">Intact<"),
        ("The record was changed after it was sealed.", "Nothing happened."),
        ("record 13", "record 31"),
    ],
)
def test_a_page_whose_text_was_changed_says_so(
    old: str, new: str, visit: Open, hostile_report: Path, tmp_path: Path
) -> None:
    text = hostile_report.read_text()
    assert old in text
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace(old, new, 1))
    page = visit(copy)

    assert "This file was changed after it was made" in alarm(page)
    assert "The text of this page is not the one" in checks(page)


@pytest.mark.parametrize("place", ["<main>", '<section aria-labelledby="map-title">', "</main>", "</body>", "</html>"])
def test_a_page_to_which_text_was_added_says_so(place: str, visit: Open, hostile_report: Path, tmp_path: Path) -> None:
    text = hostile_report.read_text()
    assert text.count(place) == 1
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace(place, f"{place}<p>All of it is intact.</p>"))
    page = visit(copy)

    assert "This file was changed after it was made" in alarm(page)
    assert "The text of this page is not the one" in checks(page)


def test_a_page_whose_script_is_kept_from_running_claims_nothing(
    browser: Any, signed_report: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.html"
    copy.write_text(signed_report.read_text().replace("script-src 'sha256-", "script-src 'sha256-A", 1))
    page = browser.new_page()
    page.goto(copy.as_uri())

    assert page.get_by_text("the page's script has not run").is_visible()
    assert not page.get_by_text("This shows that the file is whole").is_visible()
    page.close()


def test_another_script_in_the_page_does_not_run(visit: Open, signed_report: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.html"
    copy.write_text(signed_report.read_text().replace("<main>", "<main><script>window.pwned = 6</script>"))
    page = visit(copy)

    assert page.evaluate("window.pwned") is None
    assert "Content Security Policy" in page.said[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(json.loads((VECTORS / "expected.json").read_text())))
def test_no_alarm_over_what_is_wrong_in_the_log_itself(name: str, visit: Open, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    main_to(tmp_path / "out", ["report", "-j", "1", str(VECTORS / name), "-o", str(report)])
    page = visit(report)
    assert (alarm(page), page.said) == ("", [])


@pytest.mark.slow
@pytest.mark.parametrize("mutate", [case[3] for case in CASES], ids=[case[0] for case in CASES])
def test_nor_over_what_is_wrong_with_its_signatures(
    mutate: Callable[[Site], object], signed: Site, visit: Open, tmp_path: Path
) -> None:
    site = signed.copy(tmp_path / "site")
    try:
        mutate(site)
    except (IndexError, AssertionError):
        pytest.skip("this mutation wants a longer log")
    report = tmp_path / "report.html"
    write_report(site, report, "--pin", str(site.pins))
    page = visit(report)
    assert (alarm(page), page.said) == ("", [])


def test_nor_over_more_findings_than_are_listed(visit: Open, tmp_path: Path) -> None:
    writer = whole(events=2_500)
    lines = [reseal(line, message="x") if number % 2 else line for number, line in enumerate(writer.lines)]
    (tmp_path / "audit.jsonl").write_bytes(b"".join(lines))
    report = tmp_path / "report.html"
    main_to(tmp_path / "out", ["report", "-j", "1", str(tmp_path / "audit.jsonl"), "-o", str(report)])
    page = visit(report)
    assert alarm(page) == ""
    assert "do not follow the one before" in checks(page)


# Browsers and settings that have less.


def test_without_javascript_all_but_the_records_is_there(visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report, java_script_enabled=False)

    text = page.locator("body").inner_text()
    for part in (
        "Tampered",
        "Not proved:",
        "alteration",
        "HASH_MISMATCH",
        "What to do",
        "SHA-256",
        "JavaScript is off",
    ):
        assert part in text
    assert page.locator(".map svg").count() == 2
    assert not page.is_visible("#filters")


def test_without_ed25519_the_page_says_that_it_cannot_check_signatures(visit: Open, signed_report: Path) -> None:
    taken_away = "crypto.subtle.importKey = () => Promise.reject(new DOMException('no', 'NotSupportedError'))"
    page = visit(signed_report, prepare=lambda page: page.add_init_script(taken_away))

    assert "6 cannot be checked by this browser" in checks(page)
    assert alarm(page) == ""


def test_without_webcrypto_the_page_says_that_it_checked_nothing(visit: Open, signed_report: Path) -> None:
    taken_away = "Object.defineProperty(crypto, 'subtle', { value: undefined })"
    page = visit(signed_report, prepare=lambda page: page.add_init_script(taken_away))

    assert "nothing was checked again" in checks(page)
    assert "✔" not in checks(page)


def background(page: Any) -> tuple[int, ...]:
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return tuple(map(int, re.findall(r"\d+", color)[:3]))


def test_light_and_dark(visit: Open, signed_report: Path) -> None:
    assert min(background(visit(signed_report, color_scheme="light"))) > 240
    assert max(background(visit(signed_report, color_scheme="dark"))) < 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(scheme: str, visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report, color_scheme=scheme)
    faint = page.evaluate(
        """() => {
          const parse = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
          const light = (color) => parse(color).map((part) => part / 255)
            .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
            .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
          const behind = (node) => {
            for (let at = node; at; at = at.parentElement) {
              const color = getComputedStyle(at).backgroundColor;
              if (!color.endsWith(", 0)") && color !== "transparent") return color;
            }
            return "rgb(255, 255, 255)";
          };
          return [...document.querySelectorAll("main *, header *")].filter((node) =>
            [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())
            && node.checkVisibility()
          ).map((node) => {
            const [one, two] = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
            return [node.textContent.trim().slice(0, 40), (one + 0.05) / (two + 0.05)];
          }).filter(([, ratio]) => ratio < 4.5);
        }"""
    )
    assert faint == []  # WCAG 2.2, 1.4.3


# Keyboard, names, narrow screens, paper.


def test_everything_can_be_done_by_keyboard(visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report)
    focus = "document.activeElement.id || document.activeElement.textContent"
    page.keyboard.press("Tab")
    assert page.evaluate(focus) == "Skip to the findings"
    page.keyboard.press("Enter")
    assert page.evaluate(focus) == "findings"

    page.keyboard.press("/")
    assert page.evaluate(focus) == "filter"
    page.keyboard.type("onerror")
    assert re.fullmatch(r"3 of \d+", page.inner_text("#count"))
    for _ in range(4):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert "Its hash was derived again here" in page.inner_text("#rows .open")
    page.keyboard.press("Space")
    assert page.locator("#rows .open").count() == 0


def test_the_focus_is_seen(visit: Open, signed_report: Path) -> None:
    page = visit(signed_report)
    page.focus("#filter")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_records_are_filtered(visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report)
    page.select_option("#kind", "problem")
    assert all("✘" in row.inner_text() or "!" in row.inner_text() for row in page.locator("#rows tr").all())
    page.select_option("#kind", "control")
    assert "audit.stream.open" in page.inner_text("#rows")
    page.select_option("#kind", "all")
    page.fill("#filter", "user.login failure gnp")
    assert page.locator("#rows tr").count() == 3
    page.fill("#filter", "nobody has this name")
    assert page.locator("#rows tr").count() == 0


def test_whatever_is_seen_or_used_has_a_name(visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("svg[role=img], section, input, select, button, [role=region], form")]
          .filter((each) => !(each.getAttribute("aria-label") || each.getAttribute("aria-labelledby")
            || each.labels?.length || each.textContent.trim())).map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    assert page.get_attribute("html", "lang") == "en"
    levels = [int(each.evaluate("each => each.tagName")[1]) for each in page.locator("h1, h2, h3").all()]
    assert levels[0] == 1
    assert levels.count(1) == 1
    snapshot = page.locator("main").aria_snapshot()
    assert 'heading "Tampered"' in snapshot
    assert re.search(r'img "Stream .*altered', snapshot)


def test_a_state_is_never_a_colour_alone(visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report)
    for each in page.locator(".facts .value, .findings tbody th, #rows .proof, .checks li").all():
        assert re.match("[✔✘!?–]", each.inner_text().strip()), each.inner_text()
    keys = [page.locator(f".legend path.{state}") for state in ("sound", "altered", "missing", "doubt")]
    assert len({key.get_attribute("d") for key in keys}) == 4


def test_a_narrow_screen_does_not_scroll_sideways(visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report, viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_on_paper(visit: Open, hostile_report: Path) -> None:
    page = visit(hostile_report, color_scheme="dark")
    paper = page.pdf(format="A4")
    assert paper.startswith(b"%PDF-")
    page.emulate_media(media="print", color_scheme="dark")
    assert min(background(page)) > 240
    assert not page.is_visible("#filters")
    assert page.is_visible(".findings")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


def test_a_file_is_compared_with_the_list_of_inputs(visit: Open, signed: Site, signed_report: Path) -> None:
    page = visit(signed_report)
    path = signed.logs[0].path
    page.set_input_files("#file", [str(path), str(signed.policy)])
    page.wait_for_selector("#compared:not(:empty)")  # no function: the page's policy allows no evaluating of text
    said = page.inner_text("#compared")
    assert f"✔ {path.name} is {path}" in said
    assert f"✘ {signed.policy.name} is none of them, byte for byte" in said


@pytest.mark.slow
def test_a_long_log_opens_at_once(visit: Open, signed: Site, tmp_path: Path) -> None:
    site = signed.copy(tmp_path / "site")
    site.record(60_000, flush_each=20_000)
    report = tmp_path / "long.html"
    assert write_report(site, report) == 0

    assert report.stat().st_size < 15_000_000
    page = visit(report)
    assert "were checked as well, and are left out" in page.inner_text(".records")
    opened = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert opened < 3000
    assert alarm(page) == ""
    assert "9 checkpoints: the records in this file, with the tree over those before, lead to the signed root." in (
        checks(page)
    )
