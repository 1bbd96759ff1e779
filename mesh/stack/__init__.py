"""The local stack: real servers and the platform's own processes on one machine.

Owns `$SOMA_HOME`: what runs, its ports, its secrets, its logs. It starts modules and programs and
imports none of them; a server that it cannot start as the real thing is an error, never a stand-in.
"""
