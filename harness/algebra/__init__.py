"""The mathematics: pure functions on tensors, no model, no file, no state.

Notation: ``W: [d_out, d_in]`` is a weight, ``C: [d_in, d_in]`` the second moment of its input,
``P`` any matrix with ``P P^T`` the metric of the approximation, ``r`` a rank.
"""
