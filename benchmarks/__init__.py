"""Benchmarks: ratios inside one run, and Go's benchmark names. `README.md` says how to run and read them."""
