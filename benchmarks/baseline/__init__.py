"""docs/model.md written down in the most obvious way: neither optimised nor slowed down.

Plain torch.nn, one step after the other, and a Python loop wherever the text says "for each". The
product is checked and timed against it, so it shares no computing code with it. Parameters have
the product's names: `baseline.load_state_dict(product.state_dict())`. It does what the published
code does (C in docs/model.md) and none of the paper's variants; with and without registers.
"""
