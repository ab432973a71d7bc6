-- Changes phase and weight. When the run becomes active, what was published goes back to the outbox, older than any age:
-- claims were refused in the meantime, and a refused message is gone. ARGV: phase, weight, `active`, classes.

local phase = redis.call('HGET', INFO, 'phase')
if not phase then
  return no_run()
end
if ARGV[1] == ARGV[3] and phase ~= ARGV[3] then
  for i = 4, #ARGV do
    local outbox, published = key('outbox:' .. ARGV[i]), key('published:' .. ARGV[i])
    redis.call('ZUNIONSTORE', outbox, 2, outbox, published, 'WEIGHTS', 1, 0, 'AGGREGATE', 'MIN')
    redis.call('DEL', published)
  end
end
redis.call('HSET', INFO, 'phase', ARGV[1], 'weight', ARGV[2])
return 1
