-- Published tasks of an age go back to the outbox, older than any age; those of modules that are held since are put aside. ARGV:
-- class, age in milliseconds, limit. Answers how many.

local held = redis.call('HGET', INFO, 'held')
if not held then
  return no_run()
end
local old = overdue('published:' .. ARGV[1], clock() - tonumber(ARGV[2]), ARGV[3])
for _, task in ipairs(old) do
  redis.call('ZREM', key('published:' .. ARGV[1]), task)
  if is_held(held, string.match(task, ':(%d+)')) then
    redis.call('ZADD', key('on_hold'), clock(), task)
  else
    redis.call('ZADD', key('outbox:' .. ARGV[1]), 0, task)
  end
end
return #old
