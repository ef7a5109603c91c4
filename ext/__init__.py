"""Hot paths in Cython: namespaces, process spawning, memory images and VM acquisition of a host, and JSON of messages.

What is a host's is raw system calls made without the interpreter lock. Nothing here knows of tickets, drivers or
templates, imports anything else of Swarm or runs an external command. System calls fail with ``OSError``, which has the
errno and the step that failed; JSON fails with ``ext.jsontable.Refused``.
"""
