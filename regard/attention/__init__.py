"""Attention: `spec` says what, `reference` is the meaning, `plan` chooses, `executors` compute, `attend` is the verb.

The values of a specification (`spec`, `scores`, `patterns`, `normalizers`, `biases`) hold no tensors and import no torch.
"""
