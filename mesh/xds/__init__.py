"""The control plane: tells every edge what it should be, and operators what the mesh is doing.

Owns the state that traffic shifts leave behind (`$SOMA_HOME/data/xds`), the renewal of certificates
on one machine, and the knowledge of what each proxy was sent and took. If it dies, traffic goes on
with what the proxies last took; when it returns, nothing is cut, because equal content has equal
versions.
"""
