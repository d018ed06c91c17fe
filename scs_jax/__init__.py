"""scs_jax: image colorization and super-resolution in JAX and Flax, after four papers."""

__version__ = "0.1.0"
