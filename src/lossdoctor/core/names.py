"""What a metric's name says: its split, its kind, its bare name. Pure string work, no curves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
_COMPONENTS = re.compile(r"[/.|]")
_GLUED = re.compile(
    r"(train|training|val|valid|validation|eval|test|dev)"
    r"(loss|acc|accuracy|error|err|ppl|perplexity|mse|rmse|mae|auc|f1|iou|nll)"
)
_RATE = re.compile(r"lr\d*")

TRAIN = frozenset({"train", "training", "tr", "trn", "learn", "fit"})
VALIDATION = frozenset(
    {"val", "valid", "validation", "validate", "eval", "evaluation", "dev", "heldout", "holdout", "vl"}
)
TEST = frozenset({"test", "testing", "tst"})
# Words that say how a value was aggregated or where it was logged, not what it is.
_QUALIFIERS = frozenset(
    {"step", "epoch", "avg", "average", "mean", "running", "smoothed", "smooth", "ema", "batch", "iter", "iteration"}
    | {"current", "metrics", "metric", "optim", "losses", "history", "scalars", "dataloader", "idx", "raw", "final"}
)
# Bare names of losses that do not say "loss". Ordered by how much they are a training objective.
_LOSSES = """
    loss objective criterion nll nloglik logloss mlogloss ce bce xent crossentropy multiclass elbo recon reconstruction
    kl kld kullback mse rmse mae l2 l1 huber hinge msle rmsle mape smape mphe deviance poisson gamma tweedie quantile
    cost bpb bpc bpd ppl perplexity energy error merror err wer cer
