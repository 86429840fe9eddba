"""From rows to an adapter: tokens, batches, loss, checkpoints."""
