"""A whole chat on one machine: an engine and several nodes, started, watched and stopped by one program."""
