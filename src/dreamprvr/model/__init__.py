"""The network of model.md: plain torch.nn, usable without Lightning."""
