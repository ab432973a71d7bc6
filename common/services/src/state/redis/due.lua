-- Timers that went off. ARGV: limit of each kind, patience with stars to be closed, silence after which leases have mercy, both
-- in milliseconds, and the limit of stars to be closed. Answers with pairs of task and lease, tasks whose wait is over, stars to be closed.
--
-- A clock that is earlier than at the last sweep, or than when a reserve began, was ahead then, and was set right: what was timed
-- by it comes as much earlier, or it would stand for as long as the clock was ahead.

local info = redis.call('HMGET', INFO, 'modules', 'lease', 'swept', 'mercy', 'begun', 'reserve')
if not info[1] then
  return no_run()
end
local now, leases = clock(), {}
local lease, mercy = tonumber(info[2] or 0), tonumber(info[4] or 0)

-- Clocks that are kept in step go back a little all the time.
local STEP = 1000

local function earlier(set, back)
  local entries, times = redis.call('ZRANGEBYSCORE', key(set), '(' .. now, '+inf', 'WITHSCORES'), {}
  for i = 1, #entries, 2 do
    times[i] = string.format('%.0f', math.max(now, tonumber(entries[i + 1]) - back))
    times[i + 1] = entries[i]
  end
  with_many('ZADD', key(set), times)
end

local back = math.max(tonumber(info[3] or 0), tonumber(info[5] or 0)) - now
if back > STEP then
  -- Some leases are of after the step already: none lives for longer than a lease from now, and none ends sooner for the step.
  local held, ends = redis.call('ZRANGEBYSCORE', key('leases'), '(' .. now + lease, '+inf'), {}
  for _, task in ipairs(held) do
    ends[#ends + 1] = string.format('%.0f', now + lease)
    ends[#ends + 1] = task
  end
  with_many('ZADD', key('leases'), ends)
  -- Who runs what is announced says so again within a second; until then claims are under reserve, as at the beginning.
  redis.call('UNLINK', key('announced'))
  reserve_claims(math.max(tonumber(info[6] or 0) - tonumber(info[5] or info[6] or 0), 0))
  for _, set in ipairs({ 'waits', 'closing', 'on_hold' }) do
    earlier(set, back)
  end
  local known = {}
  for _, class in pairs(all_classes(tonumber(info[1]))) do
    if not known[class] then
      known[class] = true
      earlier('outbox:' .. class, back)
      earlier('published:' .. class, back)
    end
  end
  -- No lease ends sooner for the step, so that nobody needs more mercy than there was.
  if mercy > now then
    mercy = math.max(now, mercy - back)
    redis.call('HSET', INFO, 'mercy', mercy)
  end
  if tonumber(redis.call('HGET', INFO, 'moved') or 0) > now then
    redis.call('HSET', INFO, 'moved', now)
  end
end
if info[3] and now - tonumber(info[3]) > math.max(tonumber(ARGV[3]), lease / 3) then
  mercy = now + lease + 2 * tonumber(ARGV[3])
  redis.call('HSET', INFO, 'mercy', mercy)
end
redis.call('HSET', INFO, 'swept', now)
if now >= mercy then
  for _, task in ipairs(overdue('leases', now, ARGV[1])) do
    table.insert(leases, task)
    table.insert(leases, redis.call('HGET', key('lease'), task) or '')
  end
end
local waits = overdue('waits', now, ARGV[1])
local closing = overdue('closing', now, ARGV[4])
for _, star in ipairs(closing) do
  redis.call('ZADD', key('closing'), now + tonumber(ARGV[2]), star)
end
return { leases, waits, closing }
