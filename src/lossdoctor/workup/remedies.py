"""A fixed table: every action of the catalogue as changes of a configuration, in the keys that people use for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.core.finding import Action
from lossdoctor.core.vocabulary import ACTIONS

Config = Mapping[str, Any]

# What a key means -> the names that it goes by. The first one that a configuration has, or accepts, is changed.
NAMES: dict[str, tuple[str, ...]] = {
    "lr": ("lr", "learning_rate", "base_lr", "peak_lr", "max_lr"),
    "schedule": ("schedule", "lr_schedule", "lr_scheduler", "lr_scheduler_type", "scheduler"),
    "warmup": ("warmup", "warmup_steps", "warmup_ratio", "warmup_share", "warmup_fraction"),
    "optimizer": ("optimizer", "optim"),
    "momentum": ("momentum", "beta1"),
    "clip": ("clip_norm", "clip", "max_grad_norm", "grad_clip", "gradient_clip_val"),
    "precision": ("precision", "dtype", "amp_dtype", "fp16", "amp"),
    "normalize": ("normalize_inputs", "normalize", "standardize", "standardize_inputs", "scale_inputs"),
    "clean": ("clean_data", "drop_outliers", "drop_bad"),
    "shuffle": ("shuffle", "shuffle_data"),
    "augment": ("augment", "augmentation"),
    "share": ("train_share", "data_fraction", "train_fraction", "subset"),
    "batch": ("batch_size", "per_device_train_batch_size", "train_batch_size"),
    "decay": ("weight_decay", "wd", "l2"),
    "dropout": ("dropout", "dropout_rate", "p_dropout"),
    "width": ("width", "hidden_size", "hidden_dim", "hidden", "n_hidden", "channels", "d_model"),
    "init": ("init", "initialization", "weight_init"),
    "loss": ("loss", "loss_fn", "criterion"),
}  # fmt: skip
DECAYING = ("cos", "linear", "step", "exp", "poly", "decay", "inverse")  # parts of a decaying schedule's name
UNTRAINED = {
    "check_data": "it tells where to look; there is nothing to train",
    "check_training_loop": "it tells where to look; there is nothing to train",
    "check_validation": "it tells where to look; there is nothing to train",
    "stop_early": "it keeps an earlier checkpoint of the same run; there is nothing to train",
    "restore_checkpoint": "it goes on from a checkpoint of yours; runs here begin afresh",
    "train_longer": "all runs here have the same length",
    "none": "it is no change",
}


@dataclass(frozen=True)
class Change:
    """One way to take an action: new values of some keys.

    Attributes:
        name: for people: ``"lr 0.1 to 0.01"``.
        action: of the vocabulary; empty for a remedy of the user's own.
        values: key -> its new value.
    """

    name: str
    action: str
    values: Config = field(default_factory=dict)

    def of(self, config: Config) -> dict[str, Any]:
        """The configuration with the change."""
        return {**config, **self.values}

    def joins(self, other: Change) -> bool:
        """Whether both can be made at once: they change different things."""
        return not set(self.values) & set(other.values)

    def and_(self, other: Change) -> Change:
        """Both at once."""
        both = " + ".join(dict.fromkeys((self.action, other.action)))
        return Change(f"{self.name}; {other.name}", both, {**self.values, **other.values})


class Keys:
    """A configuration seen by what its keys mean.

    Args:
        config: the user's.
        accepts: keys that the training also reads, though the configuration leaves them out.
        steps: length of the runs, of which a warmup takes a share.
    """

    def __init__(self, config: Config, accepts: Collection[str] = (), steps: int = 1000) -> None:
        self.config, self.accepts, self.steps = config, frozenset(accepts), steps

    def name(self, what: str) -> str | None:
        """The configuration's own name of it, or None."""
        for names in (self.config, self.accepts):
            if (found := next((n for n in NAMES[what] if n in names), None)) is not None:
                return found
        return None

    def number(self, what: str) -> float | None:
        """Its value, where that is a number."""
        value = self.config.get(self.name(what) or "")
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def text(self, what: str) -> str:
        """Its value as text, in lower case; empty where there is none."""
        value = self.config.get(self.name(what) or "")
        return "" if value is None else str(value).lower()

    def set(self, what: str, value: Any) -> list[Config]:
        """The one change that gives it this value; none where it has that already, or there is no such key."""
        name = self.name(what)
        return [] if name is None or self.config.get(name) == value else [{name: value}]

    def scaled(self, what: str, *factors: float) -> list[Config]:
        """Its value times each factor; whole numbers stay whole and at least 1."""
        name, old = self.name(what), self.number(what)
        if name is None or not old:
            return []
        whole = isinstance(self.config[name], int)
        values = [max(1, round(old * f)) if whole else float(f"{old * f:.6g}") for f in factors]
        return [{name: v} for v in dict.fromkeys(values) if v != self.config[name]]


