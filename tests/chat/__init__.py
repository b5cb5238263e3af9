"""The chat of examples/chat, over real sockets."""
