"""Builds and reads a tree through kazoo: argv is the connect string and the chroot."""

import json
import sys

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError, RolledBackError
from kazoo.security import make_digest_acl

hosts, chroot = sys.argv[1:3]
client = KazooClient(hosts=hosts)
client.start(timeout=10)
client.ensure_path(chroot)
client.chroot = chroot
client.create("/from-kazoo", b"\x00binary\xff")
client.create("/from-kazoo/seq-", b"1", sequence=True)
client.create("/from-kazoo/seq-", b"2", sequence=True)
client.set("/from-kazoo", b"changed")
client.create("/guarded", b"secret", acl=[make_digest_acl("user", "password", all=True)])
transaction = client.transaction()
transaction.create("/multi", b"a")
transaction.create("/multi/below", b"b")
transaction.set_data("/multi", b"c")
results = transaction.commit()
refused = client.transaction()
refused.create("/never")
refused.delete("/none")
refusals = [type(result).__name__ for result in refused.commit()]


# Containers and nodes with a time to live have marks where ephemeral ones have their session.
def is_ephemeral(owner):
    return owner not in (0, -(2**63)) and owner >> 56 & 0xFF != 0xFF


def tree(path):
    data, stat = client.get(path)
    below = {name: tree(f"{path.rstrip('/')}/{name}") for name in sorted(client.get_children(path))}
    return {"data": data.hex(), "version": stat.version, "ephemeral": is_ephemeral(stat.ephemeralOwner), "below": below}


client.add_auth("digest", "user:password")
print(json.dumps({"refusals": refusals, "tree": tree("/")}))
client.stop()
