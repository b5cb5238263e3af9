"""Known concurrency bugs as small programs, each with a fixed twin: does the library find them, and only them?"""
