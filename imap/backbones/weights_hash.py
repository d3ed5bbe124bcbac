"""Hash of a pipeline's weights and configurations, which identifies a set of weights."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import nn

LIBRARY_KEYS = (
    "transformers_version",
    "torch_dtype",
    "dtype",
    "architectures",
)  # written by libraries, not the model's


def weights_hash(components: Mapping[str, Any]) -> str:
    """First 16 digits of the SHA-256 of a pipeline's components.

    Args:
        components: Components by name. The hash covers the weights of modules, and every component's configuration.
    """
    digits = hashlib.sha256()
    for name, component in sorted(components.items()):
        digits.update(json.dumps([name, _configuration(component)], sort_keys=True, default=str).encode())
        if isinstance(component, nn.Module):
            for key, value in component.state_dict().items():
                digits.update(f"{name}.{key}".encode())
                digits.update(value.float().cpu().numpy().tobytes())
    return digits.hexdigest()[:16]


def _configuration(component: Any) -> dict[str, Any]:
    config = getattr(component, "config", {})
    plain = dict(config) if isinstance(config, Mapping) else config.to_dict()
    return {key: x for key, x in plain.items() if not key.startswith("_") and key not in LIBRARY_KEYS}
