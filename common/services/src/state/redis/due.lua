-- Timers that went off. ARGV: limit of each kind, patience with stars to be closed, silence after which leases have mercy, both
-- in milliseconds. Answers with pairs of task and lease, tasks whose wait is over, stars to be closed.

local info = redis.call('HMGET', INFO, 'modules', 'lease', 'swept', 'mercy')
if not info[1] then
  return no_run()
end
local now, leases = clock(), {}
local lease, mercy = tonumber(info[2] or 0), tonumber(info[4] or 0)
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
local closing = overdue('closing', now, ARGV[1])
for _, star in ipairs(closing) do
  redis.call('ZADD', key('closing'), now + tonumber(ARGV[2]), star)
end
return { leases, waits, closing }