def changes(action: Action, keys: Keys) -> list[Change]:
    """All ways in which a configuration can take an action; none where no key of it can express that.

    >>> keys = Keys({"lr": 0.1, "clip_norm": None})
    >>> [c.name for c in changes(Action("reduce_learning_rate"), keys)]
    ['lr 0.1 to 0.0333', 'lr 0.1 to 0.01']
    >>> [dict(c.values) for c in changes(Action("clip_gradients", "at a norm of 2.5, say"), keys)]
    [{'clip_norm': 2.5}, {'clip_norm': 1.0}]
    """
    make = _TABLE.get(action.action)
    made = [] if make is None else make(keys, action)
    return [Change(_told(values, keys.config), action.action, values) for values in made]


def why_not(action: str) -> str:
    """Why an action gave no change."""
    if action in UNTRAINED:
        return UNTRAINED[action]
    wanted = [NAMES[what][0] for what in _NEEDS[action]]
    return (
        f"no key of the configuration can express it (such as {' or '.join(repr(w) for w in wanted)}), or it is so"
        " already; name keys that train_fn also reads in accepts=, or give the change itself in remedies="
    )


def actions_of(advice: Any) -> list[Action]:
    """The actions of a diagnosis, a work-up, findings, or a list of actions or their names; each once, in order.

    Raises:
        UsageError: something without actions, or an action that there is not.
    """
    found: dict[str, Action] = {}
    for action in _walk(advice):
        if action.action not in ACTIONS:
            raise UsageError(f"there is no action {action.action!r}{nearest(action.action, ACTIONS)}")
        if action.action != "none":
            found.setdefault(action.action, action)
    return list(found.values())


def _walk(advice: Any) -> Iterable[Action]:
    if isinstance(advice, Action):
        yield advice
    elif isinstance(advice, str):
        yield Action(advice)
    elif hasattr(advice, "actions"):  # a finding, a work-up
        yield from advice.actions
    elif hasattr(advice, "findings"):
        yield from _walk(advice.findings)
    elif isinstance(advice, Iterable):
        for part in advice:
            yield from _walk(part)
    else:
        raise UsageError(
            f"findings is a {type(advice).__name__}; expected a diagnosis, a work-up, findings, or names of actions"
        )


def _told(values: Config, config: Config) -> str:
    return ", ".join(f"{k} {_shown(config.get(k))} to {_shown(v)}" for k, v in values.items())


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _both(*parts: list[Config]) -> list[Config]:
    """All the changes as one."""
    merged = {k: v for part in parts for one in part for k, v in one.items()}
    return [merged] if merged else []


def _schedule(keys: Keys, *, decaying: bool) -> list[Config]:
    if any(word in keys.text("schedule") for word in DECAYING) == decaying:
        return []
    return keys.set("schedule", "cosine" if decaying else "constant")


def _other_schedule(keys: Keys) -> list[Config]:
    return _schedule(keys, decaying=True) or _schedule(keys, decaying=False)


def _warmup(keys: Keys) -> list[Config]:
    """A tenth and a fifth of the run: as a share, or in steps where the key says so."""
    name = keys.name("warmup")
    old = keys.config.get(name or "")
    in_steps = name == "warmup_steps" or (name == "warmup" and isinstance(old, int))
    if not in_steps:
        return [c for share in (0.1, 0.2) if share > (old or 0.0) for c in keys.set("warmup", share)]
    lengths = (max(1, int(share * keys.steps)) for share in (0.1, 0.2))
    return [c for n in lengths if n > (old or 0) for c in keys.set("warmup", n)]


def _optimizer(keys: Keys) -> list[Config]:
    """From SGD to Adam and back, at the rates that people start with."""
    name = keys.text("optimizer")
    if not name:
        return []
    if "adam" in name:
        return _both(keys.set("optimizer", "sgd"), keys.set("lr", 0.01), keys.set("momentum", 0.9))
    return _both(keys.set("optimizer", "adamw"), keys.set("lr", 1e-3))


