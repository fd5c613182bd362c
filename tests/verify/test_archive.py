"""Archives as the S3 sink makes them: parts of a stream, each a file that is named for what it holds."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from otel_audit.sinks.s3 import part_name
from otel_audit.verify import Report, verify
from tests.integrity.site import Site, build
from tests.verify.histories import Writer, rewrite, whole


def store(directory: Path, writer: Writer, *ranges: tuple[int, int]) -> list[Path]:
    """Write parts of a stream, from one record number to another."""
    place = directory / writer.stream
    place.mkdir(parents=True, exist_ok=True)
    paths = []
    for first, last in ranges:
        lines = b"".join(writer.lines[first - 1 : last])
        paths.append(place / f"{part_name(first, last, lines)}.gz")
        paths[-1].write_bytes(gzip.compress(lines))
    return paths


def codes(report: Report) -> set[str]:
    return set(report.findings.counts())


PARTS = ((1, 5), (6, 12), (13, 20))


def test_a_whole_archive_is_intact(tmp_path: Path) -> None:
    store(tmp_path, whole(), *PARTS)
    store(tmp_path, whole(2), (1, 20))
    report = verify([tmp_path])

    assert (codes(report), report.exit_code, report.records) == (set(), 0, 40)


@pytest.mark.parametrize(("gone", "code", "exit_code"), [(0, "HEAD_CUT", 1), (1, "SEQ_GAP", 1), (2, "UNCLOSED", 3)])
def test_a_part_that_is_gone_is_missed(tmp_path: Path, gone: int, code: str, exit_code: int) -> None:
    store(tmp_path, whole(), *PARTS)[gone].unlink()
    report = verify([tmp_path])

    assert (codes(report), report.exit_code) == ({code}, exit_code)


def test_parts_that_were_cut_elsewhere_the_second_time_are_copies(tmp_path: Path) -> None:
    store(tmp_path, whole(), *PARTS, (1, 9), (10, 20))
    report = verify([tmp_path])

    assert (codes(report), report.exit_code) == ({"IDENTICAL_COPIES"}, 0)


def test_parts_that_do_not_agree_are_a_fork(tmp_path: Path) -> None:
    writer, forger = whole(), whole()
    forger.lines = rewrite(forger.lines, 8, message="something else")
    store(tmp_path, writer, *PARTS)
    store(tmp_path, forger, (1, 12))
    report = verify([tmp_path])

    assert report.exit_code == 1
    assert "FORK" in codes(report)


@pytest.mark.parametrize("name", ["copy.jsonl.gz", "1-20-x.jsonl.gz"])
def test_a_copy_under_another_name_is_a_duplicate(tmp_path: Path, name: str) -> None:
    (path,) = store(tmp_path, whole(), (1, 20))
    shutil.copy(path, path.with_name(name))

    assert codes(verify([tmp_path])) == {"DUPLICATE"}


class Test_checkpoints_as_the_s3_anchor_keeps_them:
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        """A log whose anchor was downloaded: every checkpoint that it got, in a directory a stream."""
        site = build(tmp_path, streams=1, records=20)
        site.pins.unlink()
        (path,) = site.anchor.glob("*.checkpoint")
        below = site.anchor / path.name.removesuffix(".checkpoint")
        below.mkdir()
        path.rename(below / f"{20:016d}-{'0' * 32}.checkpoint")
        return site

    def test_are_read(self, site: Site) -> None:
        assert site.verify() == (0, set())
        (path,) = site.journal.glob("*.jsonl")
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:10]))
        shutil.rmtree(site.journal / "checkpoints")

        code, found = site.verify()
        assert code == 1
        assert "SIGNED_TRUNCATED" in found

    def test_are_read_where_only_one_streams_directory_is_named(self, site: Site) -> None:
        (below,) = site.anchor.iterdir()
        site.anchor = below
        assert site.verify() == (0, set())

    def test_belong_to_the_stream_whose_directory_they_lie_in(self, site: Site) -> None:
        (below,) = site.anchor.iterdir()
        below.rename(below.with_name("0" * 32))
        assert "FOREIGN_CHECKPOINT" in site.verify()[1]

    def test_other_files_are_passed_over(self, site: Site) -> None:
        (below,) = site.anchor.iterdir()
        (below / "notes.txt").write_text("x")
        (site.anchor / "elsewhere").mkdir()
        assert site.verify() == (0, set())
