"""Matrix products and convolutions written so that XLA runs them fast on a CPU, with their gradients.
On other devices `ops.convolution` and `ops.cpu.products` fall back on XLA's own operations."""
