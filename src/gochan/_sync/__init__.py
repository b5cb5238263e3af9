"""Go's package ``sync``, and the weighted semaphore of ``x/sync``: one file a primitive, all on the ground floor."""
