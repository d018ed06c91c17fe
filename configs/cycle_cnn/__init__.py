"""Configs of Cycle CNN (Dong et al.)."""
