"""Configs of SMSANet (Jiang et al. 2022)."""
