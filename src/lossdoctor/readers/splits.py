"""TensorBoard's ways of spreading one run: several event files in a folder, and a folder (or file) for each split."""

from __future__ import annotations

from lossdoctor.core.names import TEST, TRAIN, VALIDATION, parse, tokens
from lossdoctor.readers.agreement import same_run
from lossdoctor.readers.pieces import Piece, Pieces, absorb, concatenated, merge_groups, rebuilt

_SPLITS = TRAIN | VALIDATION | TEST


def event_files(pieces: Pieces) -> Pieces:
    """The event files of one folder are one run, in the order of their first wall times."""
    return merge_groups(pieces, lambda p: (p.root, p.folder) if p.is_events else None, _join_events)


def _join_events(group: Pieces) -> Pieces:
    filled = [p for p in group if p.size]
    if len(filled) < 2:
        kept = filled or group[:1]
        _take_over(kept[0], [p for p in group if p is not kept[0] and not p.size])
        return kept
    filled.sort(key=lambda p: (_first_time(p), p.file))
    runs: list[Pieces] = []
    for piece in filled:
        for run in runs:
            at_once = [p for p in run if _at_the_same_time(p, piece)]
            if not at_once:
                run.append(piece)
                break
            if any(same_run(p.history, piece.history) for p in at_once):
                absorb(run[0], piece, f"{piece.file} holds the same curves and is left out")
                break
        else:  # two processes wrote the same tags at the same time: not one curve
            runs.append([piece])
    out = []
    for run in runs:
        joined = run[0]
        if len(run) > 1:
            joined = rebuilt(
                run[0], concatenated([p.history for p in run]), notes=[n for p in run for n in p.history.notes]
            )
            for other in run[1:]:
                absorb(joined, other)
                joined.history.events.extend(other.history.events)
            joined.level = len(joined.parts) - 1
        out.append(joined)
    _take_over(out[0], [p for p in group if not p.size])
    return out


def _take_over(piece: Piece, empty: Pieces) -> None:
    """What event files without scalars know besides: torch's writer puts the hyperparameters into one of their own."""
    for other in empty:
        absorb(piece, other)
        piece.history.events.extend(other.history.events)


def _first_time(piece: Piece) -> float:
    times = [float(c.times[0]) for c in piece.history.curves.values() if c.times is not None and len(c)]
    return min(times, default=float("inf"))


def _at_the_same_time(a: Piece, b: Piece) -> bool:
    """Whether both wrote a tag over the same steps in the same hours: ranks of one job, say."""
    for left, right in ((n, n) for n in a.history.curves if n in b.history):
        one, two = a.history[left], b.history[right]
        if one.times is None or two.times is None or min(len(one), len(two)) < 2:
            continue
        in_time = two.times[0] < one.times[-1] and one.times[0] < two.times[-1]
        in_steps = two.steps[0] < one.steps[-1] and one.steps[0] < two.steps[-1]
        if in_time and in_steps:
            return True
    return False


def split_folders(pieces: Pieces) -> Pieces:
    """``train/`` and ``validation/`` beside one another (Keras, ``add_scalars``) are one run of their parent."""

    def parent_of(piece: Piece) -> tuple[str, tuple[str, ...], str] | None:
        if not piece.is_events or not piece.folder:
            return None
        rest, split = without_split(piece.folder[-1])
        return (piece.root, piece.folder[:-1], rest) if split else None

    def join(group: Pieces) -> Pieces:
        names = [p.folder[-1] for p in group]
        return _join_splits(group, [_prefix(n, p) for n, p in zip(names, group, strict=True)], names)

    return merge_groups(pieces, parent_of, join)


