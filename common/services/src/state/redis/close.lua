-- Forgets a run, but for its moves of late, which are forgotten by themselves. ARGV: its classes.

local stars = tonumber(redis.call('HGET', INFO, 'stars') or 0)
for _, star in ipairs(redis.call('ZRANGE', key('in_flight'), 0, -1)) do
  redis.call('UNLINK', key('star:' .. star))
end
for block = 0, math.floor(stars / BLOCK) do
  redis.call('UNLINK', key('rows:' .. block))
end
for _, class in ipairs(ARGV) do
  redis.call('UNLINK', key('outbox:' .. class), key('published:' .. class))
end
redis.call('UNLINK', INFO, key('counts'), key('tries'), key('in_flight'), key('waits'), key('leases'), key('lease'),
  key('closing'), key('on_hold'), key('spent'), key('announced'))
return 1
