"""gochan among its neighbours: anyio's streams, and asyncio's, anyio's and trio's tasks and cancellation."""
