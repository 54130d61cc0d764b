"""Event files, as TensorBoard reads them: its own record writer, without TensorFlow, PyTorch or a thread."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams import plugin_data_pb2, summary_v2
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

__all__ = ["PATTERN", "EventFile"]

#: What event files are called; TensorBoard reads those of a folder in the order of their names.
PATTERN = "events.out.tfevents.*"


class EventFile:
    """A new event file in ``folder``, which is one run in TensorBoard; closed between two flushes.

    ``first_step``: what other event files of the folder hold from this step on is done again, and no longer shown.
    """

    def __init__(self, folder: Path, *, first_step: int | None = None) -> None:
        own = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self.path = folder / PATTERN.replace("*", own)
        self._pending = io.BytesIO()
        self._records = RecordWriter(self._pending)
        self._write(file_version="brain.Event:2")
        if first_step is not None:
            self._write(step=first_step, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, values: Mapping[str, float], *, step: int = 0, at: float | None = None) -> None:
        """Numbers by tag, at a step and a time in seconds since 1970 (now, if not given)."""
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(at, step=step, summary=summary)

    def text(self, tag: str, markdown: str) -> None:
        """A text in Markdown."""
        tensor = tensor_util.make_tensor_proto(np.array(markdown, dtype=object))
        metadata = text_metadata.create_summary_metadata(display_name="", description="")
        self._write(summary=Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]))

    def start_session(self, name: str, settings: Mapping[str, bool | float | str]) -> None:
        """What the tab "HPARAMS" shows of this run and those below it."""
        self._write(summary=Summary.FromString(summary_v2.hparams_pb(settings, trial_id=name).SerializeToString()))

    def end_session(self, *, good: bool) -> None:
        """How it ended, for the same tab."""
        status = "STATUS_SUCCESS" if good else "STATUS_FAILURE"
        end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
        metadata = hparams_metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
        tag, tensor = hparams_metadata.SESSION_END_INFO_TAG, hparams_metadata.NULL_TENSOR
        self._write(summary=Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)]))

    def flush(self) -> None:
        """Append what came since the last flush; it survives this process. Raises OSError where the disk refuses."""
        if not self._pending.tell():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(self._pending.getvalue())
        self._pending.seek(0)
        self._pending.truncate()

    def _write(self, at: float | None = None, **content: Any) -> None:
        event = Event(wall_time=time.time() if at is None else at, **content)
        self._records.write(event.SerializeToString())
