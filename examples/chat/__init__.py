"""A chat server on gochan: one port for TCP lines, WebSocket and the web page; asyncio or trio.

Start it with ``python -m examples.chat`` and talk with a browser, with ``python -m examples.chat.client``, or with
``nc``. Read it in this order:

    wire/                       what is said, and its two formats
    rooms, hub, requests        who is where, and the one goroutine that knows
    membership, broker/         history, and how a member comes back to where it was
    outbox, session, commands   one client: what waits for it, its two goroutines, what it may ask
    registry, node, server      all clients, what they share, the port
    supervisor, drain           what happens when the hub fails, and when the server stops
    transport/, sockets, pages  how it travels, and the web side
    heartbeat, rtt, limits      who is still there, and who is too fast
    downstream, webhook         telling another service, without ever waiting for it
    telemetry/, config          logs, metrics, traces, errors; settings
    client/, web/               the other side
"""
