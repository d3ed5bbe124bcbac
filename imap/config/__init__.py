"""Turn a composed configuration into frozen, checked dataclasses."""
