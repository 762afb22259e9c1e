"""The vocabulary of training logs: what names a counter, a split, a clock, a unit."""

from __future__ import annotations

import re
from functools import lru_cache

from lossdoctor.core.names import TEST, TRAIN, VALIDATION, parse, tokens

_STEP = {
    **dict.fromkeys(("step", "steps", "globalstep", "gstep"), 0),
    **dict.fromkeys(("iter", "iters", "iteration", "iterations", "itr", "it"), 1),
    **dict.fromkeys(("update", "updates", "timesteps", "minibatch", "minibatches"), 2),
    **dict.fromkeys(("batch", "mb", "batches"), 3),
    **dict.fromkeys(("round", "episode", "generation", "gen", "tick"), 4),
}
_SINGLE = frozenset({"i", "t", "n", "k", "s"})
_EPOCH = frozenset({"epoch", "ep", "epochs"})
_COUNTER_PREFIX = frozenset(
    {"global", "current", "cur", "train", "training", "total", "num", "optim", "optimizer", "gradient", "lr"}
    | {"val", "valid", "validation", "eval", "test", "no", "nb", "number", "of", "the", "learning", "at", "for", "in"}
    | {"starting", "start", "end", "after", "finished", "completed", "running", "begin", "and"}
)
_RANK = frozenset({"rank", "gpu", "worker", "process", "proc", "device", "node", "replica", "host", "pid"})
SPLIT_WORDS = TRAIN | VALIDATION | TEST
# A number under one of these says how long or how much memory, not how well.
_CLOCK = frozenset(
    {"time", "eta", "elapsed", "duration", "dur", "sec", "secs", "seconds", "second", "remaining", "runtime", "wall"}
    | {"memory", "mem", "vram", "ram", "date", "port", "seed", "ips", "speed", "latency", "throughput", "ms", "pid"}
    | {"cuda", "data", "img/s", "v_num"}
    | {"overhead", "maxmem", "gflops", "tflops", "flops"}
)
_UNITS = (
    r"ms|s|sec|secs|seconds?|mins?|minutes?|h|[Hh]rs?|hours?|us|µs|ns|it/s|s/it|[KMGT]i?B|[kKMGT]|B|MB|GB"
    r"|\w+/s(?:ec)?|s/\w+|ms/\w+|\w+/sec\w*"
)
UNIT = re.compile(rf"(?:%|(?:{_UNITS})(?!\w))")
SPACED_UNIT = re.compile(
    r"\s(?:%|(?:ms|s|secs?|seconds|mins?|minutes|hours|[KMGT]i?B|it/s|s/it\w*|\w+/s(?:ec)?|\w+/second|sec/\w+)(?![\w/:=(]))"
)
# These name a record of the past, a goal or a message, not the value at this step.
_NOT_NOW = frozenset(
    {"best", "final", "previous", "prev", "last", "lowest", "highest", "minimum", "maximum", "initial", "target"}
    | {"improved", "decreased", "increased", "from", "threshold", "expected", "goal", "baseline", "than", "between"}
    | {"early", "stopping", "patience", "warning", "line", "file", "version", "weight", "weights"}
)
_FILLER = frozenset(
    {"the", "a", "an", "is", "was", "of", "at", "for", "in", "on", "with", "and", "to", "by", "equals", "now", "has"}
    | {"reached", "got", "this", "that", "its", "are", "were", "be", "as", "have", "after", "over", "per", "-", "–"}
)
# Loss words that prose and configuration use as well: they need a counter on the same line.
_WEAK = frozenset(
    {"error", "err", "energy", "gamma", "quantile", "score", "return", "map", "ap", "precision", "recall", "poisson"}
    | {"ce", "kl", "l1", "l2", "objective", "policy", "actor", "critic", "entropy", "gan", "criterion", "top1", "top5"}
    | {"reward", "kappa", "disc", "adv", "generator", "discriminator", "huber", "hinge", "tweedie"}
)
_AVERAGE_PRECISION = re.compile(r"^(?:[\w/]*[/_])?m?AP(?:[@_]?[\d.:-]+|_?[a-z]{0,4}[\d.:-]*)?$")
KNOWN_KINDS = frozenset({"loss", "accuracy", "score", "adversarial"})
ROLE_KINDS = frozenset({"learning_rate", "grad_norm", "param_norm", "loss_scale", "batch_size", "layer_grad_norm"})


@lru_cache(maxsize=8192)
def counter(key: str) -> tuple[str, int] | None:
    """``("step", rank)``, ``("epoch", 0)`` or ``("rank", 0)`` when the key counts; a smaller rank is a better step.

    >>> counter("global_step"), counter("Epoch"), counter("lm loss")
    (('step', 0), ('epoch', 0), None)
    """
    words = [w for w in tokens(key) if not w.isdigit()]
    if not words or len(words) > 5:
        return None
    head, last = words[:-1], words[-1]
    if last == "timesteps" and "total" in head:
        return ("step", 2)
    if len(words) == 1 and last in _SINGLE:
        return ("step", 5)
    if words in (["num", "epochs"], ["total", "epochs"], ["total", "steps"], ["num", "steps"]):
        return None
    if not all(w in _COUNTER_PREFIX or (w in ("step", "update", "iter") and last in _STEP) for w in head):
        return None
    if last in _STEP:
        return ("step", _STEP[last])
    if last in _EPOCH:
        return ("epoch", 0)
    if last in _RANK or (last == "rank" and head in (["local"], ["global"])):
        return ("rank", 0)
    return None


