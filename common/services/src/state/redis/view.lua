-- How a run stands. ARGV: its classes. Answers with what of `info` changes, the counts, stars in flight, live leases, the
-- number of ready tasks of each class, how many are on hold, what modules took, and when
-- a task was settled last; `1` where tasks are still put aside or back, for other modules are held.

local info = redis.call('HMGET', INFO, 'phase', 'weight', 'cursor', 'held', 'amended', 'moved', 'moving')
if not info[1] then
  return no_run()
end
info[4], info[5] = info[4] or '', info[5] or '0'
local moving, moved = info[7] and 1 or 0, info[6] or '0'
info = { info[1], info[2], info[3], info[4], info[5] }
local ready = {}
for i, class in ipairs(ARGV) do
  ready[i] = redis.call('ZCARD', key('outbox:' .. class)) + redis.call('ZCARD', key('published:' .. class))
end
return {
  info,
  redis.call('HGETALL', key('counts')),
  redis.call('ZCARD', key('in_flight')),
  redis.call('ZCOUNT', key('leases'), '(' .. clock(), '+inf'),
  ready,
  redis.call('ZCARD', key('on_hold')),
  redis.call('HGETALL', key('spent')),
  moved,
  moving,
}
