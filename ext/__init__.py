"""The host's hot path in Cython: namespaces, process spawning, memory images and VM acquisition.

Everything here is raw system calls made without the interpreter lock. It knows nothing of tickets, drivers or
templates, imports nothing else of Swarm, runs no external command, and reports failure as ``OSError`` with the errno
and the step that failed.
"""
