"""The networks of the papers a second time, in PyTorch: what `torch_twins.py` races against.

Written from the papers and from the names in the published weights, as somebody at home in PyTorch
would write them: NCHW, torch.nn.functional, nothing of `scs_jax.ops` or `scs_jax.methods`.
"""