@lru_cache(maxsize=8192)
def kind_of(key: str) -> str:
    """The kind of a key (see :func:`lossdoctor.core.names.parse`); ``"clock"`` for durations, ``"not"`` for none."""
    words = set(tokens(key))
    if words & _NOT_NOW:
        return "not"
    if is_maximised_objective(key.removeprefix("-")):
        return "loss"
    if _AVERAGE_PRECISION.match(key):
        return "score"
    if "cost" in words and words & _CLOCK:  # MXNet's "Time cost" is no objective
        return "clock"
    if "cost" in words or "bpd" in words or ("dim" in words and words & {"bit", "bits"}):
        return "loss"
    kind = parse(key).kind
    if key.endswith(("/s", "/sec", "/second")) or key.lower() in _CLOCK:
        return "clock"
    if words & _CLOCK and kind not in KNOWN_KINDS:
        return "clock"
    return kind


def is_cost(key: str) -> bool:
    """Whether the key says "cost", which is a loss or a time, and no "loss"."""
    words = tokens(key)
    return "cost" in words and "loss" not in words


_OBJECTIVE = re.compile(r"(?:average |overall |overall average )?objective function$|obj\(log\[p\w*\]\)$", re.I)


def is_maximised_objective(key: str) -> bool:
    """Whether a toolkit names so an objective that it maximises: Kaldi's, and eesen's log-likelihood of the labels.

    >>> is_maximised_objective("Average objective function"), is_maximised_objective("objective")
    (True, False)
    """
    return _OBJECTIVE.match(key) is not None


@lru_cache(maxsize=8192)
def is_weak(key: str) -> bool:
    """Whether the key names a metric only by a word that prose uses too."""
    words = set(tokens(key))
    return kind_of(key) in KNOWN_KINDS and not any("loss" in w for w in words) and bool(words & _WEAK)


@lru_cache(maxsize=8192)
def pure_split(key: str) -> str:
    """``"train"``, ``"val"`` or ``"test"`` when the key says only which split it is, else ``""``.

    >>> pure_split("valid"), pure_split("val loss")
    ('val', '')
    """
    words = [w for w in tokens(key) if w not in ("set", "avg", "mean", "average") and not w.isdigit()]
    if len(words) != 1 or words[0] not in SPLIT_WORDS:
        return ""
    return split_of(words[0])


def split_of(word: str) -> str:
    """The split that one lower-case word names, or ``""``."""
    if word in TRAIN:
        return "train"
    if word in VALIDATION or word.startswith(("evaluat", "validat")):
        return "val"
    if word in TEST:
        return "test"
    return ""


_HEAD = re.compile(
    r"(?<![\w./-])(train(?:ing)?(?:_inner)?|val(?:id(?:at\w+)?)?|eval(?:uat\w+)?|test(?:ing)?|dev)(?![\w./-])", re.I
)


def split_in(text: str) -> str:
    """The last split named by a free-standing word of ``text``, or ``""``.

    >>> split_in("| valid on 'valid' subset"), split_in("train_data/x")
    ('val', '')
    """
    found = ""
    for match in _HEAD.finditer(text):
        found = split_of(match.group(1).lower().removesuffix("_inner")) or found
    return found


def strip_filler(words: list[str]) -> list[str]:
    """The words without leading and trailing filler."""
    start, end = 0, len(words)
    while start < end and words[start].lower().strip(".") in _FILLER:
        start += 1
    while end > start and words[end - 1].lower() in _FILLER:
        end -= 1
    return words[start:end]


_SETTINGS = {
    **dict.fromkeys(("batch_size", "batchsize", "train_batch_size", "global_batch_size", "bs"), "batch_size"),
    **dict.fromkeys(("num_classes", "n_classes", "nclasses", "classes"), "classes"),
    **dict.fromkeys(
        ("max_steps", "total_steps", "num_steps", "max_iters", "train_iters", "num_iterations"), "planned_steps"
    ),
    **dict.fromkeys(("warmup_steps", "num_warmup_steps", "warmup_iters"), "warmup_steps"),
    **dict.fromkeys(("steps_per_epoch", "iters_per_epoch", "num_batches_per_epoch"), "steps_per_epoch"),
    **dict.fromkeys(("learning_rate", "lr", "max_lr", "base_lr"), "learning_rate"),
    **dict.fromkeys(("weight_decay", "wd"), "weight_decay"),
    **dict.fromkeys(("max_grad_norm", "grad_clip", "clip_grad", "gradient_clip_val", "clip_norm"), "clip_norm"),
}


def setting(key: str) -> str | None:
    """The field of the run's context that a configuration key sets, if it is written exactly so.

    >>> setting("batch-size"), setting("loss")
    ('batch_size', None)
    """
    return _SETTINGS.get(key.lower().replace(" ", "_").replace("-", "_").lstrip("_"))
