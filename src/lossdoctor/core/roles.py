"""Which of a log's curves plays which role. Automatic, overridable, and always shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lossdoctor.core.curve import Points
from lossdoctor.core.errors import UsageError
from lossdoctor.core.names import Name, parse, tokens
from lossdoctor.core.terms import SUMS, Comparison, find_terms

ROLES = (
    *("train_loss", "val_loss", "learning_rate", "grad_norm", "param_norm", "train_accuracy", "val_accuracy"),
    *("epoch", "loss_scale", "batch_size", "layer_grad_norm", "layer_param_norm"),
)
LOSSES = ("train_loss", "val_loss")
_SHOWN = 6
_XGBOOST = re.compile(r"validation_(\d+)[-/_]")
_FEW = 8


@dataclass(frozen=True, slots=True)
class RoleMap:
    """The mapping of one run.

    Attributes:
        names: role -> the log's names that play it; the first is the primary one. Several names of a loss are its
            terms, logged without their total: what is judged and drawn is their sum.
        auxiliary: other losses, which raise only LD101 and LD102.
        adversarial: maximised or adversarial metrics, and losses that say nothing of progress (those of reinforcement
            learning, spaCy's sums), which raise only LD101.
        comparable: whether train and validation loss measure the same quantity (paired by their stripped names),
            so that their levels may be compared.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    auxiliary: tuple[str, ...] = ()
    adversarial: tuple[str, ...] = ()
    comparable: bool = False

    def primary(self, role: str) -> str | None:
        """The name of the role's first curve, or None."""
        found = self.names.get(role, ())
        return found[0] if found else None

    def terms(self, role: str) -> tuple[str, ...]:
        """The names whose sum plays a role; empty where one curve alone does."""
        found = self.names.get(role, ()) if role in LOSSES else ()
        return found if len(found) > 1 else ()

    def label(self, role: str) -> str | None:
        """The role's name in messages: the primary one, or ``"a + b"`` for a sum; None when nothing plays it.

        >>> RoleMap({"train_loss": ("box_loss", "cls_loss"), "learning_rate": ("lr", "lr2")}).label("train_loss")
        'box_loss + cls_loss'
        """
        terms = self.terms(role)
        if not terms:
            return self.primary(role)
        more = f" + {len(terms) - _SHOWN} more" if len(terms) > _SHOWN else ""
        return " + ".join(terms[:_SHOWN]) + more

    def judged(self) -> RoleMap:
        """The mapping for rules: a sum stands in the place of its terms, which count as auxiliary.

        >>> RoleMap({"train_loss": ("box_loss", "cls_loss")}).judged().auxiliary
        ('box_loss', 'cls_loss')
        """
        sums = {role: (label,) for role in LOSSES if self.terms(role) and (label := self.label(role))}
        if not sums:
            return self
        terms = [n for role in sums for n in self.names[role]]
        return replace(self, names={**self.names, **sums}, auxiliary=(*terms, *self.auxiliary))


def map_roles(
    curves: Mapping[str, Points],
    overrides: Mapping[str, str] | None = None,
    comparison: Comparison | None = None,
) -> RoleMap:
    """Map a log's curves to roles.

    Args:
        curves: name -> curve.
        overrides: role -> name, taken as given.
        comparison: how the curves compare, where somebody knows already.

    Raises:
        UsageError: an override names no role or no curve, or puts two roles on one curve.
    """
    overrides = dict(overrides or {})
    check_overrides(curves, overrides)
    taken = set(overrides.values())
    named = _without_train_in_disguise({n: parse(n) for n in curves if n not in taken and _has_points(curves[n])})
    if _learns_from_rewards(named) or _sums_by_turns(named):
        named = {n: replace(p, kind="adversarial") if p.kind == "loss" else p for n, p in named.items()}
    train, train_aux = _train_losses(curves, named)
    if "train_loss" in overrides:
        train_aux = [n for n in [*train, *train_aux] if n not in taken]
        train = [overrides["train_loss"]]
    val, val_aux = _val_losses(curves, named, train)
    if "val_loss" in overrides:
        val_aux = [n for n in [*val, *val_aux] if n not in taken]
        val = [overrides["val_loss"]]
    summed = None if overrides.keys() & set(LOSSES) else find_terms(curves, named, train, comparison)
    if summed is not None:
        train_aux, val_aux = ([n for n in part if n not in {*summed[0], *summed[1]}] for part in (train_aux, val_aux))
        val_aux = [n for n in [*val, *val_aux] if n not in summed[1]]
        train, val = summed
    names: dict[str, tuple[str, ...]] = {}
    if train:
        names["train_loss"] = tuple(train)
    if val:
        names["val_loss"] = tuple(val)
    _other_roles(curves, named, names)
    for role, name in overrides.items():
        names[role] = (name,)
    comparable = bool(train and val) and _same_quantity(parse(train[0]), parse(val[0]))
    return RoleMap(
        names={r: names[r] for r in ROLES if r in names},
        auxiliary=tuple(n for n in [*train_aux, *val_aux] if n not in taken),
        adversarial=tuple(n for n, p in named.items() if p.kind in ("adversarial", "score", "accuracy")),
        comparable=comparable or ("train_loss" in overrides and "val_loss" in overrides),
    )


_REWARDS = frozenset({"rew", "reward", "returns", "return"})
_OF_EPISODES = frozenset({"ep", "eps", "episode", "episodic", "rollout", "total", "cumulative", "env", "discounted"})


def _learns_from_rewards(named: Mapping[str, Name]) -> bool:
    """Whether the log is of reinforcement learning, whose losses say nothing of progress.

    A metric that is a reward and nothing else says so ("ep_rew_mean", "reward"); "rewards/chosen" of a preference
    fine-tuning and "reward_f1" of a model that predicts rewards do not.
    """
    return any(set(p.bare) & _REWARDS and set(p.bare) <= _REWARDS | _OF_EPISODES for p in named.values())


# spaCy's console, which prints its scores as SCORE, and its logger for W&B.
_SPACY = {"val/SCORE": re.compile(r"LOSS [A-Z0-9_]+$"), "score": re.compile(r"loss_(?:tok2vec|transformer)$")}


def _sums_by_turns(named: Mapping[str, Name]) -> bool:
    """Whether the losses are spaCy's: sums over the batches since the line before, of which the first covers one.

    The batches grow by a schedule, so that such a sum may rise while the loss of an example falls; and what stands
    under the embedding layer (TOK2VEC) is no loss but the square of its gradients. So only NaN says something there.
    """
    return any(score in named and any(map(loss.match, named)) for score, loss in _SPACY.items())


def check_overrides(curves: Mapping[str, Points], overrides: Mapping[str, str]) -> None:
    """Raise UsageError when an override names no role, no curve, or a curve twice."""
    seen: dict[str, str] = {}
    for role, name in overrides.items():
        if role not in ROLES:
            raise UsageError(f"unknown role {role!r} in --metric; roles are {', '.join(ROLES)}")
        if name not in curves:
            have = ", ".join(sorted(curves)[:12]) or "none"
            raise UsageError(f"--metric {role}={name}: this log has no metric {name!r}; it has {have}")
        if name in seen:
            raise UsageError(f"--metric puts both {seen[name]} and {role} on {name!r}; a metric can play one role")
        seen[name] = role


def _has_points(curve: Points) -> bool:
    return len(curve) > 0


def _without_train_in_disguise(named: dict[str, Name]) -> dict[str, Name]:
    """XGBoost's scikit-learn interface names the first evaluation set ``validation_0``: by habit, the training data.

    So it is where a ``validation_1`` is there too and no name says train. (LightGBM's ``valid_0`` is none of this: it
    calls the training data "training" by itself.)
    """
    places = {n: m.group(1) for n in named if (m := _XGBOOST.match(n))}
    if not {"0", "1"} <= set(places.values()) or any(p.split == "train" for p in named.values()):
        return named
    return {n: replace(p, split="train") if places.get(n) == "0" else p for n, p in named.items()}


def _train_losses(curves: Mapping[str, Points], named: Mapping[str, Name]) -> tuple[list[str], list[str]]:
    """The primary training loss and the auxiliary ones. A total goes before its terms, many points before few.

    A loss on the step axis of the validation goes before one that is not: per-step losses are sometimes logged for the
    first hundred steps only, and Keras counts ``batch_loss`` in steps beside ``epoch_loss`` and validation in epochs.
    """
    found = [n for n, p in named.items() if p.kind == "loss" and p.split in ("", "train")]
    if not found:
        return [], []
    most = max(len(curves[n]) for n in found)
    vals = [n for n, p in named.items() if p.kind == "loss" and p.split in ("val", "test")]
    val_bares = {named[n].bare for n in vals}
    best = min(p.rank for n, p in named.items() if n in found or n in vals)  # an error rate is no stand-in for a loss
    lasts = [curves[n].highest for n in vals if len(curves[n]) >= _FEW and named[n].rank == best]
    last = max(lasts, default=0)

    def off_axis(name: str) -> bool:
        end = curves[name].highest
        return last > 0 and not (last <= 10 * end and end <= 10 * last)

    others = any(len(curves[n]) >= _FEW and named[n].rank == best and not off_axis(n) for n in found)

    def key(name: str) -> tuple[float, ...]:
        p = named[name]
        scarce = len(curves[name]) * 20 < most or (len(curves[name]) == 1 and most > 1)
        plain = p.bare == ("loss",)
        total = bool(set(p.bare) & SUMS)
        astray = others and off_axis(name)
        again = "vs" in p.bare  # "lm loss vs samples": the same curve over another axis
        lags = "current" not in tokens(name)  # Paddle's AvgCost beside its CurrentCost
        return (astray, scarce, p.rank, again, not (plain or total), p.bare not in val_bares, -len(curves[name]), lags)

    order = sorted(found, key=key)
    return order[:1], order[1:]


def _val_losses(
    curves: Mapping[str, Points], named: Mapping[str, Name], train: list[str]
) -> tuple[list[str], list[str]]:
    found = [n for n, p in named.items() if p.kind == "loss" and p.split in ("val", "test")]
    if not found:
        return [], []
    target = parse(train[0]) if train else None
    most = max(len(curves[n]) for n in found)

    def key(name: str) -> tuple[float, ...]:
        p = named[name]
        same = target is not None and _same_quantity(target, p)
        scarce = len(curves[name]) * 20 < most
        plain = p.bare == ("loss",) or bool(set(p.bare) & SUMS)
        again = "vs" in p.bare
        return (scarce, p.split == "test", again, not same, p.rank, not plain, -len(curves[name]), len(p.bare))

    order = sorted(found, key=key)
    return order[:1], order[1:]


def _same_quantity(a: Name, b: Name) -> bool:
    return tuple(sorted(set(a.bare) - SUMS)) == tuple(sorted(set(b.bare) - SUMS))


def _other_roles(curves: Mapping[str, Points], named: Mapping[str, Name], names: dict[str, tuple[str, ...]]) -> None:
    for role in ("learning_rate", "grad_norm", "param_norm", "epoch", "loss_scale", "batch_size"):
        found = [n for n, p in named.items() if p.kind == role]
        if found:
            found.sort(key=lambda n: (named[n].split in ("val", "test"), "clip" in n.lower(), len(n), -len(curves[n])))
            names[role] = tuple(found)
    for role in ("layer_grad_norm", "layer_param_norm"):
        found = [n for n, p in named.items() if p.kind == role]
        if found:
            names[role] = tuple(found)
    for role, splits in (("train_accuracy", ("", "train")), ("val_accuracy", ("val", "test"))):
        found = [n for n, p in named.items() if p.kind == "accuracy" and p.split in splits]
        if found:
            found.sort(key=lambda n: (named[n].split == "test", len(named[n].bare), -len(curves[n])))
            names[role] = tuple(found)
