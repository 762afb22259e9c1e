"""A state of training that is kept, in memory or on disk, and returned to later (or in another process)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lossdoctor.core.errors import UsageError
from lossdoctor.torchkit.capture import copy_into
from lossdoctor.torchkit.objective import unwrapped
from lossdoctor.torchkit.rng import RandomState
from lossdoctor.torchkit.state import uninterrupted

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything a training run needs to go on from here as if nothing had happened since.

    Attributes:
        tensors: parameters and buffers (also non-persistent ones) by their plain name; copies.
        trainable: parameter -> ``requires_grad``.
        training: module -> whether it is in training mode.
        parts: ``"optimizer"``, ``"scheduler"``, ``"scaler"``, ``"loader"`` -> copy of its state; those that were given.
        random: the global generators, or None.
        step: the step at which it was taken.

    >>> model = nn.Linear(2, 1)
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> kept = Snapshot.take(model, optimizer, step=7)
    >>> before = model.weight.tolist()
    >>> model(torch.ones(1, 2)).sum().backward(); optimizer.step()
    >>> kept.restore(model, optimizer)
    >>> model.weight.tolist() == before, len(optimizer.state)
    (True, 0)
    """

    tensors: dict[str, Tensor]
    trainable: dict[str, bool]
    training: dict[str, bool]
    parts: dict[str, Any] = field(default_factory=dict)
    random: RandomState | None = None
    step: int = 0

    @classmethod
    def take(
        cls,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        scheduler: Any = None,
        scaler: Any = None,
        loader: Any = None,
        *,
        step: int = 0,
        rng: bool = True,
        device: torch.device | str | None = None,
    ) -> Snapshot:
        """Copy the state of these objects.

        Args:
            model: also compiled or data-parallel; names are those of the plain model.
            optimizer, scheduler, scaler: what the run has of them.
            loader: its position, where it has ``state_dict`` (torchdata's StatefulDataLoader); others have no position
                that could be kept and are passed over.
            step: kept beside the state.
            rng: whether the global random generators are part of it.
            device: where the copies live; by default where the originals do (on a GPU no transfer and no wait).
        """
        plain = unwrapped(model)
        given = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler, "loader": loader}
        stateful = {k: v for k, v in given.items() if v is not None and hasattr(v, "state_dict")}
        return cls(
            tensors={name: _copied(t, device) for name, t in _tensors(plain).items()},
            trainable={name: p.requires_grad for name, p in plain.named_parameters()},
            training={name: m.training for name, m in plain.named_modules()},
            parts={name: _copied(part.state_dict(), device) for name, part in stateful.items()},
            random=RandomState.take() if rng else None,
            step=step,
        )

    @torch.no_grad()
    def restore(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        scheduler: Any = None,
        scaler: Any = None,
        loader: Any = None,
    ) -> None:
        """Put these objects into the kept state, bit for bit; gradients are cleared.

        Contents are copied into the tensors that are there: references to them stay valid. What the optimizer created
        since is removed. The snapshot itself stays as it is and can be used again. A Ctrl-C waits for the end.

        Raises:
            UsageError: names or shapes of the model differ, or a part is asked for that the snapshot does not have;
                nothing has been changed then.
        """
        plain = unwrapped(model)
        here = _tensors(plain)
        _match(self.tensors, here)
        given = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler, "loader": loader}
        wanted = {k: v for k, v in given.items() if v is not None and hasattr(v, "load_state_dict")}
        if missing := [k for k in wanted if k not in self.parts]:
            raise UsageError(f"the snapshot holds no state of the {', '.join(missing)}; it was taken without")
        if optimizer is not None and _plain_optimizer(optimizer):
            _match_groups(self.parts["optimizer"], optimizer)
        with uninterrupted():
            for name, tensor in here.items():
                copy_into(tensor.data, self.tensors[name])
            for name, parameter in plain.named_parameters():
                parameter.requires_grad_(self.trainable.get(name, parameter.requires_grad))
                parameter.grad = None
            for name, module in plain.named_modules():
                module.training = self.training.get(name, module.training)
            for name, part in wanted.items():
                state = self.parts[name]
                if name == "optimizer" and _plain_optimizer(part):
                    _restore_optimizer(part, state)
                else:
                    part.load_state_dict(_copied(state, None))
            if self.random is not None:
                self.random.restore()

    def nbytes(self) -> int:
        """Bytes of all tensors kept."""
        return sum(t.numel() * t.element_size() for t in _walk({"t": self.tensors, "p": self.parts}))

    def save(self, path: str | Path) -> None:
        """Write it to one file, which is there whole or not at all.

        Raises:
            UsageError: the state holds an object that is not plain data; reading it back would need pickle.
        """
        path = Path(path)
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "random"}
        content["random"] = None if self.random is None else self.random.state_dict()
        content["format"] = FORMAT
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as stream:
                torch.save(_encoded(content, "snapshot"), stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, *, device: torch.device | str | None = "cpu") -> Snapshot:
        """Read a file of :meth:`save`, without unpickling any code (``weights_only``).

        Raises:
            UsageError: the file is not a snapshot, or is one of another format.
        """
        try:
            content = _decoded(torch.load(path, map_location=device, weights_only=True))
        except FileNotFoundError:
            raise
        except Exception as error:
            raise UsageError(f"{path} is not a snapshot, or is cut off: {error}") from error
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise UsageError(f"{path} is not a snapshot of format {FORMAT}; take a new one")
        random = content.pop("random")
        return cls(**content, random=None if random is None else RandomState.from_state_dict(random))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _copied(value: Any, device: torch.device | str | None) -> Any:
    """Tensors cloned, containers rebuilt, so that nothing is shared with the live objects."""
    if isinstance(value, Tensor):
        copy = value.detach().clone()
        return copy if device is None else copy.to(device)
    if isinstance(value, Counter):
        return Counter(value)
    if isinstance(value, Mapping):
        return {k: _copied(v, device) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(v, device) for v in value)
    return value.copy() if isinstance(value, np.ndarray) else value


