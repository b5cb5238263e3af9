"""A chat server on gochan: one port for TCP lines, WebSocket and the web page; asyncio or trio.

Start it with ``python -m examples.chat`` and talk with a browser, with ``python -m examples.chat.client``, or with
``nc``. Read it in this order: ``wire`` (what is said), ``hub`` (the room), ``session`` (one client), ``transport`` and
``sockets`` (how it travels), ``pages`` (the web side), ``server`` (the port), ``config``, ``client``, ``web/``.
"""