def scalars_folders(pieces: Pieces) -> Pieces:
    """Folders ``<tag>_<series>`` with the one tag ``<tag>``: what torch's ``add_scalars`` writes, part of the run."""

    def parent_of(piece: Piece) -> tuple[str, tuple[str, ...]] | None:
        if not piece.is_events or not piece.folder or len(piece.history.curves) != 1:
            return None
        tag = next(iter(piece.history.curves)).replace("/", "_")
        return (piece.root, piece.folder[:-1]) if piece.folder[-1].startswith(f"{tag}_") else None

    def join(group: Pieces) -> Pieces:
        first = group[0]
        parent = next(
            (p for p in pieces if p.is_events and p.root == first.root and p.folder == first.folder[:-1]), None
        )
        if parent is None and len(group) < 2:
            return group
        members = ([parent] if parent else []) + group
        prefixes = ([""] if parent else []) + [_prefix(p.folder[-1], p) for p in group]
        if parent:
            taken.add(id(parent))
        return [_prefixed(members, prefixes)]

    taken: set[int] = set()
    out = merge_groups(pieces, parent_of, join, least=1)
    return [p for p in out if id(p) not in taken]


def split_files(pieces: Pieces) -> Pieces:
    """``train.csv`` and ``val.csv`` with the same columns are one run (CatBoost's ``learn_error.tsv`` too)."""

    def stem_of(piece: Piece) -> tuple[str, tuple[str, ...], str, str] | None:
        if piece.of_many or piece.is_events or not piece.size:
            return None
        rest, split = without_split(piece.stem)
        return (piece.root, piece.folder, rest, piece.history.format) if split else None

    def join(group: Pieces) -> Pieces:
        if any(parse(n).split and parse(n).split != without_split(p.stem)[1] for p in group for n in p.history.curves):
            return group  # one of them knows both splits itself
        units = {p.history.step_unit for p in group}
        if len(units) > 1 or ("row" in units and len({len(p.history) for p in group}) > 1):
            return group
        words = [_split_word(p.stem) for p in group]
        return _join_splits(group, [f"{w}/" for w in words], [p.file for p in group])

    return merge_groups(pieces, stem_of, join)


def _join_splits(group: Pieces, prefixes: list[str], names: list[str]) -> Pieces:
    splits = [without_split(n if "." not in n else n.rsplit(".", 1)[0])[1] for n in names]
    if len(set(splits)) < len(splits) or "train" not in splits:
        return group
    train = group[splits.index("train")]
    for other in group:
        if other is not train and not _parallel(train, other):
            return group
    return [_prefixed(group, prefixes)]


def _parallel(a: Piece, b: Piece) -> bool:
    """Whether two pieces share a name over overlapping steps."""
    for name in a.history.curves:
        if name in b.history and len(a.history[name]) and len(b.history[name]):
            one, two = a.history[name].steps, b.history[name].steps
            if one.min() <= two.max() and two.min() <= one.max():
                return True
    return False


def _prefixed(group: Pieces, prefixes: list[str]) -> Piece:
    curves = concatenated([p.history for p in group], prefixes)
    joined = rebuilt(group[0], curves, notes=[n for p in group for n in p.history.notes])
    for other in group[1:]:
        absorb(joined, other)
    joined.level = min(len(p.folder) for p in group)
    if prefixes[0] and group[0].is_events:
        joined.level = len(group[0].folder) - 1
    return joined


def _prefix(folder: str, piece: Piece) -> str:
    """What to put before the names of a folder: its name, less the tag that ``add_scalars`` has put there already."""
    for name in piece.history.curves:
        tag = name.replace("/", "_")
        if folder.startswith(f"{tag}_") and len(piece.history.curves) == 1:
            return f"{folder.removeprefix(f'{tag}_')}/"
    return f"{folder}/"


def without_split(name: str) -> tuple[str, str]:
    """A name without the words for a split, and the split: ``("fold1", "val")`` for ``fold1_val``.

    >>> without_split("learn_error"), without_split("run7")
    (('error', 'train'), ('run7', ''))
    """
    words = tokens(name)
    found = [("train" if w in TRAIN else "val" if w in VALIDATION else "test") for w in words if w in _SPLITS]
    if len(found) != 1:
        return name, ""
    return "_".join(w for w in words if w not in _SPLITS), found[0]


def _split_word(stem: str) -> str:
    return next((w for w in tokens(stem) if w in _SPLITS), stem)