def _clip(keys: Keys, action: Action) -> list[Config]:
    old = keys.number("clip")
    said = re.search(r"norm of ([\d.]+(?:e[+-]?\d+)?)", action.detail)
    limits = [float(said[1].rstrip("."))] if said else []
    limits.append(old / 10 if old else 1.0)
    return [c for limit in dict.fromkeys(limits) if not old or limit < old for c in keys.set("clip", limit)]


def _precision(keys: Keys) -> list[Config]:
    name, text = keys.name("precision"), keys.text("precision")
    if name is None:
        return []
    if keys.config.get(name) is True:
        return keys.set("precision", False)
    return [*keys.set("precision", "bf16"), *keys.set("precision", "fp32")] if "16" in text and "b" not in text else []


def _regularized(keys: Keys) -> list[Config]:
    decay = keys.scaled("decay", 10.0) or keys.set("decay", 1e-2)
    dropout = keys.set("dropout", 0.3) if (keys.number("dropout") or 0.0) < 0.3 else []
    return [*decay, *dropout]


def _unregularized(keys: Keys) -> list[Config]:
    return _both(*(keys.set(what, 0.0) for what in ("decay", "dropout") if keys.number(what)))


def _robust(keys: Keys) -> list[Config]:
    squared = any(word in keys.text("loss") for word in ("mse", "l2", "squared"))
    return keys.set("loss", "huber") if squared else []


def _more_data(keys: Keys) -> list[Config]:
    share = keys.number("share")
    return [*(keys.set("share", 1.0) if share is not None and share < 1.0 else []), *keys.set("augment", True)]


_Make = Callable[[Keys, Action], list[Config]]
_TABLE: dict[str, _Make] = {
    "reduce_learning_rate": lambda k, _: k.scaled("lr", 1 / 3, 1 / 10),
    "increase_learning_rate": lambda k, _: k.scaled("lr", 3.0, 10.0),
    "decay_learning_rate": lambda k, _: _schedule(k, decaying=True),
    "change_schedule": lambda k, _: _other_schedule(k),
    "add_warmup": lambda k, _: _warmup(k),
    "change_optimizer": lambda k, _: _optimizer(k),
    "adjust_momentum": lambda k, _: k.set("momentum", 0.5) if (k.number("momentum") or 0.0) > 0.5 else [],
    "clip_gradients": _clip,
    "change_precision": lambda k, _: _precision(k),
    "normalize_inputs": lambda k, _: k.set("normalize", True),
    "clean_data": lambda k, _: k.set("clean", True),
    "shuffle_data": lambda k, _: k.set("shuffle", True),
    "get_more_data": lambda k, _: _more_data(k),
    "increase_batch_size": lambda k, _: k.scaled("batch", 4.0),
    "add_regularization": lambda k, _: _regularized(k),
    "reduce_regularization": lambda k, _: _unregularized(k),
    "increase_capacity": lambda k, _: k.scaled("width", 2.0, 4.0),
    "reduce_capacity": lambda k, _: k.scaled("width", 1 / 2, 1 / 4),
    "fix_initialization": lambda k, _: k.set("init", "kaiming"),
    "change_loss": lambda k, _: _robust(k),
}
# What each action changes, for messages.
_NEEDS: dict[str, tuple[str, ...]] = {
    "reduce_learning_rate": ("lr",),
    "increase_learning_rate": ("lr",),
    "decay_learning_rate": ("schedule",),
    "change_schedule": ("schedule",),
    "add_warmup": ("warmup",),
    "change_optimizer": ("optimizer",),
    "adjust_momentum": ("momentum",),
    "clip_gradients": ("clip",),
    "change_precision": ("precision",),
    "normalize_inputs": ("normalize",),
    "clean_data": ("clean",),
    "shuffle_data": ("shuffle",),
    "get_more_data": ("share", "augment"),
    "increase_batch_size": ("batch",),
    "add_regularization": ("decay", "dropout"),
    "reduce_regularization": ("decay", "dropout"),
    "increase_capacity": ("width",),
    "reduce_capacity": ("width",),
    "fix_initialization": ("init",),
    "change_loss": ("loss",),
}
if set(_TABLE) | set(UNTRAINED) != set(ACTIONS) or set(_NEEDS) != set(_TABLE):
    raise AssertionError("every action of the catalogue has its line in the tables")
