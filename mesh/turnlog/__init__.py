"""The turn log: every event of a turn, in order, written by one writer at a time.

Owns the Redis keys below `turnlog:`, the lease that says who may write, and the
place of a turn in its model's queue. It knows no event's content: an event is
bytes, a count of tokens and a mark on the last one.

Keys
----
- `turnlog:<tenant>:<turn>`: a stream, one entry an event.
- `turnlog:<tenant>:<turn>:meta`: a hash: epoch, owner, the request, cancel, done.
- `turnlog:leases`: a sorted set, `<tenant>:<turn>` -> the moment the lease ends,
  by the clock of Redis.
- `turnlog:load:<queue>`: a sorted set of the turns that a model has accepted.
- `turnlog:signals`: a channel: "cancel" and "release", so that nobody polls.

How one gap-free `seq` is shared by several writers
---------------------------------------------------
Decision. The id of an entry is `<epoch>-<seq + 1>`; `<epoch>-0` is a fence.
Redis refuses an entry whose id is not above the last one, and that refusal is
all the locking there is.

1. The orchestrator writes the opening (`accepted` is seq 0, then what was
   recalled) with epoch 0 before it publishes the request. Nobody can have
   written before, so epoch 0 needs no fence.
2. A claim is one script. It takes a new epoch, writes the fence, and reads in
   the same step which seq comes next: the last entry's id tells it, and a fence
   carries it as a field, so it costs one look whatever the length. The request
   carries the opening too: where the log was lost the claim writes it again.
3. The writer counts on from there and sends its entries over the very
   connection that claimed, without waiting for answers. On one connection
   Redis executes in order, and all ids of an epoch have one writer, so the
   entries of an epoch are consecutive. A refused entry means "not mine any
   more: stop", and then all later ones of the epoch are refused as well,
   because the fence that refused the first is above them too.
4. A lost connection ends the epoch: what was under way may or may not have been
   written. The writer claims again, learns what is there, and writes what is
   missing, frame by frame as it was cut before, so that a client that has seen
   a frame finds the same one after Redis came back with less.

By induction over the claims every seq is there exactly once below the last one.
(`<seq>-0` as the id is not enough: two live writers cut their frames at
different places, and 28 of 50 races damaged the text. With the fence none.)

Decision. An epoch is the larger of the epoch before plus 1 and the milliseconds
of Redis's clock. After a total loss the next epoch is above every epoch there
was, so a writer from before the loss is refused like any other stale one; and
entries are written with NOMKSTREAM, so it cannot begin a log in the middle
either.

Decision. Leases, queues and logs live in one Redis (or one primary with
replicas): a claim touches the lease set and the log of a turn in one script.
"""

from mesh.turnlog.admission import Admission, QueueFull
from mesh.turnlog.errors import LogDamaged, LogLost, LogUnavailable, NotMine, TurnLogError
from mesh.turnlog.keys import TurnKey
from mesh.turnlog.leases import Claimed, Leases, Refusal, Renewal, Standing
from mesh.turnlog.link import Link
from mesh.turnlog.reader import Entry, LogReader, Snapshot
from mesh.turnlog.signals import Signal, Signals
from mesh.turnlog.writer import Frame, LogWriter

__all__ = [
    "Admission",
    "Claimed",
    "Entry",
    "Frame",
    "Leases",
    "Link",
    "LogDamaged",
    "LogLost",
    "LogReader",
    "LogUnavailable",
    "LogWriter",
    "NotMine",
    "QueueFull",
    "Refusal",
    "Renewal",
    "Signal",
    "Signals",
    "Snapshot",
    "Standing",
    "TurnKey",
    "TurnLogError",
]
