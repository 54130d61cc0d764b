"""The PyTorch engine: devices, a training loop, joint training, copies, fields on domains."""

from inrbench.backends.torch.device import (
    device_facts,
    is_out_of_memory,
    peak_memory_bytes,
    prepare,
    resolve_device,
)

__all__ = ["device_facts", "is_out_of_memory", "peak_memory_bytes", "prepare", "resolve_device"]
