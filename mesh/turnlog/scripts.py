"""The Lua scripts: each is one step that Redis does whole or not at all.

Moments are those of Redis's own clock, so that no two machines have to agree.
"""

from typing import Final

from mesh.turnlog.link import Script

_NOW: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

# KEYS: log, meta. ARGV: ms to live, then the events.
OPEN: Final = Script.of(
    """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], '0-' .. (i - 1), 'e', ARGV[i], 'n', 0)
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
)

# KEYS: leases, meta, log. ARGV: member, owner, lease ms, ms to live, request (or ''), then the
# opening. An owner may claim what it holds: that is how it goes on after a lost connection.
CLAIM: Final = Script.of(
    _NOW
    + """
local meta = redis.call('HMGET', KEYS[2], 'done', 'owner', 'epoch', 'cancel', 'request')
if meta[1] then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return {'done'}
end
local expiry = redis.call('ZSCORE', KEYS[1], ARGV[1])
if expiry and tonumber(expiry) > now and meta[2] ~= ARGV[2] then return {'owned'} end
local request = meta[5] or ARGV[5]
if request == '' then return {'unknown'} end
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
local epoch, nextseq = math.max(now, tonumber(meta[3] or '0') + 1), 0
if last then
  local head, tail = string.match(last[1], '^(%d+)-(%d+)$')
  epoch = math.max(epoch, tonumber(head) + 1)
  nextseq = tonumber(tail)
  if nextseq == 0 then
    if last[2][1] ~= 'next' then return redis.error_reply('DAMAGED no place in the fence') end
    nextseq = tonumber(last[2][2])
  end
end
local prefix = string.format('%.0f-', epoch)
redis.call('XADD', KEYS[3], prefix .. '0', 'next', nextseq, 'owner', ARGV[2])
for seq = nextseq, #ARGV - 6 do
  redis.call('XADD', KEYS[3], prefix .. (seq + 1), 'e', ARGV[6 + seq], 'n', 0)
  nextseq = seq + 1
end
redis.call('HSET', KEYS[2], 'owner', ARGV[2], 'epoch', string.format('%.0f', epoch),
  'request', request)
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
return {'claimed', string.format('%.0f', epoch), nextseq, meta[4] and 1 or 0, request,
  redis.call('XRANGE', KEYS[3], '-', '+')}
"""
)

# KEYS: leases. ARGV: lease ms, most expired ones wanted, then member, meta key, epoch, ...
# Renews where the epoch is still the caller's; returns what was lost and what has expired.
RENEW: Final = Script.of(
    _NOW
    + """
local lost = {}
for i = 3, #ARGV, 3 do
  local epoch = redis.call('HGET', ARGV[i + 1], 'epoch')
  if epoch == ARGV[i + 2] and not redis.call('HGET', ARGV[i + 1], 'done') then
    redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
    lost[#lost + 1] = epoch and 'taken' or 'gone'
  end
end
return {lost, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])}
"""
)

# KEYS: log, meta. A log that somebody claimed stays.
DISCARD: Final = Script.of(
    """
if redis.call('HEXISTS', KEYS[2], 'epoch') == 1 then return 0 end
return redis.call('DEL', KEYS[1])
"""
)

# KEYS: leases, meta, log, load. ARGV: member, epoch, ms that both are kept for, then the log's and the
# mark's where the turn is stored already.
FINISH: Final = Script.of(
    """
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], 'done', 1)
redis.call('HDEL', KEYS[2], 'request')
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
local stored = redis.call('HEXISTS', KEYS[2], 'stored') == 1
redis.call('PEXPIRE', KEYS[2], stored and ARGV[5] or ARGV[3])
redis.call('PEXPIRE', KEYS[3], stored and ARGV[4] or ARGV[3])
return 1
"""
)

# KEYS: meta, log. ARGV: ms that the log is kept for, ms that the mark is.
# A turn that is not done yet keeps both for whoever takes it over; FINISH finds the mark.
STORED: Final = Script.of(
    """
local known = redis.call('EXISTS', KEYS[1]) == 1
if known then
  redis.call('HSET', KEYS[1], 'stored', 1)
  if redis.call('HEXISTS', KEYS[1], 'done') == 0 then return 0 end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 1
"""
)

# KEYS: leases, meta, signals. ARGV: member, epoch.
RELEASE: Final = Script.of(
    """
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[1], 'XX', 0, ARGV[1])
redis.call('HDEL', KEYS[2], 'owner')
redis.call('PUBLISH', KEYS[3], 'release ' .. ARGV[1])
return 1
"""
)

# KEYS: meta, signals. ARGV: member, ms to live. The mark stays for whoever claims next.
CANCEL: Final = Script.of(
    """
if redis.call('HEXISTS', KEYS[1], 'done') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'cancel', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2], 'NX')
return redis.call('PUBLISH', KEYS[2], 'cancel ' .. ARGV[1])
"""
)

# KEYS: leases, meta, log. ARGV: member. What the reaper asks.
STANDING: Final = Script.of(
    _NOW
    + """
local meta = redis.call('HMGET', KEYS[2], 'done', 'epoch')
if meta[1] then return 'done' end
local expiry = redis.call('ZSCORE', KEYS[1], ARGV[1])
if expiry then return 'leased' end
if meta[2] then return 'orphaned' end
if redis.call('EXISTS', KEYS[3]) == 1 then return 'waiting' end
return 'absent'
"""
)

# KEYS: load. ARGV: member, bound, longest stay in microseconds, share beyond the bound, tenant.
ADMIT: Final = Script.of(
    """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
local rank = redis.call('ZRANK', KEYS[1], ARGV[1])
if rank then return rank end
local held = redis.call('ZCARD', KEYS[1])
if held >= ARGV[2] + ARGV[4] then return -1 - held end
if held >= tonumber(ARGV[2]) then
  local own, mine = ARGV[5] .. ':', 0
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if string.sub(member, 1, #own) == own then mine = mine + 1 end
  end
  if mine >= tonumber(ARGV[4]) then return -1 - held end
end
redis.call('ZADD', KEYS[1], now, ARGV[1])
return held
"""
)
