"""Makes the event files under tests/data/tensorboard/ with the real writers.

Needs torch, tensorboard and tensorboardX (``pip install torch==2.13.0 tensorboard tensorboardX``):
``python tests/data/make_tensorboard.py [FOLDER [NAME...]]``. The file names are made the same on every machine.
TensorFlow itself is not needed: ``tf2`` and ``tf1`` are built from TensorBoard's own protobuf classes, field by field
as TensorFlow's C++ writer does.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

START = 1_700_000_000.0


def curve(n: int) -> list[float]:
    """A falling loss with a NaN and an Inf in it."""
    values = [2.0 * math.exp(-i / 20) + 0.1 * math.sin(i * 1.7) for i in range(n)]
    values[7], values[11] = math.nan, math.inf
    return values


def torch_writer(folder: Path) -> None:
    """Scalars (both styles), a histogram, a text and hparams by torch's SummaryWriter."""
    import numpy as np
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), filename_suffix=".torch") as writer:
        settings = {"lr": 0.01, "batch_size": 32, "optimizer": "adam", "amp": True}
        writer.add_hparams(settings, {"hp/loss": 0.5}, run_name=".")
        writer.add_text("note", "a note", 0)
        for step, value in enumerate(curve(40)):
            time = START + step
            writer.add_scalar("train/loss", value, step, walltime=time)
            writer.add_scalar("train/lr", 0.01 * 0.99**step, step, walltime=time, new_style=True)
            if step % 10 == 9:
                validation = value + 0.1
                writer.add_scalar("val/loss", validation, step, time, new_style=True, double_precision=True)
                writer.add_histogram("weights", np.arange(10), step)


def tensorboardx_writer(folder: Path) -> None:
    """tensorboardX, several tags."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder), filename_suffix=".tensorboardX") as writer:
        for step, value in enumerate(curve(40)):
            writer.add_scalar("loss", value, step * 100, walltime=START + step)
            writer.add_scalar("accuracy", step / 40, step * 100, walltime=START + step)


def write(path: Path, events: list[Any]) -> None:
    """An event file by TensorBoard's own record writer."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = RecordWriter(stream)
        writer.write(Event(wall_time=START, file_version="brain.Event:2").SerializeToString())
        for event in events:
            writer.write(event.SerializeToString())
        writer.close()


def tf1_events() -> list[Any]:
    """TensorFlow 1 and its Keras callback: several simple values in one event, a session start, a resume."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary

    events = [Event(wall_time=START, step=0, session_log=SessionLog(status=SessionLog.START))]
    for step, value in enumerate(curve(30)):
        both = [Summary.Value(tag="loss", simple_value=value), Summary.Value(tag="acc", simple_value=step / 30)]
        events.append(Event(wall_time=START + step, step=step, summary=Summary(value=both)))
    events.append(Event(wall_time=START + 100, step=20, session_log=SessionLog(status=SessionLog.START)))
    for step in range(20, 40):
        value = Summary.Value(tag="loss", simple_value=1 / step)
        events.append(Event(wall_time=START + 101 + step, step=step, summary=Summary(value=[value])))
    return events


def tf2_events(prefix: str) -> list[Any]:
    """TensorFlow 2 (``tf.summary.scalar``, Keras): one tensor per event, in every numeric type and both encodings."""
    import numpy as np
    from tensorboard.compat.proto import types_pb2
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.plugins.scalar.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    events = []
    metadata = create_summary_metadata(display_name="", description="")

    def add(tag: str, step: int, tensor: Any) -> None:
        value = Summary.Value(tag=prefix + tag, tensor=tensor, metadata=metadata)
        events.append(Event(wall_time=START + step, step=step, summary=Summary(value=[value])))

    for step, value in enumerate(curve(30)):
        shape = TensorProto().tensor_shape
        content = np.float32(value).tobytes()
        add("loss", step, TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=shape, tensor_content=content))
        add("loss64", step, make_tensor_proto(np.float64(value)))
        add("half", step, make_tensor_proto(np.float16(value)))
        add("count", step, make_tensor_proto(np.int64(step * 1000 - 5)))
        add("small", step, make_tensor_proto(np.int32(-step)))
        add("flag", step, make_tensor_proto(np.bool_(step % 2)))
        add("vector", step, make_tensor_proto(np.arange(3, dtype=np.float32)))  # no scalar: left out
    return events


def nothing_events() -> list[Any]:
    """An image, a text and a graph, but no scalar."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb

    image = Summary.Image(height=1, width=1, colorspace=1, encoded_image_string=b"\x89PNG")
    return [
        Event(wall_time=START, graph_def=b"graph"),
        Event(wall_time=START, summary=Summary(value=[Summary.Value(tag="picture", image=image)])),
        Event(wall_time=START, summary=text_pb("note", "words")),
    ]


def keras_folders(root: Path) -> None:
    """What Keras' TensorBoard callback leaves: the same tags in ``train/`` and ``validation/``."""
    import numpy as np
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    metadata = create_summary_metadata(display_name="", description="")
    for folder, shift in (("train", 0.0), ("validation", 0.2)):
        events = []
        for epoch in range(20):
            tensor = make_tensor_proto(np.float32(2 / (epoch + 1) + shift))
            value = Summary.Value(tag="epoch_loss", tensor=tensor, metadata=metadata)
            events.append(Event(wall_time=START + epoch, step=epoch, summary=Summary(value=[value])))
        write(root / folder / f"events.out.tfevents.1700000000.host.1.{folder}.v2", events)


def renamed(folder: Path) -> None:
    """Names without time, host and process: events.out.tfevents.170000000<i>.<folder>."""
    for i, found in enumerate(sorted(folder.iterdir(), key=lambda p: p.name.split(".")[-2:])):
        found.rename(folder / f"events.out.tfevents.170000000{i}.{folder.name}")


MAKERS = {
    "torch": lambda folder: (torch_writer(folder), renamed(folder)),
    "tensorboardx": lambda folder: (tensorboardx_writer(folder), renamed(folder)),
    "tf1": lambda folder: write(folder / "events.out.tfevents.1700000000.tf1", tf1_events()),
    "tf2": lambda folder: write(folder / "events.out.tfevents.1700000000.tf2.v2", tf2_events("")),
    "nothing": lambda folder: write(folder / "events.out.tfevents.1700000000.nothing", nothing_events()),
    "keras": keras_folders,
}


def main(root: Path, names: list[str]) -> None:
    """Those named, or all."""
    for name in names or MAKERS:
        MAKERS[name](root / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "tensorboard", sys.argv[2:])