def _walk(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [t for v in inner for t in _walk(v)]


def _match(kept: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> None:
    if missing := sorted(set(kept) - set(here)):
        raise UsageError(f"the model lacks {_few(missing)}, which the snapshot holds; it is of another model")
    if extra := sorted(set(here) - set(kept)):
        raise UsageError(f"the model has {_few(extra)}, which the snapshot lacks; it is of another model")
    for name, tensor in kept.items():
        if tensor.shape != here[name].shape:
            found, expected = tuple(here[name].shape), tuple(tensor.shape)
            raise UsageError(f"{name} has shape {found} in the model and {expected} in the snapshot")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _plain_optimizer(optimizer: Any) -> bool:
    """Whether its state is torch's usual one; the loader of torch casts it to the dtype of the parameters."""
    return isinstance(optimizer, Optimizer) and type(optimizer).load_state_dict is Optimizer.load_state_dict


def _match_groups(state: Mapping[str, Any], optimizer: Optimizer) -> None:
    kept = [len(group["params"]) for group in state["param_groups"]]
    here = [len(group["params"]) for group in optimizer.param_groups]
    if kept != here:
        raise UsageError(f"the optimizer has parameter groups of {here} tensors, the snapshot of {kept}")


def _restore_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    numbered: dict[int, Tensor] = {}
    for group, kept in zip(optimizer.param_groups, state["param_groups"], strict=True):
        numbered.update(zip(kept["params"], group["params"], strict=True))
        for key in [k for k in group if k not in kept]:
            del group[key]
        for key, value in kept.items():
            if key != "params":
                group[key] = _put(group.get(key), value)
    for number, parameter in numbered.items():
        if number not in state["state"]:
            optimizer.state.pop(parameter, None)
            continue
        old = optimizer.state.get(parameter, {})
        new = {k: _put(old.get(k), v, parameter.device) for k, v in state["state"][number].items()}
        optimizer.state[parameter] = new


def _put(old: Any, new: Any, device: torch.device | None = None) -> Any:
    """The kept value, inside the old tensor where it fits: other objects may hold that one (a captured graph)."""
    if not isinstance(new, Tensor):
        if isinstance(new, list | tuple):
            return type(new)(_put(None, v, device) for v in new)
        return {k: _put(None, v, device) for k, v in new.items()} if isinstance(new, dict) else new
    if isinstance(old, Tensor) and (old.shape, old.dtype) == (new.shape, new.dtype):
        copy_into(old.data, new)
        return old
    on_host = new.dim() == 0 and new.device.type == "cpu"  # Adam's step counter lives on the host
    return new.clone() if device is None or on_host else new.to(device, copy=True)


def _encoded(value: Any, where: str) -> Any:
    """Only what ``torch.load(weights_only=True)`` reads in every version: tensors, numbers, strings, dicts, lists."""
    if value is None or isinstance(value, Tensor) or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"#": "array", "value": torch.from_numpy(value)}
    if isinstance(value, Counter):
        return {"#": "counter", "value": [[k, n] for k, n in value.items()]}
    if isinstance(value, tuple):
        return {"#": "tuple", "value": [_encoded(v, where) for v in value]}
    if isinstance(value, list):
        return [_encoded(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, Mapping):
        return {k: _encoded(v, f"{where}.{k}") for k, v in value.items()}
    raise UsageError(
        f"{where} is a {type(value).__name__}, which cannot be saved as plain data; keep this snapshot in memory"
    )


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(v) for v in value]
    if not isinstance(value, dict):
        return value
    match value.get("#"):
        case "array":
            return value["value"].numpy()
        case "counter":
            return Counter(dict(value["value"]))
        case "tuple":
            return tuple(_decoded(value["value"]))
        case _:
            return {k: _decoded(v) for k, v in value.items()}
