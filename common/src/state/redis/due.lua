-- Timers that went off. ARGV: limit of each kind, patience with stars to be closed in milliseconds. Answers with pairs of
-- task and lease, tasks whose wait is over, stars to be closed.

if redis.call('EXISTS', INFO) == 0 then
  return no_run()
end
local now, leases = clock(), {}
for _, task in ipairs(overdue('leases', now, ARGV[1])) do
  table.insert(leases, task)
  table.insert(leases, redis.call('HGET', key('lease'), task) or '')
end
local waits = overdue('waits', now, ARGV[1])
local closing = overdue('closing', now, ARGV[1])
for _, star in ipairs(closing) do
  redis.call('ZADD', key('closing'), now + tonumber(ARGV[2]), star)
end
return { leases, waits, closing }
