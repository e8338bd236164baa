"""The report line, whole or with other writers' lines inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.smoke.report import Report, find_reports, report_problems

LINE = (
    "bootsmith-report nonce=1f template=default hostname=h runlevel=default "
    "kernel=6.1.0-lts modloop=/media/sda1/boot/modloop-lts modules=40 end"
)
WORDS = {
    "nonce": "1f",
    "template": "default",
    "hostname": "h",
    "runlevel": "default",
    "kernel": "6.1.0-lts",
    "modloop": "/media/sda1/boot/modloop-lts",
    "modules": "40",
}


def words_in(text):
    return [dict(report.words) for report in find_reports(text)]


def test_a_whole_line_among_others():
    assert words_in(f" * Starting local\n{LINE}\n\nhost login: ") == [WORDS]


def test_both_copies():
    assert words_in(f"{LINE}\n{LINE}\n") == [WORDS, WORDS]


@given(cut=st.integers(0, len(LINE)), caller=st.sampled_from(["", "[    T1]"]))
def test_a_kernel_line_anywhere_inside(cut, caller):
    noise = f"[   12.345678]{caller} usb 1-1: new high-speed USB device\n"
    assert words_in(LINE[:cut] + noise + LINE[cut:]) == [WORDS]


@pytest.mark.parametrize("cut", [5, 30, len(LINE) - 4])
def test_a_line_that_is_not_finished_is_no_report(cut):
    assert words_in(LINE[:cut]) == []


def test_the_kernel_command_line_is_no_report():
    assert words_in("Command line: console=ttyS0 bootsmith_nonce=1f end") == []


def test_a_proof_has_no_problems():
    report = Report(words=WORDS)
    assert report_problems(report, template="default", kernel_release="6.1.0-lts") == ()
    assert report_problems(report, template="default", kernel_release=None) == ()


def test_a_ramroot_has_no_modloop():
    report = Report(words=WORDS | {"modloop": "none"})
    said = {"template": "default", "kernel_release": "6.1.0-lts"}
    assert report_problems(report, **said, needs_modloop=False) == ()
    assert report_problems(report, **said) == ("the guest runs without its modloop",)


@pytest.mark.parametrize(
    "word,value,problem",
    [
        ("template", "lxc-repo", "the guest reports template lxc-repo, expected default"),
        ("kernel", "5.10", "the guest reports kernel 5.10, expected 6.1.0-lts"),
        ("runlevel", "boot", "the guest reports runlevel boot, expected default"),
        ("runlevel", "", "the guest reports runlevel nothing, expected default"),
        ("modloop", "none", "the guest runs without its modloop"),
        ("modloop", "", "the guest runs without its modloop"),
    ],
)
def test_what_a_report_may_lack(word, value, problem):
    report = Report(words={**WORDS, word: value})
    assert report_problems(report, template="default", kernel_release="6.1.0-lts") == (problem,)


@pytest.mark.parametrize(
    "words,problem",
    [
        ({"modloop_fs": "nfs4"}, None),
        ({"modloop_fs": "vfat"}, "is /media/sda1/boot/modloop-lts on vfat, expected one on nfs4"),
        ({}, "is /media/sda1/boot/modloop-lts on nothing, expected one on nfs4"),
    ],
)
def test_a_modloop_must_lie_where_the_row_says(words, problem):
    report = Report(words={**WORDS, "modloop": "/media/sda1/boot/modloop-lts", **words})
    got = report_problems(
        report, template="default", kernel_release="6.1.0-lts", modloop_file_system="nfs4"
    )
    assert got == ((f"the guest's modloop {problem}",) if problem else ())


def test_an_empty_report_lacks_everything():
    assert report_problems(Report(words={}), template="t", kernel_release="k") == (
        "the guest reports template nothing, expected t",
        "the guest reports kernel nothing, expected k",
        "the guest reports runlevel nothing, expected default",
        "the guest runs without its modloop",
    )
