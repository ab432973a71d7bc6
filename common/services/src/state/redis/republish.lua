-- Published tasks of an age go back to the outbox, older than any age. ARGV: class, age in milliseconds, limit. Answers
-- how many.

if redis.call('EXISTS', INFO) == 0 then
  return no_run()
end
local old = overdue('published:' .. ARGV[1], clock() - tonumber(ARGV[2]), ARGV[3])
for _, task in ipairs(old) do
  redis.call('ZREM', key('published:' .. ARGV[1]), task)
  redis.call('ZADD', key('outbox:' .. ARGV[1]), 0, task)
end
return #old
