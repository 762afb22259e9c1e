"""What gradient norm, learning rate, context and measurements add to the findings of stability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lossdoctor.core.context import RunContext
from lossdoctor.core.finding import Finding, Measurement
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.options import Settings
from lossdoctor.rules.stability.evidence import jump_at, surge
from lossdoctor.signal.reading import Reading
from lossdoctor.signal.summary import summarize
from tests.rules import cases, shapes
from tests.rules.cases import ld109

N = 400
T = np.linspace(0, 1, N)
STEPS = np.arange(N)


def _only(history: TrainingHistory, code: str, measurements: Sequence[Measurement] = ()) -> list[Finding]:
    found = history.diagnose(settings=Settings(select=(code,)), measurements=measurements).findings
    return [f for f in found if f.code == code]


def _falling(seed: int = 0) -> np.ndarray:
    return (1 + 2 * np.exp(-10 * T)) * np.exp(np.random.default_rng(seed).normal(0, 0.03, N))


def _norms(level: float, growth: float = 1.0) -> np.ndarray:
    return level * growth**T * np.exp(np.random.default_rng(9).normal(0, 0.3, N))


def _with_norms(norms: np.ndarray, **context: object) -> TrainingHistory:
    return TrainingHistory(
        {"loss": (STEPS, _falling()), "grad_norm": (STEPS, norms)},
        context=RunContext(**context),  # type: ignore[arg-type]
    )


def test_a_norm_above_the_limit_of_clipping_is_information() -> None:
    found = _only(_with_norms(_norms(3.0), clip_norm=1.0, optimizer="adamw"), "LD108")
    assert [f.severity for f in found] == ["info"]
    assert found[0].evidence["share"] > 0.9


@pytest.mark.parametrize(
    ("norms", "optimizer"), [(_norms(2.0, growth=30.0), "adamw"), (_norms(20.0), "sgd")], ids=["grows", "sgd"]
)
def test_a_norm_far_above_the_limit_warns_where_it_costs(norms: np.ndarray, optimizer: str) -> None:
    assert _only(_with_norms(norms, clip_norm=1.0, optimizer=optimizer), "LD108")[0].severity == "warning"


def test_a_norm_below_the_limit_is_no_finding() -> None:
    assert not _only(_with_norms(_norms(0.5), clip_norm=1.0), "LD108")


def test_a_resume_that_only_the_log_notes() -> None:
    assert _only(ld109.resumed(0.6, event=True), "LD109")[0].onset_step == 501
    assert not _only(ld109.resumed(0.0, event=True), "LD109")


def test_a_rate_that_jumps_at_the_resume_speaks_for_the_schedule() -> None:
    bare = ld109.resumed(0.6)
    steps = bare["loss"].steps
    rate = np.where(np.arange(len(steps)) < 560, 1e-4, 1e-3)
    rated = TrainingHistory({"loss": bare["loss"], "lr": (steps, rate)})
    assert _likelihood(rated, "LD109", "schedule-restart") > 2 * _likelihood(bare, "LD109", "schedule-restart")


def test_the_ratio_of_an_active_test_is_judged() -> None:
    flat = TrainingHistory({"loss": (STEPS, 2.3 + np.random.default_rng(0).normal(0, 0.01, N))})
    assert _only(flat, "LD106", measurements=[Measurement("layer_grad_ratio", 1e-7)])
    assert not _only(flat, "LD106", measurements=[Measurement("layer_grad_ratio", 0.3)])
    assert _only(flat, "LD105", measurements=[Measurement("layer_grad_ratio", 4000.0)])[0].severity == "warning"
    learns = TrainingHistory({"loss": (STEPS, _falling())})
    assert not _only(learns, "LD106", measurements=[Measurement("layer_grad_ratio", 1e-7)])


def test_an_explosion_that_comes_first_names_the_divergence() -> None:
    history = cases.load("LD105").SICK["blows up"]()
    result = history.diagnose()
    assert result.findings[0].code == "LD105"
    assert result.findings[0].severity == "critical"
    assert "LD102" in result.findings[0].explains
    assert "LD102" not in {f.code for f in result.findings}


def test_an_explosion_that_follows_is_told_by_the_divergence() -> None:
    loss = _falling() * np.exp(6 * np.clip(T - 0.4, 0, None))
    norm = _norms(1.0)
    norm[360:] *= 40
    codes = [f.code for f in TrainingHistory({"loss": (STEPS, loss), "grad_norm": (STEPS, norm)}).diagnose().findings]
    assert codes[0] == "LD102"
    assert "LD105" not in codes


def _likelihood(history: TrainingHistory, code: str, cause: str) -> float:
    return next(c.likelihood for c in _only(history, code)[0].causes if c.name == cause)


def test_causes_of_a_divergence_follow_the_evidence() -> None:
    loss = _falling() * np.exp(4 * np.clip(T - 0.5, 0, None))
    exploding = _norms(1.0)
    exploding[205:] *= 40
    bare = TrainingHistory({"loss": (STEPS, loss)})
    calm = TrainingHistory({"loss": (STEPS, loss), "grad_norm": (STEPS, _norms(1.0))})
    wild = TrainingHistory({"loss": (STEPS, loss), "grad_norm": (STEPS, exploding)})
    usual = _likelihood(bare, "LD102", "gradients-explode")
    assert _likelihood(calm, "LD102", "gradients-explode") < usual < _likelihood(wild, "LD102", "gradients-explode")


def test_a_rate_that_had_decayed_is_less_likely_too_high() -> None:
    loss = _falling() * np.exp(4 * np.clip(T - 0.7, 0, None))
    usual = _likelihood(TrainingHistory({"loss": (STEPS, loss)}), "LD102", "learning-rate-too-high")
    decayed = TrainingHistory({"loss": (STEPS, loss), "lr": (STEPS, np.where(T > 0.6, 1e-5, 1e-3))})
    assert _likelihood(decayed, "LD102", "learning-rate-too-high") < usual


def test_a_scale_halved_again_and_again_speaks_for_overflow() -> None:
    loss = _falling()
    loss[300:] = np.nan
    bare = TrainingHistory({"loss": (STEPS, loss)})
    scale = np.where(T < 0.7, 65536.0, 65536.0 / 2.0 ** np.clip((STEPS - 280) // 2, 0, 16))
    scaled = TrainingHistory({"loss": (STEPS, loss), "loss_scale": (STEPS, scale)})
    assert _likelihood(scaled, "LD101", "precision-overflow") > _likelihood(bare, "LD101", "precision-overflow")


def test_swings_of_validation_alone_speak_for_its_size() -> None:
    val = 1.2 + 0.6 * np.sin(np.arange(80) * 0.7) + 0.3 * np.exp(-np.arange(80) / 5)
    at = STEPS[::5]
    history = TrainingHistory({"loss": (STEPS, _falling()), "val_loss": (at, val)})
    assert _likelihood(history, "LD104", "validation-too-small") > 0.2


def _surge(values: np.ndarray) -> object:
    return surge(Reading(summarize(np.arange(len(values)), values)))


def test_a_surge_needs_to_exceed_all_that_was_before() -> None:
    calm = np.full(60, 0.01)
    calm[:5] = 1.0
    calm[40:] = 0.5
    assert _surge(calm) is None
    calm[40:] = 5.0
    assert _surge(calm) is not None


@pytest.mark.parametrize("values", [[1.0] * 30, list(np.linspace(5, 1, 30)), list(5 * np.exp(-np.arange(30) / 5))])
def test_no_jump_on_a_smooth_curve(values: list[float]) -> None:
    jump = jump_at(np.array(values), 15)
    assert jump is not None
    assert jump.size <= 0 or jump.z < 6


def test_families_without_gradients_are_untouched() -> None:
    for family in shapes.HEALTHY:
        found = shapes.history(family(np.random.default_rng(21))).diagnose().findings
        assert not {f.code for f in found} & {"LD105", "LD106", "LD108", "LD109", "LD110"}
