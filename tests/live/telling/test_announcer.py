"""What is told of a run, at which level, and to whom."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from lossdoctor.live.rows import KINDS
from lossdoctor.live.telling.announcer import Announcer, line_of, lines_of, one_line, tell
from tests.live.telling.telling_samples import EXPLOSION, OVERFITTING, REMARK, event, standing, verdict


@pytest.fixture
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process where nobody has configured logging: pytest's own handlers are out of reach."""
    monkeypatch.setattr(logging.getLogger("lossdoctor"), "hasHandlers", lambda: False)


def test_a_finding_is_one_line_with_its_level() -> None:
    told = list(lines_of(verdict((OVERFITTING, EXPLOSION), (REMARK,))))
    assert told == [
        (logging.WARNING, "LD301 overfitting (warning, from step 840): val_loss is up 31 % from its best; "
                          "stop early: restore step 840"),
        (logging.CRITICAL, "LD101 loss-nonfinite (critical, from step 900): loss is NaN at step 900; "
                           "restore checkpoint: before step 900"),
        (logging.INFO, "LD405 noisy (now info): quite noisy"),
    ]  # fmt: skip


def test_a_withdrawal_is_information() -> None:
    assert list(lines_of(verdict(withdrawn=(OVERFITTING,)))) == [
        (logging.INFO, "LD301 overfitting (val_loss) is gone at step 950")
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_has_a_line(kind: str) -> None:
    level, text = line_of(event(kind), "epoch")
    assert level in (logging.INFO, logging.WARNING, logging.CRITICAL)
    assert text == f"{kind.replace('_', ' ')} at epoch 40: no row for 9 min"


def test_a_line_is_one_line_whatever_a_metric_is_called() -> None:
    assert one_line("a\x1b[2Jb\r\nc\u202e") == "a [2Jb c"
    assert len(one_line("x" * 5_000)) == 1_000


def test_the_announcer_logs_at_the_severity(caplog: pytest.LogCaptureFixture) -> None:
    announcer, monitor = Announcer(), standing("gpt")
    with caplog.at_level(logging.INFO, "lossdoctor"):
        announcer.on_verdict(monitor, verdict((EXPLOSION,)))
        announcer.on_verdict(monitor, verdict())
        announcer.on_event(monitor, event())
        for kind in ("announced", "updated", "withdrawn"):  # the verdict has told them
            announcer.on_event(monitor, event(kind))
    assert [(r.levelno, r.getMessage().split(" (")[0]) for r in caplog.records] == [
        (logging.CRITICAL, "gpt: LD101 loss-nonfinite"),
        (logging.WARNING, "gpt: stalled at step 40: no row for 9 min"),
    ]


def test_a_percent_sign_is_no_format(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lossdoctor"):
        tell(logging.WARNING, "up 31 %s")
    assert caplog.messages == ["up 31 %s"]


@pytest.mark.usefixtures("_unconfigured")
def test_without_any_logging_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    announcer = Announcer("")
    announcer.on_verdict(standing(), verdict((OVERFITTING,), withdrawn=(EXPLOSION,)))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[1] == "lossdoctor: LD101 loss-nonfinite (loss) is gone at step 950"
    assert len(told.err.splitlines()) == 2


@pytest.mark.usefixtures("_unconfigured")
def test_a_level_set_by_the_user_holds_without_handlers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("lossdoctor"), "level", logging.CRITICAL)
    tell(logging.WARNING, "hidden")
    tell(logging.CRITICAL, "shown")
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    tell(logging.CRITICAL, "disabled")
    assert capsys.readouterr().err == "lossdoctor: shown\n"


@pytest.mark.usefixtures("_unconfigured")
def test_a_closed_standard_error_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    tell(logging.CRITICAL, "to nobody")
    monkeypatch.setattr(sys, "stderr", None)
    tell(logging.CRITICAL, "to nobody")


def test_in_a_plain_program_each_line_comes_once_and_basic_config_rules() -> None:
    program = """
import logging, sys
from lossdoctor.live.telling.announcer import tell
tell(logging.INFO, "first")
logging.basicConfig(level=logging.WARNING, format="%(levelname)s|%(name)s|%(message)s", stream=sys.stderr)
tell(logging.INFO, "hidden by the user's level")
tell(logging.WARNING, "second")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["lossdoctor: first", "WARNING|lossdoctor|second"]


@pytest.mark.usefixtures("_unconfigured")
def test_a_line_goes_above_a_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    tqdm = pytest.importorskip("tqdm")
    with tqdm.tqdm(total=10, file=sys.stderr) as bar:
        bar.update(3)
        tell(logging.WARNING, "told")
    lines = capsys.readouterr().err.replace("\r", "\n").split("\n")
    assert "lossdoctor: told" in [line.strip() for line in lines]  # on a line of its own, no bar before it
