"""The ground floor: how one task waits and another wakes it.

Every operation of every primitive is the same three moves: *try* (commit now if it can be done), *publish* (a
waiter in one or several queues) and *withdraw* (the losers, a cancellation). Nothing above this package suspends a
task in any other way, so everything above it can be selected over, cancelled and shown by the diagnostics alike.

Layout, each file using only those before it:

    waitqueue.py        the FIFO of parked operations; leaving it anywhere is O(1)
    waiter.py           one parked operation and what becomes of it
    driver.py           which event loop runs here; the budget of ready operations; what belongs to which loop
    asyncio_driver.py   how a waiter suspends and resumes a task of asyncio (default loop, uvloop, eager tasks)
    trio_driver.py      the same on trio
    thread_driver.py    the same for a plain thread outside the loop

This package imports nothing of gochan above it.
"""
