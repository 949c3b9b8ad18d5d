"""`fused`: dot products and softmax in tiles that are computed again in the backward pass."""
