"""Configs of the joint network (Bicer and Kaynak), its residual variant and separate networks."""
