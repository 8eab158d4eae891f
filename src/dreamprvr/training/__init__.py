"""Training: the LightningModule, its optimiser, callbacks, checkpoints and compilation."""
