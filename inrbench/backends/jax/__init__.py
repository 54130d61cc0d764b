"""The JAX engine: devices, a training loop, copies, fields on domains. The twin of `inrbench.backends.torch`."""

from inrbench.backends.jax.device import (
    device_facts,
    is_out_of_memory,
    peak_memory_bytes,
    prepare,
    resolve_device,
)

__all__ = ["device_facts", "is_out_of_memory", "peak_memory_bytes", "prepare", "resolve_device"]
