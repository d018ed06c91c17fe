"""Configs of SCSNet (Zhang et al. 2021)."""
