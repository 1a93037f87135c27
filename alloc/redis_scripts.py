"""What the Redis server does for `RedisStore`, in Lua: each script is one request and writes by one HSET at most.

All is in one hash. A script with several writes goes into the append-only file as a MULTI; where a crash cuts that off,
Redis 7 keeps its first part and carries it out after the next restart, which tests/test_redis_crash.py found. Fields:

    d:DAY     capacities, int64             o:DAY  which opening of the day this is
    w:DAY     whose; there if it is open    n:DAY  how many events it has
    e:OPENING:NUMBER  an event, as of `match_events.py`
    i:ITEM    its answers, a line `PART DAY OPENING NUMBER` each; version
"""

MOST_GAP = 100
"""Events of others that `RESERVE` reads for a client; one that is further behind reads them first. At most 255."""

VERSION = """
local found = redis.call('HGET', KEYS[1], 'version')
if found then return found end
if redis.call('EXISTS', KEYS[1]) == 1 then return '1' end
redis.call('HSET', KEYS[1], 'version', ARGV[1])
return ARGV[1]
"""

OPEN = """
local hash, day, capacity, people, opening = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('HEXISTS', hash, 'w:' .. day) == 1 then return 0 end
redis.call('HSET', hash, 'd:' .. day, capacity, 'w:' .. day, people, 'o:' .. day, opening, 'n:' .. day, 0)
return 1
"""

# The client knows the day up to the event SEEN, and sends of each user asked for the places left by then, 255 at most: a gap
# of fewer events, each of which has a user once, cannot take more. Only what expired gives places back.
RESERVE = """
local hash, day, opening, seen, item, part = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local made, demand, least = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local users, scores, left, gap_wanted = ARGV[9], ARGV[10], ARGV[11], ARGV[12] == '1'

local function count(event, into)
  local head, stop = string.find(event, '\\n', 1, true)
  local n = tonumber(string.match(string.sub(event, 1, head), '^A %S+ %S+ (%d+)'))
  for k = 1, n do
    local user = string.sub(event, stop + 4 * k - 3, stop + 4 * k)
    into[user] = (into[user] or 0) + 1
  end
end

local open = redis.call('HEXISTS', hash, 'w:' .. day) == 1
if not open or redis.call('HGET', hash, 'o:' .. day) ~= opening then return {'behind'} end
local answers = redis.call('HGET', hash, 'i:' .. item) or ''
local held, taken, gap = {}, {}, {}
for p, d, o, k in string.gmatch(answers, '(%S+) (%S+) (%S+) (%S+)\\n') do
  local event = redis.call('HGET', hash, 'e:' .. o .. ':' .. k)
  if event and p == part then return {'repeated', d, event} end
  if event then count(event, held) end
end
local last = tonumber(redis.call('HGET', hash, 'n:' .. day))
if last - seen > tonumber(ARGV[13]) then return {'behind'} end
for k = seen + 1, last do
  local event = redis.call('HGET', hash, 'e:' .. opening .. ':' .. k)
  local kind = string.sub(event, 1, 1)
  if kind == 'X' then return {'behind'} end
  if kind == 'A' then count(event, taken) end
  if gap_wanted then gap[#gap + 1] = event end
end
local got, score = {}, {}
for k = 1, #left do
  if #got >= demand then break end
  local user = string.sub(users, 4 * k - 3, 4 * k)
  if not held[user] and string.byte(left, k) > (taken[user] or 0) then
    got[#got + 1], score[#score + 1] = user, string.sub(scores, 4 * k - 3, 4 * k)
  end
end
if #got < least then return {'short', #got} end
local event = 'A ' .. part .. ' ' .. made .. ' ' .. #got .. '\\n' .. table.concat(got) .. table.concat(score) .. item
last = last + 1
redis.call('HSET', hash, 'e:' .. opening .. ':' .. last, event, 'n:' .. day, last,
  'i:' .. item, answers .. part .. ' ' .. day .. ' ' .. opening .. ' ' .. last .. '\\n')
return {'new', last, event, gap}
"""

APPEND = """
local hash, day, opening, event = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local open = redis.call('HEXISTS', hash, 'w:' .. day) == 1
if not open or redis.call('HGET', hash, 'o:' .. day) ~= opening then return 0 end
local last = tonumber(redis.call('HGET', hash, 'n:' .. day)) + 1
redis.call('HSET', hash, 'e:' .. opening .. ':' .. last, event, 'n:' .. day, last)
return last
"""

# The answers of one item but for those of one opening of a day.
FORGET = """
local hash, item, opening, kept = KEYS[1], ARGV[1], ARGV[2], {}
for line, o in string.gmatch(redis.call('HGET', hash, 'i:' .. item) or '', '(%S+ %S+ (%S+) %S+\\n)') do
  if o ~= opening then kept[#kept + 1] = line end
end
if #kept > 0 then return redis.call('HSET', hash, 'i:' .. item, table.concat(kept)) end
return redis.call('HDEL', hash, 'i:' .. item)
"""

CLOSE = """
if redis.call('HGET', KEYS[1], 'o:' .. ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], 'o:' .. ARGV[1], 'n:' .. ARGV[1], 'd:' .. ARGV[1])
"""