"""
_LOSS_RANK = {word: i for i, word in enumerate(_LOSSES.split())}
_NOT_LOSS = frozenset(
    {"scale", "scaler", "weight", "weights", "lambda", "coef", "coefficient", "time", "count", "num", "ratio", "lr"}
    | {"std", "var", "grad", "norm", "delta", "change", "improvement", "best", "min", "patience", "bad", "wd"}
    | {"sec", "secs", "second", "seconds", "minutes", "hours", "elapsed", "eta", "duration", "runtime", "latency"}
    | {"reader"}  # Paddle's "reader_cost" is a time
)
# The machine's own figures: "gpu energy" is no objective.
_MACHINE = frozenset({"gpu", "cpu", "system", "memory", "mem", "power", "consumed", "disk", "network", "io", "kwh"})
_MAXIMISED = frozenset(
    {
        "acc",
        "accuracy",
        "accuracies",
        "top1",
        "top5",
        "f1",
        "auc",
        "aucpr",
        "auroc",
        "map",
        "map50",
        "ap",
        "ap50",
        "ap75",
    }
    | {"iou", "miou", "bleu", "rouge", "ssim", "psnr", "r2", "precision", "recall", "reward", "rewards", "return"}
    | {"score", "dice", "kappa", "mcc", "ndcg", "mrr", "prec1", "prec5", "uas", "las"}
)
# spaCy's names of F-score, precision and recall begin with what is found: ents_f, spans_sc_p, sents_r.
_FOUND = frozenset({"ents", "spans", "sents", "cats", "rel"})
_ADVERSARIAL = frozenset(
    {"gan", "adversarial", "adv", "generator", "discriminator", "critic", "actor", "policy", "disc", "entropy"}
)
_GAN_PARTS = frozenset({"a", "b", "x", "y", "real", "fake", "gan", "adv", "l1", "l2", "vgg", "feat", "total"})
_ACCURACY = frozenset({"acc", "accuracy", "top1", "prec1"})
# With these words a value is about the learning rate, and not the rate itself.
_NOT_RATE = frozenset({"momentum", "decay", "wd", "mult", "multiplier", "factor", "scale", "ratio", "loss"})
# Statistics of the optimizer's state, which frameworks log per parameter beside the norms.
_STATE = frozenset({"exp", "momentum", "update", "updates", "moment", "ema"})


@dataclass(frozen=True, slots=True)
class Name:
    """A metric name taken apart.

    Attributes:
        split: ``"train"``, ``"val"``, ``"test"`` or ``""`` when the name does not say.
        bare: the name's words without split and qualifiers; train and validation are paired by it.
        kind: ``"loss"``, ``"accuracy"``, ``"score"`` (maximised), ``"adversarial"``, a role such as
            ``"learning_rate"``, or ``"other"``.
        rank: among losses, 0 for one that says "loss", more for a lesser objective.
    """

    text: str
    split: str
    bare: tuple[str, ...]
    kind: str
    rank: int = 0


# What a watched model logs layer by layer: the layers' own names mean nothing here.
_BY_LAYER: dict[tuple[str, ...], str] = {
    ("grad", "norm"): "layer_grad_norm",
    ("update", "ratio"): "other",
    ("dead", "units"): "other",
}


@lru_cache(maxsize=4096)
def parse(text: str) -> Name:
    """Take a metric's name apart.

    >>> parse("validation/ctc_loss")
    Name(text='validation/ctc_loss', split='val', bare=('ctc', 'loss'), kind='loss', rank=0)
    >>> parse("train/lr").kind, parse("grad_norm/lr_embed.weight").kind
    ('learning_rate', 'layer_grad_norm')
    """
    components = _with_loss([tokens(c) for c in _COMPONENTS.split(text)])
    words = [w for c in components for w in c]
    split = _split_of(components)
    body = tuple(w for w in words if w not in TRAIN and w not in VALIDATION and w not in TEST)
    bare = tuple(dict.fromkeys(w for w in body if w not in _QUALIFIERS and not w.isdigit())) or body or tuple(words)
    by_layer = len(components) > 1 and words[-1:] in (["weight"], ["bias"]) and _BY_LAYER.get(tuple(components[0]))
    if role := by_layer or _plain_role(body):
        return Name(text, split, bare, role)
    kind, rank = _kind(bare, components)
    return Name(text, split, bare, kind, rank)


def tokens(text: str) -> list[str]:
    """Lower-case words of a name, split at separators and camel case.

    >>> tokens("train/CrossEntropyLoss"), tokens("valloss")
    (['train', 'cross', 'entropy', 'loss'], ['val', 'loss'])
    """
    words = [w.lower() for part in _SEPARATORS.split(text) if part for w in _CAMEL.split(part)]
    glued = ((w, _GLUED.fullmatch(w)) for w in words)
    return [part for w, match in glued for part in (match.groups() if match else (w,))]


def _with_loss(components: list[list[str]]) -> list[list[str]]:
    """``train_losses`` and ``losses/train`` are losses, named as lists are; ``losses/x`` only files x there."""
    words = [w for c in components for w in c]
    if "loss" in words or "losses" not in words:
        return components
    alone = all(w == "losses" or w in _QUALIFIERS or w in TRAIN or w in VALIDATION or w in TEST for w in words)
    named = range(len(components)) if alone else (len(components) - 1,)
    return [["loss" if w == "losses" and i in named else w for w in c] for i, c in enumerate(components)]


def _split_of(components: list[list[str]]) -> str:
    """The split of the last component that names one: ``train/val_loss`` is validation, whatever it is filed under.

    Within a component validation wins, but for one that starts with training ("train_eval_loss" is an evaluation on
    the training data).
    """
    for words in reversed(components):
        joined = set(words)
        if joined & VALIDATION or {"held", "out"} <= joined:
            return "train" if words[0] in TRAIN else "val"
        if joined & TEST:
            return "test"
        if joined & TRAIN:
            return "train"
    return ""


def _plain_role(body: tuple[str, ...]) -> str:
    words = set(body)
    joined = "_".join(dict.fromkeys(body))
    if "loss" in words and not words & {"scale", "scaler"}:
        return ""
    rate = {"learning", "rate"} <= words or "learningrate" in words or any(_RATE.fullmatch(w) for w in words)
    if rate:
        return "other" if words & _NOT_RATE else "learning_rate"
    if "norm" in words and words & _STATE:
        return "other"
    if joined in ("gnorm", "gradnorm") or (words & {"grad", "gradient", "grads", "gradients"} and "norm" in words):
        per_layer = "weight" in words or "bias" in words or len(body) > 5
        return "layer_grad_norm" if per_layer else "grad_norm"
    if "norm" in words and words & {"param", "params", "parameter", "parameters", "weight", "weights"}:
        return "layer_param_norm" if len(body) > 5 else "param_norm"
    if words & {"scale", "scaler"} and words & {"loss", "amp", "grad", "fp16", "scale"}:
        return "loss_scale"
    if joined in ("epoch", "epochs", "ep", "current_epoch"):
        return "epoch"
    if words & {"batch", "bs"} and "size" in words:
        return "batch_size"
    return ""


def _kind(bare: tuple[str, ...], components: list[list[str]]) -> tuple[str, int]:
    words = set(bare)
    is_loss = "loss" in words or any(w.endswith("loss") for w in bare)
    g_or_d = bool(words & {"g", "d", "gen", "dis"}) and is_loss
    if _is_adversarial(components) or g_or_d or _is_gan_term(components[-1]):
        return "adversarial", 0
    if words & _NOT_LOSS:
        return "other", 0
    if is_loss:
        return "loss", 0
    if words & {"bit", "bits"} and words & {"dim", "byte", "char", "token"}:
        return "loss", _LOSS_RANK["bpd"]
    if {"cross", "entropy"} <= words:
        return "loss", _LOSS_RANK["crossentropy"]
    if words & _ACCURACY:
        return "accuracy", 0
    if words & _MAXIMISED or (len(bare) > 1 and bare[0] in _FOUND and bare[-1] in ("f", "p", "r")):
        return "score", 0
    if words & _MACHINE:
        return "other", 0
    if bare == ("multi", "class"):
        return "loss", _LOSS_RANK["multiclass"]
    ranks = [_LOSS_RANK[w] for w in bare if w in _LOSS_RANK]
    if ranks and len(bare) <= 3:
        return "loss", min(ranks)
    return "other", 0


def _is_gan_term(words: list[str]) -> bool:
    """``G_A``, ``D_real``: what CycleGAN and pix2pix print, the generator's and the discriminator's parts."""
    return len(words) == 2 and words[0] in ("g", "d") and words[1] in _GAN_PARTS


def _is_adversarial(components: list[list[str]]) -> bool:
    """Whether the metric, or a folder of just that name ("actor/loss", not "default_policy/loss"), is adversarial."""
    last = set(components[-1])
    return bool(last & _ADVERSARIAL and not {"cross", "entropy"} <= last) or any(
        len(c) == 1 and c[0] in _ADVERSARIAL for c in components[:-1]
    )
