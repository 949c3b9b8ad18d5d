"""Models: embed, add positions, a stack of blocks. One file per paper where a paper has a name; `configs` describes them."""
