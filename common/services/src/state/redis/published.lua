-- Messages that the broker confirmed: from the outbox to published. ARGV: star, module, attempt and class of each. A task
-- that was claimed in the meantime, or is on another attempt, is left alone.

if redis.call('EXISTS', INFO) == 0 then
  return no_run()
end
local now = clock()
for i = 1, #ARGV, 4 do
  local task, class = ARGV[i] .. ':' .. ARGV[i + 1], ARGV[i + 3]
  if attempt_in(tries_of(ARGV[i]), ARGV[i + 1]) == tonumber(ARGV[i + 2])
    and redis.call('ZREM', key('outbox:' .. class), task) == 1 then
    redis.call('ZADD', key('published:' .. class), now, task)
  end
end
return 1
