"""The ten mistakes that channel libraries for Python make: gochan must not make them."""
