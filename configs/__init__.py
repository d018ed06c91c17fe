"""Configs: `common` holds the keys that every method shares, `<method>/` each method's own.

Shipped as `scs_jax.configs`; load one with `scs_jax.core.config.load("scsnet/paper")`.
"""
