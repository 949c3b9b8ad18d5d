"""What an attention is: immutable values without tensors that compare, hash, and print as the text that `parse` reads back."""
