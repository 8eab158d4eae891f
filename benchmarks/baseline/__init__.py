"""The model of docs/model.md in the most direct form, neither optimised nor slowed down.

It is plain torch.nn, one step after the other, with a Python loop wherever the text says "for
each". The product is checked and timed against it, so they share no code that computes. The
parameters have the product's names: `baseline.load_state_dict(product.state_dict())`. It computes
the same as the published code (C in docs/model.md), with and without registers, and has none of the
paper's variants.
"""
