"""What `blocks` and `additive` share: tile batches, and the passes over them."""
