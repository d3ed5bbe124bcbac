"""What tells one set of weights from another."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import nn

OF_LIBRARIES = ("transformers_version", "torch_dtype", "dtype", "architectures")  # in configs, and not about the model


def weights_hash(components: Mapping[str, Any]) -> str:
    """Of a pipeline's components: 16 digits of the weights, and of the configurations of whatever has one."""
    found = hashlib.sha256()
    for name, component in sorted(components.items()):
        found.update(json.dumps([name, _told(component)], sort_keys=True, default=str).encode())
        if isinstance(component, nn.Module):
            for key, value in component.state_dict().items():
                found.update(f"{name}.{key}".encode())
                found.update(value.float().cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def _told(component: Any) -> dict[str, Any]:
    config = getattr(component, "config", {})
    plain = dict(config) if isinstance(config, Mapping) else config.to_dict()
    return {key: x for key, x in plain.items() if not key.startswith("_") and key not in OF_LIBRARIES}
