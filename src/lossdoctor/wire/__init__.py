"""The TensorBoard record format, both ways, and W&B's log format. Needs neither TensorBoard, protobuf nor wandb."""

from lossdoctor.wire.decode import Damage, EventDecoder, EventLog, Series
from lossdoctor.wire.encode import file_header, scalars_record, session_start

__all__ = ["Damage", "EventDecoder", "EventLog", "Series", "file_header", "scalars_record", "session_start"]
